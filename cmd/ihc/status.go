package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// statusFlags are the flags of `ihc status`.
type statusFlags struct {
	stackFlags
	database            databaseFlag
	watch, failed, json bool
}

func newStatusCmd() *cobra.Command {
	f := &statusFlags{}
	cmd := &cobra.Command{
		Use:   "status RUN",
		Short: "Show one run, or watch it to its end",
		Long: `status shows how far a run is, or how it ended. With --watch it follows the run
as "ihc run --nats" does, to its end and with its exit code. With --failed it
lists every conversion that failed, with the reason; they are read from the
stored results, so the database is not needed.

With --db it shows what a database knows of the run: also of one without streams,
and of one whose records were dropped (--keep-runs).`,
		Example: "  ihc status last\n  ihc status 20230901-120128-abc --watch\n  ihc status 20230901-120128-abc --failed",
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	f.add(cmd)
	f.database.add(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&f.watch, "watch", false, "follow the run until it ends")
	fs.BoolVar(&f.failed, "failed", false, "list the conversions that failed")
	fs.BoolVar(&f.json, "json", false, "print one JSON object on standard output")
	return cmd
}

func oneRun(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errkind.Inputf("%s takes the id of one run; `ihc runs` lists them, and \"last\" is the last", cmd.CommandPath())
	}
	return nil
}

func (f *statusFlags) run(ctx context.Context, out, say io.Writer, id string) error {
	if ask, err := f.database.asked(&f.stackFlags); err != nil || ask {
		switch {
		case err != nil:
			return err
		case f.watch || f.failed:
			return errkind.Inputf("--watch and --failed are of streams: name them with --nats or --data-dir")
		}
		return f.database.show(ctx, out, id, f.json)
	}
	if f.watch && f.dir != "" {
		return errkind.Inputf("nothing runs on --data-dir, so there is nothing to --watch")
	}
	client, done, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	runs := f.runs(client)
	if id, err = runs.Find(ctx, id); err != nil {
		return err
	}
	s, err := runs.Get(ctx, id)
	if err != nil {
		return err
	}
	var end error // what the exit code of a watch follows from
	if f.watch {
		var report *ihcv1.Report
		if report, end = forever.watch(ctx, runs, id, newProgress(say)); end == nil {
			end = verdict(report)
		}
		if ctx.Err() != nil {
			return end
		}
		if s, err = runs.Get(ctx, id); err != nil {
			return err
		}
	}
	var failed []ops.FailedConversion
	if f.failed {
		if failed, err = runs.Failed(ctx, s); err != nil {
			return err
		}
	}
	if f.json {
		j := ops.ViewWhole(s)
		if f.failed {
			j.Failed = &failed
		}
		return errors.Join(end, printJSON(out, j))
	}
	printStatus(out, s)
	if f.failed {
		printFailed(out, failed)
	}
	return end
}

// statusLine returns what prints a line of a status: what it is, and the text.
func statusLine(w io.Writer) func(name, format string, args ...any) {
	const names = 14 // cells of the longest
	return func(name, format string, args ...any) {
		_, _ = fmt.Fprintln(w, human.Wrap(human.Pad(name, names)+human.Printable(fmt.Sprintf(format, args...)), window(w), names))
	}
}

func printStatus(w io.Writer, s *run.State) {
	line := statusLine(w)
	line("run", "%s", s.ID)
	state := string(s.Status())
	if p := s.Phase(); p != "" {
		state += ", " + string(p)
	}
	line("state", "%s", state)
	if s.Reason != "" {
		line("reason", "%s", s.Reason)
	}
	line("about", "%s", what(s))
	if m := s.Model(); m != "" {
		line("model", "%s", m)
	}
	line("started", "%s UTC", s.Started.Format(time.DateTime))
	line("took", "%s", human.Duration(s.Took(time.Now())))
	switch plan := s.Planned.GetCounts(); {
	case s.Counts != nil:
		line("result", "%s", conversionsText(s.Counts))
		line("touchpoints", "%s", human.Thousands(s.Counts.GetTouchpoints()))
		line("requests", "%s", human.Thousands(s.Done().Requests))
	case s.Status().Ended():
		if done := s.Done(); done.Requests > 0 || done.Conversions > 0 {
			line("done", "%s answered, %s written", human.Count(done.Requests, "request"), human.Count(done.Conversions, "conversion"))
		}
	case plan != nil:
		line("planned", "%s in range, %s of them to be scored, with %s", human.Count(plan.GetInRange(), "conversion"), human.Thousands(run.WithAttribution(plan)), human.Count(plan.GetTouchpoints(), "touchpoint"))
	}
	if !s.Status().Ended() {
		printStages(line, s)
	}
	if next := nextStep(s); next != "" {
		line("next", "%s", next)
	}
}

// printStages prints how far each stage is with a run that has not ended.
func printStages(line func(name, format string, args ...any), s *run.State) {
	if total := s.Planned.GetChunks(); total > 0 {
		line("chunks", "%s of %s scored", human.Thousands(s.Progress.ScoredChunks), human.Thousands(total))
	}
	if s.Progress.Full != "" {
		line("waiting", "%s", s.Progress.Full)
	}
	for name, p := range ops.Stages(s.Progress) {
		text := human.Count(p.GetConversions(), "conversion")
		if p.GetRequests() > 0 || p.GetRetries() > 0 {
			text += fmt.Sprintf(", %s answered, %s tried again", human.Count(p.GetRequests(), "request"), human.Thousands(p.GetRetries()))
		}
		if why := ops.Waits(p); why != "" {
			text += "; waiting: " + why
		}
		line(name, "%s", text)
	}
	if s.DeadLetters > 0 {
		line("dead letters", "%d", s.DeadLetters)
	}
}

// nextStep says what somebody may want to do about a run, "" for nothing.
func nextStep(s *run.State) string {
	if s.Idle && !s.Status().Ended() {
		return "the `ihc run --data-dir` or `ihc up --data-dir` that it was begun with lets it go on"
	}
	switch s.Status() {
	case run.StatusPaused:
		return fmt.Sprintf("`ihc resume %s` lets it go on", s.ID)
	case run.StatusStuck:
		return fmt.Sprintf("`ihc dead ls --run %s` shows what is in the way", s.ID)
	case run.StatusPartly:
		return fmt.Sprintf("`ihc status %s --failed` lists the conversions that failed", s.ID)
	case run.StatusUnreconciled:
		return "do not use the numbers; reconciliation.json beside the report says which equation does not hold"
	case run.StatusSuperseded:
		return fmt.Sprintf("`ihc status %s` shows the run that took its place", s.SupersededBy())
	default:
		return ""
	}
}

func printFailed(w io.Writer, failed []ops.FailedConversion) {
	if len(failed) == 0 {
		_, _ = fmt.Fprintln(w, "\nno conversion failed in the results stored so far")
		return
	}
	_, _ = fmt.Fprintln(w)
	names := make([]string, len(failed))
	for i, f := range failed {
		names[i] = f.Conversion
	}
	rows := [][]string{{"CONVERSION", "SESSIONS", "REASON"}}
	for i, name := range human.Names(names, maxName) {
		rows = append(rows, []string{name, human.Thousands(failed[i].Sessions), human.Printable(failed[i].Reason)})
	}
	_ = human.Columns{Rows: rows, Drop: []int{1}}.List(w, window(w))
}
