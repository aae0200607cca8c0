package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// databaseFlag has a command ask a database, in the place of streams, which runs
// it knows: also those without streams, and those whose records were dropped.
type databaseFlag struct {
	db  string
	cmd *cobra.Command
}

func (f *databaseFlag) add(cmd *cobra.Command) {
	f.cmd = cmd
	cmd.Flags().StringVar(&f.db, "db", "", "ask this database, a `file` or postgres://…, what it knows of runs, and no streams")
}

// asked says whether the database is asked: where it is named on the command
// line, or where nothing names any streams.
func (f *databaseFlag) asked(streams *stackFlags) (bool, error) {
	typed := func(name string) bool {
		flag := f.cmd.Flag(name)
		return flag.Changed && len(flag.Annotations[fromAnnotation]) == 0
	}
	switch {
	case typed("db") && (typed("nats") || typed("data-dir")):
		return false, errkind.Inputf("--db asks a database, --nats and --data-dir streams: give one of them")
	case typed("db"):
		return true, nil
	}
	return f.db != "" && streams.dir == "" && streams.url(true) == "", nil
}

// reported is the state of a run that has a report. What the report came to, the
// database does not say.
const reported store.Status = "reported"

// knownStates are those of a run that a database knows.
var knownStates = []string{string(store.Running), string(store.Written), string(reported), string(store.Failed), string(store.Cancelled),
	string(store.Interrupted), string(store.Superseded)}

// knownRun is a run that a database knows, for programs.
type knownRun struct {
	RunID       string           `json:"run_id"`
	Status      store.Status     `json:"status"`
	Model       string           `json:"model,omitempty"`
	StartDate   string           `json:"start_date,omitempty"`
	EndDate     string           `json:"end_date,omitempty"`
	Started     *time.Time       `json:"started"` // when it was asked for
	Conversions map[string]int64 `json:"conversions,omitempty"`
	// Dropped says that its records have gone but for this (--keep-runs).
	Dropped      bool   `json:"dropped"`
	Program      string `json:"program,omitempty"`
	SourceDigest string `json:"source_digest,omitempty"`

	about string
}

// known returns the runs that the database knows, the oldest first.
func (f *databaseFlag) known(ctx context.Context) ([]knownRun, error) {
	db := open.Database(f.db)
	defer db.Close() //nolint:errcheck // only read
	if err := db.Check(ctx); err != nil {
		return nil, err
	}
	all, err := db.Runs(ctx)
	if err != nil {
		return nil, err
	}
	known := make([]knownRun, len(all))
	for i, r := range all {
		known[i] = knownRunOf(r)
	}
	for _, o := range leftovers() {
		if i := o.in(all); i >= 0 {
			known[i].Status = store.Interrupted
		}
		o.release()
	}
	return known, nil
}

func knownRunOf(r store.KnownRun) knownRun {
	k := knownRun{RunID: r.ID, Status: r.Status, Model: r.Model, Dropped: r.Dropped, Program: r.Program, SourceDigest: r.Source}
	if r.Report > 0 {
		k.Status = reported
	}
	if req, err := run.Decode([]byte(r.Request)); err == nil {
		k.StartDate, k.EndDate, k.about = req.GetStartDate(), req.GetEndDate(), run.Describe(req)
	}
	if at, _, found := strings.Cut(r.Asked, " "); found {
		if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
			k.Started = &t
		}
	}
	if r.InRange > 0 {
		k.Conversions = map[string]int64{run.InRangeName: r.InRange}
	}
	return k
}

// records says what is left of those of a run.
func (k knownRun) records() string {
	if k.Dropped {
		return "dropped"
	}
	return "kept"
}

func (k knownRun) started() string {
	if k.Started == nil {
		return ""
	}
	return k.Started.Format(time.DateTime)
}

// list prints the runs that are chosen.
func (f *databaseFlag) list(ctx context.Context, out io.Writer, choose *chosenRuns, asJSON bool) error {
	all, err := f.known(ctx)
	if err != nil {
		return err
	}
	some := slices.DeleteFunc(slices.Clone(all), func(k knownRun) bool {
		early := !choose.from.IsZero() && (k.Started == nil || k.Started.Before(choose.from))
		return early || len(choose.states) > 0 && !slices.Contains(choose.states, string(k.Status))
	})
	if choose.limit > 0 && len(some) > choose.limit {
		some = some[len(some)-choose.limit:]
	}
	switch {
	case asJSON:
		return printJSON(out, some)
	case len(all) == 0:
		_, err = fmt.Fprintln(out, "no runs yet")
		return err
	case len(some) == 0:
		_, err = fmt.Fprintln(out, "no such runs")
		return err
	}
	rows := [][]string{{"RUN", "STATE", "IN RANGE", "RECORDS", "STARTED", "ABOUT"}}
	for _, k := range some {
		inRange := ""
		if n := k.Conversions[run.InRangeName]; n > 0 {
			inRange = human.Thousands(n)
		}
		rows = append(rows, []string{human.Printable(k.RunID), string(k.Status), inRange, k.records(), k.started(), human.Printable(k.about)})
	}
	const inRange, started = 2, 4
	return human.Columns{Rows: rows, Drop: []int{started, inRange}}.List(out, window(out))
}

// show prints the run of a name: an id, the beginning of one, or [ops.Last].
func (f *databaseFlag) show(ctx context.Context, out io.Writer, name string, asJSON bool) error {
	all, err := f.known(ctx)
	if err != nil {
		return err
	}
	ids := make([]string, len(all))
	for i, k := range all {
		ids[i] = k.RunID
	}
	id, err := ops.Pick(ids, name)
	if err != nil {
		return err
	}
	k := all[slices.Index(ids, id)]
	if asJSON {
		return printJSON(out, k)
	}
	records := k.records()
	if k.Dropped {
		records += " (--keep-runs): its counts, its reasons, and what `ihc diff` takes; what it attributed stays"
	}
	line := statusLine(out)
	line("run", "%s", k.RunID)
	line("state", "%s", k.Status)
	line("about", "%s", k.about)
	started := k.started()
	if started != "" {
		started += " UTC"
	}
	for _, fact := range [][2]string{{"model", k.Model}, {"started", started}, {"program", k.Program}} {
		if fact[1] != "" {
			line(fact[0], "%s", fact[1])
		}
	}
	if n := k.Conversions[run.InRangeName]; n > 0 {
		line("in range", "%s", human.Count(n, "conversion"))
	}
	line("records", "%s", records)
	return nil
}
