package extractor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// A run attributes the source as it was when it was accepted. Where it was
// interrupted and the source has changed when it is to go on, it is ended as
// superseded (invariant 10): another run takes the source as it is, and uses
// what was scored of journeys that are the same (invariant 11).

// goOn looks at the runs that were under way when this process began: those
// that are extracted go on by themselves, unless the source has changed. The
// others are delivered again and looked at then.
func (e *extractor) goOn(ctx context.Context) error {
	under, err := e.extracted(ctx)
	for tries := 1; err != nil && ctx.Err() == nil && tries < mostLooks; tries++ {
		// Of several NATS servers that come up, none may lead yet.
		e.Log.Warn("cannot read which runs are under way, trying again", "error", err)
		if err := retry.Sleep(ctx, retry.Real, retry.Fetch.Delay(tries)); err != nil {
			return err
		}
		under, err = e.extracted(ctx)
	}
	if err != nil || len(under) == 0 {
		return err
	}
	for _, s := range under {
		if _, err := e.goOnWith(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// mostLooks is how often it is tried to read which runs are under way: each try may
// take ten seconds.
const mostLooks = 6

// goOnWith says whether a run goes on, and ends it if not. It waits until the
// database can be read.
func (e *extractor) goOnWith(ctx context.Context, id string) (goesOn bool, err error) {
	accepted, err := e.Bus.Accepted(ctx, id)
	if err != nil {
		return false, err
	}
	if err := e.stillThere(ctx, accepted); err != nil {
		return false, e.Outcome(ctx, err, id)
	}
	e.under.add(accepted)
	return true, nil
}

// patiently calls do until it ends otherwise than by an environment fault, and
// says meanwhile what is waited for: an interrupted run has results that are
// paid for, and does not fail for a lock.
func (e *extractor) patiently(ctx context.Context, id string, do func() error) error {
	for waited := false; ; waited = true {
		err := do()
		if ctx.Err() != nil || errkind.KindOf(err) != errkind.Environment {
			if waited {
				e.SetReady(nil)
				e.Bus.Waiting(ctx, id, "")
			}
			return err
		}
		e.SetReady(err)
		e.Bus.Waiting(ctx, id, err.Error())
		if err := retry.Sleep(ctx, retry.Real, 2*time.Second); err != nil {
			return err
		}
	}
}

// extracted returns the runs that are extracted and not over. One that is paused
// is looked at when it is resumed.
func (e *extractor) extracted(ctx context.Context) ([]*run.State, error) {
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
		if s.Planned != nil && !s.Status().Ended() && s.Status() != run.StatusPaused && s.Request.GetReplayOf() == "" {
			under = append(under, s)
		}
	}
	return under, nil
}

// supersededError ends a run whose source has changed while it was interrupted.
type supersededError struct {
	by      string
	another bool // it is another database
}

func (s *supersededError) Error() string {
	if s.another {
		return fmt.Sprintf("the database was replaced by another while the run was interrupted; run %s takes the one that is there now", s.by)
	}
	return fmt.Sprintf("the source data changed while the run was interrupted; run %s takes them as they are now, and uses what was scored of journeys that are the same", s.by)
}

// SupersededBy returns the run that takes its place, for the failed run.
func (s *supersededError) SupersededBy() string { return s.by }

// unchanged returns nil if the source is as it was when the run was accepted,
// and otherwise the error that ends it.
func (e *extractor) unchanged(ctx context.Context, accepted *ihcv1.RunAccepted) error {
	if accepted.GetSourceDigest() == "" {
		return nil // of an earlier release
	}
	next := successorOf(accepted.GetRequest().GetRunId())
	switch err := e.db.Confirm(ctx, accepted); {
	case errors.Is(err, store.ErrRefused):
		return errkind.As(errkind.Run, &supersededError{next, true})
	case err != nil:
		return err
	}
	found, err := e.check(ctx, accepted.GetRequest(), findings.Options{Alone: true})
	if err != nil || found.Digest == accepted.GetSourceDigest() {
		return err
	}
	if err := e.keepScored(ctx, accepted.GetRequest().GetRunId()); err != nil {
		return err
	}
	return errkind.As(errkind.Run, &supersededError{by: next})
}

// keepScored stores the results of a run that the writer had not come to when it
// was interrupted: once the run is ended nothing is taken of it, and what was
// paid for would be lost to its successor. The writer may be at the same ones,
// which does no harm (invariant 3).
func (e *extractor) keepScored(ctx context.Context, id string) error {
	missing := map[uint32]bool{}
	w, err := e.Bus.Whereabouts(ctx, id)
	if err != nil || len(w.Results) == 0 {
		return err
	}
	chunks, err := e.db.Missing(ctx, id, slices.Max(slices.Collect(maps.Keys(w.Results))))
	if err != nil || len(chunks) == 0 {
		return err
	}
	for _, chunk := range chunks {
		missing[chunk] = true
	}
	return e.Bus.EachResult(ctx, id, func(r *ihcv1.AttributionResult) error {
		if !missing[r.GetChunk()] {
			return nil
		}
		return e.db.Store(ctx, []*ihcv1.AttributionResult{r})
	})
}

// successor returns the request of the run that takes the place of one that
// ended as superseded; nil for a run that ended otherwise.
func (e *extractor) successor(ctx context.Context, ended *ihcv1.RunEvent) (*ihcv1.RunRequest, error) {
	next := ended.GetFailed().GetSupersededBy()
	if next == "" {
		return nil, nil
	}
	accepted, err := e.Bus.Accepted(ctx, ended.GetRunId())
	if err != nil {
		return nil, e.Outcome(ctx, err, next)
	}
	req := proto.CloneOf(accepted.GetRequest())
	req.RunId, req.Supersedes = next, ended.GetRunId()
	if err := e.lift(ctx, ended.GetRunId()); err != nil {
		return nil, e.Outcome(ctx, err, next)
	}
	if req.MaxRequests, err = e.Bus.Remaining(ctx, ended.GetRunId(), req.GetMaxRequests()); err != nil {
		return nil, e.Outcome(ctx, err, next)
	}
	return req, nil
}

// lift gives a run that was resumed the budget it was resumed with, where that has
// not come about: its successor goes on with what is left of it.
func (e *extractor) lift(ctx context.Context, id string) error {
	events, err := e.Bus.Events(ctx, id)
	if err != nil {
		return err
	}
	begun, err := e.Bus.Begun(ctx, id)
	if err != nil {
		return err
	}
	for _, x := range slices.Backward(events) {
		if r := x.Event.GetResumed(); r != nil && x.Sequence > begun {
			_, err := e.Bus.Lift(ctx, id, r.GetMaxRequests(), x.Sequence)
			return err
		}
	}
	return nil
}

// successorOf returns the id of the run that takes a run's place: always the
// same, so that one that begins twice is one.
func successorOf(id string) string {
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
func (e *extractor) adopt(ctx context.Context, req *ihcv1.RunRequest) (stored store.Stored, err error) {
	if req.GetSupersedes() == "" {
		return nil, nil
	}
	err = e.patiently(ctx, req.GetRunId(), func() error {
		stored, err = e.db.Adopt(ctx, req.GetSupersedes(), req.GetRunId())
		return err
	})
	return stored, err
}

// reuse makes what earlier runs have scored available to a run, unless it scores
// all again or it is not settled what scores it.
func (e *extractor) reuse(ctx context.Context, accepted *ihcv1.RunAccepted) (reusable store.Stored, err error) {
	req := accepted.GetRequest()
	if req.GetFull() || accepted.GetScoring() == nil {
		return nil, nil
	}
	since := run.Since(req, time.Now())
	err = e.patiently(ctx, req.GetRunId(), func() error {
		reusable, err = e.db.Reuse(ctx, req, since)
		return err
	})
	return reusable, err
}
