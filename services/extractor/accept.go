package extractor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// How long a run waits for an attributor to say what it would score it with, and
// how long between two questions. Without an answer the run is extracted all the
// same, and the first attributor to score a chunk settles it.
const (
	askPatience = 2 * time.Second
	askAgain    = 100 * time.Millisecond
)

// scoring settles what scores a run (invariant 12), nil where no attributor is
// there to say. The run that takes another's place is scored as that was.
func (e *extractor) scoring(ctx context.Context, req *ihcv1.RunRequest) (*ihcv1.Scoring, error) {
	if of := req.GetSupersedes(); of != "" {
		was, err := e.Bus.Accepted(ctx, of)
		if err == nil && was.GetScoring() == nil {
			was.Scoring, err = e.Bus.Settled(ctx, of, was.GetAsked())
		}
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return nil, err
		}
		if s := was.GetScoring(); s != nil {
			return s, nil
		}
	}
	var refused error
	for begun := time.Now(); time.Since(begun) < askPatience; {
		answer, err := e.Bus.AskScoring(ctx, req)
		switch {
		case err != nil:
			return nil, err
		case answer.GetScoring() != nil:
			return answer.GetScoring(), nil
		case answer.GetRefused() != nil:
			// One that lacks something is asked like any other; the next may have it.
			if refused = run.Fault(answer.GetRefused()); errkind.KindOf(refused) != errkind.Environment {
				return nil, refused
			}
		}
		if err := retry.Sleep(ctx, retry.Real, askAgain); err != nil {
			return nil, err
		}
	}
	return nil, refused
}

// awaitsTurn is what is waited for when the database is not written to at once.
const awaitsTurn = "waiting to write to the database: is another program or process of the pipeline changing it?"

// enter makes the run the database's, which is told by its identity from then on.
func (e *extractor) enter(ctx context.Context, accepted *ihcv1.RunAccepted) error {
	id := accepted.GetRequest().GetRunId()
	over := e.Slow(ctx, awaitsTurn, id)
	database, again, err := e.db.Enter(ctx, accepted)
	over()
	if err != nil {
		return err
	}
	accepted.Database = database
	if again {
		accepted.Warnings = append(accepted.Warnings, fmt.Sprintf("warning: run %s was asked for before, in streams that are gone; it begins anew", id))
		e.Log.Warn("the run was asked for before, in streams that are gone; it begins anew", "run", id)
	}
	return nil
}

// unheard says whether a run is over. One that ended between its entry in the
// database and its event accepted, of which nobody hears, is ended in the database:
// all others are ended there by the writer.
func (e *extractor) unheard(ctx context.Context, id, asked string) (over bool, err error) {
	end, err := e.Bus.Over(ctx, id)
	status := store.EndedAs(end)
	if status == "" || err != nil {
		return end != nil, err
	}
	if _, err := e.Bus.Accepted(ctx, id); !errors.Is(err, stream.ErrNotFound) {
		return true, err
	}
	err = e.db.Check(ctx) // which does not wait for a lock
	if err == nil {
		err = store.EndEntered(ctx, e.db, id, asked, status)
	}
	switch {
	case errors.Is(err, store.ErrLocked), errkind.Passes(err):
		return true, stream.Retry(err, unheardDelay)
	case err != nil: // it may be what the run failed on
		e.Log.Debug("cannot look whether the database calls the run running", "run", id, "error", err)
	}
	return true, ctx.Err()
}

// unheardDelay is when it is tried again to say in the database how a run ended.
const unheardDelay = 2 * time.Second

// isAnother says whether a request names a run that there is and asks for
// something else, in which case it changes nothing.
func (e *extractor) isAnother(ctx context.Context, id string, r request) (bool, error) {
	if r.RunRequest == nil || r.GetSupersedes() != "" {
		return false, nil
	}
	accepted, err := e.Bus.Accepted(ctx, id)
	if errors.Is(err, stream.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	asks, err := run.Complete(r.RunRequest)
	if err == nil && run.Answers(accepted.GetRequest(), asks) {
		return false, nil
	}
	e.Log.Warn("request refused: the run there is of that id was asked for with other settings; choose another run_id", "run", id,
		"is", run.Describe(accepted.GetRequest()))
	return true, nil
}

// underWay are the runs that this process has found to belong to the database, and
// those that it extracts.
type underWay struct {
	mu      sync.Mutex
	runs    map[string]*ihcv1.RunAccepted
	working map[string]context.CancelCauseFunc
}

// work notes how the extraction of a run is stopped, nil when it is over.
func (u *underWay) work(id string, stop context.CancelCauseFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if stop == nil {
		delete(u.working, id)
		return
	}
	if u.working == nil {
		u.working = map[string]context.CancelCauseFunc{}
	}
	u.working[id] = stop
}

func (u *underWay) add(a *ihcv1.RunAccepted) {
	if a.GetDatabase() == "" {
		return // of an earlier release
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.runs[a.GetRequest().GetRunId()] = a
}

// hear lets go of a run that is over.
func (u *underWay) hear(e stream.Event, id string) {
	if e == stream.EventAccepted {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.runs, id)
	if stop := u.working[id]; stop != nil {
		stop(errEnded)
	}
}

// at says whether this process extracts the run.
func (u *underWay) at(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.working[id] != nil
}

func (u *underWay) all() (all []*ihcv1.RunAccepted) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.runs {
		all = append(all, a)
	}
	return all
}

// watchEvery is how often it is looked whether the database was replaced.
const watchEvery = time.Second

// watch ends runs whose database is replaced while they are under way, or that the
// stream of runs knows nothing of any more. It is the
// extractor alone that does: the other stages wait with what they have, so that
// whatever is found first, a run ends in one way.
func (e *extractor) watch(ctx context.Context) {
	for retry.Sleep(ctx, retry.Real, watchEvery) == nil {
		for _, a := range e.under.all() {
			id := a.GetRequest().GetRunId()
			err := e.db.Confirm(ctx, a)
			if err == nil && !e.under.at(id) {
				_, err = e.Bus.Accepted(ctx, id)
			}
			var gone *stream.GoneError
			if !errors.Is(err, store.ErrRefused) && !errors.As(err, &gone) || ctx.Err() != nil {
				continue // where it is away or locked, it is waited for
			}
			if err := e.Outcome(ctx, err, id); err == nil {
				e.under.hear(stream.EventFailed, id)
			}
		}
	}
}
