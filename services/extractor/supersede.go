package extractor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// A run attributes the source as it was when it was accepted. Where it was
// interrupted and the source has changed when it is to go on, it is ended as
// superseded: another run takes the source as it is, and uses what was scored
// of journeys that are the same.

// goOn looks at the runs that were under way when this process began: those
// that are extracted go on by themselves, unless the source has changed. The
// others are delivered again and looked at then.
func (e *extractor) goOn(ctx context.Context) error {
	under, err := e.underWay(ctx)
	if err != nil || len(under) == 0 {
		return err
	}
	db := open.Database(e.cfg.Database)
	defer db.Close() //nolint:errcheck // only read
	for _, s := range under {
		if _, err := e.goOnWith(ctx, db, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// goOnWith says whether a run goes on, and ends it if not. It waits until the
// database can be read.
func (e *extractor) goOnWith(ctx context.Context, db store.Source, id string) (goesOn bool, err error) {
	accepted, err := e.Bus.Accepted(ctx, id)
	if err != nil {
		return false, err
	}
	for {
		err := e.unchanged(ctx, db, accepted)
		switch {
		case err == nil, ctx.Err() != nil:
			e.Report(nil)
			return err == nil, ctx.Err()
		case errkind.KindOf(err) != errkind.Environment:
			return false, e.fail(ctx, id, err)
		}
		e.Report(err)
		e.Log.Warn("waiting for the database, to see whether it has changed", "run", id, "error", err)
		if err := retry.Sleep(ctx, retry.Real, 2*time.Second); err != nil {
			return false, err
		}
	}
}

// underWay returns the runs that are extracted and not over.
func (e *extractor) underWay(ctx context.Context) ([]*run.State, error) {
	events, err := e.Bus.Events(ctx, "*")
	if err != nil {
		return nil, fmt.Errorf("read the events of runs: %w", err)
	}
	entries := make([]run.Entry, len(events))
	for i, x := range events {
		entries[i] = run.Entry{Sequence: x.Sequence, Time: x.Time, Event: x.Event}
	}
	var under []*run.State
	for _, s := range run.Fold(entries) {
		if s.Planned != nil && !s.Status().Ended() && s.Request.GetReplayOf() == "" {
			under = append(under, s)
		}
	}
	return under, nil
}

// supersededError ends a run whose source has changed while it was interrupted.
type supersededError struct{ run, by string }

func (s *supersededError) Error() string {
	return fmt.Sprintf("the source data changed while run %s was interrupted; run %s takes them as they are now, and uses what was scored of journeys that are the same", s.run, s.by)
}

// SupersededBy returns the run that takes its place, for the failed run.
func (s *supersededError) SupersededBy() string { return s.by }

// unchanged returns nil if the source is as it was when the run was accepted.
// Otherwise it asks for the run that takes its place and returns the error that
// ends it.
func (e *extractor) unchanged(ctx context.Context, db store.Source, accepted *ihcv1.RunAccepted) error {
	if accepted.GetSourceDigest() == "" {
		return nil // of an earlier release
	}
	found, err := db.Validate(ctx, findings.Options{Alone: true})
	if err != nil || found.Digest == accepted.GetSourceDigest() {
		return err
	}
	next := proto.CloneOf(accepted.GetRequest())
	next.Supersedes = next.GetRunId()
	next.RunId = successor(next.GetRunId())
	if err := e.Bus.PublishRequest(ctx, next); err != nil {
		return fmt.Errorf("ask for run %s: %w", next.GetRunId(), err)
	}
	return errkind.As(errkind.Run, &supersededError{accepted.GetRequest().GetRunId(), next.GetRunId()})
}

// successor returns the id of the run that takes a run's place: always the
// same, so that one that is asked for twice is one.
func successor(id string) string {
	n := 2
	if at := strings.LastIndex(id, "-v"); at > 0 {
		if was, err := strconv.Atoi(id[at+2:]); err == nil && was >= 2 {
			id, n = id[:at], was+1
		}
	}
	end := "-v" + strconv.Itoa(n)
	return id[:min(len(id), run.MaxID-len(end))] + end
}

// adopt makes what an interrupted run has stored the run's own, where it takes
// the place of one.
func (e *extractor) adopt(ctx context.Context, db store.Database, req *ihcv1.RunRequest) (store.Stored, error) {
	if req.GetSupersedes() == "" {
		return nil, nil
	}
	return db.Adopt(ctx, req.GetSupersedes(), req.GetRunId())
}

// fail ends a run.
func (e *extractor) fail(ctx context.Context, id string, err error) error {
	e.Log.Error("run failed", "run", id, "error", err)
	return e.Bus.PublishEvent(ctx, run.Failed(id, stream.StageExtractor, err))
}
