package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// statusFlags are the flags of `ihc status`.
type statusFlags struct {
	stackFlags
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
stored results, so the database is not needed.`,
		Example: "  ihc status 20230901-120128-abc --watch\n  ihc status 20230901-120128-abc --failed",
		Args:    oneRun,
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.add(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&f.watch, "watch", false, "follow the run until it ends")
	fs.BoolVar(&f.failed, "failed", false, "list the conversions that failed")
	fs.BoolVar(&f.json, "json", false, "print one JSON object on standard output")
	return cmd
}

func oneRun(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errkind.Inputf("%s takes the id of one run; `ihc runs` lists them", cmd.CommandPath())
	}
	return nil
}

func (f *statusFlags) run(cmd *cobra.Command, id string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if f.watch && f.dir != "" {
		return errkind.Inputf("nothing runs on --data-dir, so there is nothing to --watch")
	}
	client, done, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	r, err := findRun(ctx, client, id)
	if err != nil {
		return err
	}
	var ending error // what the exit code of a watch follows from
	if f.watch {
		var report *ihcv1.Report
		if report, ending = watch(cmd, client, id); ending == nil {
			ending = verdict(report)
		}
		if ctx.Err() != nil {
			return ending
		}
		if r, err = findRun(ctx, client, id); err != nil {
			return err
		}
	}
	var failed []jsonFailed
	if f.failed {
		if failed, err = failedConversions(ctx, client, r); err != nil {
			return err
		}
	}
	stages, err := client.Progress(ctx, id)
	if err != nil {
		return errkind.Environmentf("progress of run %s: %w", id, err)
	}
	chunks := jsonChunks{Total: r.Chunks}
	if chunks.Scored, err = client.ScoredChunks(ctx, cmp.Or(r.ResultsRun, id)); err != nil {
		return err
	}
	if f.json {
		j := r.json()
		j.Stages, j.Chunks = stagesJSON(stages), &chunks
		if f.failed {
			j.Failed = &failed
		}
		return errors.Join(ending, printJSON(out, j))
	}
	printStatus(out, r, stages, chunks)
	if f.failed {
		printFailed(out, failed)
	}
	return ending
}

// watch follows a run of a running stack to its end.
func watch(cmd *cobra.Command, client *stream.Client, id string) (*ihcv1.Report, error) {
	report, err := follow(cmd.Context(), client, id, newProgress(cmd.ErrOrStderr()))
	if err != nil && cmd.Context().Err() != nil {
		return nil, fmt.Errorf("no longer watching; run %s goes on: see it with `ihc status %s --watch`, end it with `ihc cancel %s`", id, id, id)
	}
	return report, err
}

func printStatus(w io.Writer, r *runState, stages map[string]*ihcv1.Progress, chunks jsonChunks) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("run", "%s", r.ID)
	line("state", "%s", r.Status)
	if r.Reason != "" {
		line("reason", "%s", r.Reason)
	}
	line("about", "%s", r.what())
	if m := r.model(); m != "" {
		line("model", "%s", m)
	}
	line("started", "%s UTC", r.Started.Format(time.DateTime))
	line("took", "%s", human.Duration(r.Took()))
	switch c := r.Counts; {
	case r.Report != nil:
		line("result", "%s", conversionsText(c))
		line("touchpoints", "%s", human.Thousands(c.GetTouchpoints()))
		line("requests", "%s", human.Thousands(r.Report.GetRequests()))
	case c != nil:
		line("result so far", "%s conversions in range, %s of them to be scored, with %s touchpoints", human.Thousands(c.GetInRange()), human.Thousands(c.GetAttributed()), human.Thousands(c.GetTouchpoints()))
	}
	if !r.Ended() {
		if chunks.Total > 0 {
			line("chunks", "%s of %s scored", human.Thousands(min(chunks.Scored, uint64(chunks.Total))), human.Thousands(chunks.Total))
		}
		for _, name := range []string{stream.StageExtractor, stream.StageAttributor, stream.StageWriter} {
			p := stages[name]
			if p == nil {
				continue
			}
			text := human.Thousands(p.GetConversions()) + " conversions"
			if p.GetRequests() > 0 || p.GetRetries() > 0 {
				text += fmt.Sprintf(", %s requests answered, %s tried again", human.Thousands(p.GetRequests()), human.Thousands(p.GetRetries()))
			}
			if p.GetWaiting() != "" {
				text += "; waiting: " + p.GetWaiting()
			}
			line(name, "%s", text)
		}
	}
	switch r.Status {
	case statusPaused:
		line("next", "`ihc resume %s` lets it go on", r.ID)
	case statusStuck:
		line("dead letters", "%d", r.Dead)
		line("next", "`ihc dead ls --run %s` shows what is in the way", r.ID)
	case statusPartly:
		line("next", "`ihc status %s --failed` lists the conversions that failed", r.ID)
	}
	_ = t.Flush()
}

// jsonFailed is a conversion that failed.
type jsonFailed struct {
	Conversion string `json:"conv_id"`
	Chunk      uint32 `json:"chunk"`
	Sessions   uint64 `json:"sessions"`
	Reason     string `json:"reason"`
}

// failedConversions reads from a run's stored results which conversions failed,
// in the order of their chunks.
func failedConversions(ctx context.Context, client *stream.Client, r *runState) ([]jsonFailed, error) {
	type answer struct {
		revision uint32
		failed   []jsonFailed
	}
	chunks := map[uint32]answer{}
	err := client.EachResult(ctx, cmp.Or(r.ResultsRun, r.ID), func(result *ihcv1.AttributionResult) error {
		if was, ok := chunks[result.GetChunk()]; ok && was.revision >= result.GetRevision() {
			return nil // as the writer decides
		}
		a := answer{revision: result.GetRevision()}
		for _, o := range result.GetOutcomes() {
			if o.GetKind() == ihcv1.OutcomeKind_OUTCOME_KIND_FAILED {
				a.failed = append(a.failed, jsonFailed{o.GetConvId(), result.GetChunk(), o.GetSessions(), o.GetReason()})
			}
		}
		chunks[result.GetChunk()] = a
		return nil
	})
	if err != nil {
		return nil, err
	}
	failed := []jsonFailed{}
	for _, a := range chunks {
		failed = append(failed, a.failed...)
	}
	slices.SortStableFunc(failed, func(a, b jsonFailed) int {
		return cmp.Or(cmp.Compare(a.Chunk, b.Chunk), cmp.Compare(a.Conversion, b.Conversion))
	})
	return failed, nil
}

func printFailed(w io.Writer, failed []jsonFailed) {
	if len(failed) == 0 {
		_, _ = fmt.Fprintln(w, "\nno conversion failed in the results stored so far")
		return
	}
	_, _ = fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "CONVERSION\tSESSIONS\tREASON")
	for _, f := range failed {
		_, _ = fmt.Fprintf(t, "%s\t%d\t%s\n", human.Cut(human.Printable(f.Conversion), maxName), f.Sessions, f.Reason)
	}
	_ = t.Flush()
}
