package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// lifeFlags say how long a run is followed and where its result goes. Whoever
// follows a run has them.
type lifeFlags struct {
	timeout time.Duration
	json    bool
	result  string
	failed  string // where the conversions that failed can be seen, if not on a stack
}

func (f *lifeFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.DurationVar(&f.timeout, "timeout", 0, "end the run as failed when it is not done after this `time`, such as 90m (0: never)")
	fs.BoolVar(&f.json, "json", false, "print the result as one JSON object on standard output")
	fs.StringVar(&f.result, "result", "", "`file` for the same JSON, written whatever the end")
}

// begin is when a command begins: it finds out now that the result can be
// written and how long there is.
func (f *lifeFlags) begin() (following, error) {
	if f.timeout < 0 {
		return following{}, errkind.Inputf("--timeout %s: it cannot be negative", f.timeout)
	}
	now := following{since: time.Now(), timeout: f.timeout}
	if f.result == "" {
		return now, nil
	}
	if err := namesFile("result", f.result); err != nil {
		return now, err
	}
	dir, name := filepath.Split(f.result)
	return now, makeWritable(filepath.Clean(dir), name)
}

// following is how a run is followed: since when, and for how long at most, 0
// for any time.
type following struct {
	since   time.Time
	timeout time.Duration
}

// forever is how a run is followed for any time.
var forever following

// follow shows a run until it stops, or ends it as failed when the time is up,
// and returns its report or why it has none.
func (f following) follow(ctx context.Context, runs *ops.Runs, id string, p *progress) (*ihcv1.Report, error) {
	if f.timeout <= 0 {
		return follow(ctx, runs, id, p)
	}
	limited, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	timer := time.AfterFunc(f.timeout-time.Since(f.since), func() {
		late := fmt.Errorf("not done within %s (--timeout)", f.timeout)
		if err := runs.Fail(limited, id, late); err != nil {
			giveUp(fmt.Errorf("%w, and the run cannot be ended: %w", late, err))
		}
	})
	defer timer.Stop()
	report, err := follow(limited, runs, id, p)
	if limited.Err() != nil && ctx.Err() == nil {
		err = context.Cause(limited)
	}
	return report, err
}

// conclude does so for a run that was followed: see [conclude].
func (f *lifeFlags) conclude(ctx context.Context, out io.Writer, since time.Time, id string, report *ihcv1.Report, err error) error {
	return conclude(out, ending{id: id, report: report, err: err, took: time.Since(since), interrupt: service.Interrupted(ctx), file: f.result,
		failed: cmp.Or(f.failed, fmt.Sprintf("`ihc status %s --failed` lists them", id))}, f.json)
}

// writeResult writes the JSON result to a file, whole or not at all.
func writeResult(path string, result run.Result) error {
	if path == "" {
		return nil
	}
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error { return printJSON(w, result) })
	if err != nil {
		return errkind.Environmentf("--result: %w", err)
	}
	return nil
}

// lastWords is what is said, and written, when a second signal ends the process on
// the spot.
var lastWords atomic.Pointer[func(*service.Interrupt)]

// sayLast says them, if there are any.
func sayLast(second *service.Interrupt) {
	if words := lastWords.Load(); words != nil {
		(*words)(second)
	}
}
