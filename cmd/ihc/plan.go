package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

func newPlanCmd() *cobra.Command {
	f := &runFlags{}
	var pace ops.Pace
	cmd := &cobra.Command{
		Use:   "plan --db FILE",
		Short: "Say what a run would do: conversions, requests, time",
		Long: `plan reads a database as a run with the same flags does, checks it, packs its
journeys into requests, and says how many there are, what would be approximated
or excluded, and about how long it takes. It sends nothing and writes nothing,
and needs no key.

The time over the API is reckoned from --latency or, without it, from the last
run of the database that the API scored.`,
		Example: `  ihc plan --db shop.db --model api
  ihc plan --db shop.db --model api --max-sessions 3000 --latency 400ms --daily-quota 1000
  ihc plan --db shop.db --start-date 2023-09-01 --json | jq .requests`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.planAt(cmd.Context(), cmd.OutOrStdout(), pace)
		},
	}
	f.requestFlags.add(cmd)
	fs := cmd.Flags()
	f.changed = fs.Changed
	fs.StringVar(&f.db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.IntVar(&f.concurrency, "concurrency", 4, "API requests sent at once (IHC_CONCURRENCY)")
	fs.Float64Var(&f.rate, "request-rate", 0, "most API requests a second (IHC_REQUEST_RATE; 0: no bound)")
	fs.Uint64Var(&pace.DailyQuota, "daily-quota", 0, "most API requests a day (0: no bound)")
	fs.DurationVar(&pace.Latency, "latency", 0, "`time` one API request takes (default: as measured in the last run)")
	fs.BoolVar(&f.json, "json", false, "print the plan as one JSON object on standard output")
	return cmd
}

// plan prints what the run would do.
func (f *runFlags) plan(ctx context.Context, out io.Writer) error {
	return f.planAt(ctx, out, ops.Pace{})
}

func (f *runFlags) planAt(ctx context.Context, out io.Writer, pace ops.Pace) error {
	req, err := f.complete()
	if err != nil {
		return typed(err, f.changed)
	}
	config, err := f.attributor()
	if err != nil {
		return err
	}
	extracting, err := service.FromEnv[extractor.Config]()
	if err != nil {
		return err
	}
	if pace.Latency < 0 {
		return errkind.Inputf("--latency %s: use a time of 0 or more, as in 400ms", pace.Latency)
	}
	req.Model = cmp.Or(req.GetModel(), config.DefaultModel())
	req.LongJourneys = cmp.Or(req.GetLongJourneys(), extracting.LongJourneys)
	pace.Concurrency, pace.Rate = config.Workers, config.Rate
	path := cmp.Or(f.db, os.Getenv("IHC_DB"))
	if path == "" {
		return errkind.Inputf("name a database with --db FILE: a plan is made from it")
	}
	db := open.Database(path)
	defer db.Close() //nolint:errcheck // only read
	var known func(string, []byte) (bool, error)
	// A plan needs no key. What the run would be scored by is not known without a
	// conversion type; nothing counts as unchanged then.
	config.APIKey = cmp.Or(config.APIKey, "none is sent")
	if scoring, err := config.Settle(req); err == nil {
		if known, err = store.Unchanged(ctx, db, req, scoring); err != nil {
			return err
		}
	}
	p, err := ops.NewPlan(ctx, db, req, broker.MaxPayload-stream.Headroom, known, pace)
	if err != nil {
		return err
	}
	var moves *lint
	if req.GetRedistributionParameter() != nil {
		if moves, err = movement(ctx, path, req); err != nil {
			return err
		}
	}
	if f.json {
		j := ops.ViewPlan(p, pace)
		if moves == nil {
			return printJSON(out, j)
		}
		return printJSON(out, struct {
			ops.PlanView
			Redistribution *jsonLint `json:"redistribution"`
		}{j, moves.json()})
	}
	printPlan(out, p, pace)
	if moves != nil {
		_, err = io.WriteString(out, "\n"+moves.text())
	}
	return err
}

// printPlan prints a plan for people.
func printPlan(w io.Writer, p *ops.Plan, pace ops.Pace) {
	out := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	c := p.Counts
	wrapped(w, "plan for %s, model %s; nothing was sent or written\n", run.Describe(p.Request), p.Request.GetModel())
	line := func(what string, n uint64) { out("  %-34s %12s\n", what, human.Thousands(n)) }
	line("conversions in range", c.GetInRange())
	line("journeys to be scored", p.Journeys)
	if p.Unchanged > 0 {
		line("journeys scored before, unchanged", p.Unchanged)
	}
	line("touchpoints", c.GetTouchpoints())
	line("requests to the API", p.Requests)
	out("\n")
	for _, a := range p.Approximations {
		left := ""
		if a.GetSessionsLeftOut() > 0 {
			left = fmt.Sprintf(", %s left out", human.Count(a.GetSessionsLeftOut(), "session"))
		}
		wrapped(w, "approximated: %s with journeys of more than %d sessions, by %s%s", human.Count(a.GetConversions(), "conversion"), p.Request.GetMaxSessions(), a.GetStrategy(), left)
	}
	for _, r := range p.Reasons {
		wrapped(w, "%s: %s; %s (one is %q)", run.OutcomeOf(r.GetKind()).Words, human.Count(r.GetConversions(), "conversion"), r.GetReason(), r.GetExampleConvId())
	}
	printTime(w, p, pace)
}

// printTime says how long the requests take.
func printTime(w io.Writer, p *ops.Plan, pace ops.Pace) {
	out := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	if p.Requests == 0 {
		return
	}
	if p.Time == 0 {
		out("time: not known, since no run over the API was measured here; say --latency of a request\n")
	} else {
		how := "given"
		if p.Measured {
			how = "measured in the last run"
		}
		took := human.Duration(p.Time)
		if p.Time >= time.Millisecond {
			took = "about " + took
		}
		out("time: %s at %s a request (%s), %d at once", took, human.Duration(p.Latency), how, max(pace.Concurrency, 1))
		if pace.Rate > 0 {
			out(", %g a second at the most", pace.Rate)
		}
		out("\n")
	}
	if pace.DailyQuota > 0 {
		out("quota: %s of %s a day, so %s\n", human.Count(p.Requests, "request"), human.Thousands(pace.DailyQuota), human.Count(p.Days, "day"))
	}
}
