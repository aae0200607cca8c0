package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Update tells a follower that a run has changed.
type Update struct {
	// State is the run as it is now. It changes with the next update.
	State *run.State
	// Event is what changed it, nil where only its progress did.
	Event *ihcv1.RunEvent
	// Sequence is the event's place in its stream, 0 where there is none.
	Sequence uint64
}

// Follow calls tell with every event of a run, those of the past first, and
// with its progress at the given interval, until the run stops, and then those
// of the run that takes its place where it was superseded. It returns the state in which the run did, and an error unless there is a report:
//
//   - a [StateError] for a run that failed, with the kind of its failure, and
//     for one that was cancelled, is paused, or is stuck;
//   - an environment fault where the streams are out of reach;
//   - that of ctx, when it ends.
func (r *Runs) Follow(ctx context.Context, id string, every time.Duration, tell func(Update)) (*run.State, error) {
	var readers sync.WaitGroup
	defer readers.Wait()
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := follower{Runs: r, state: &run.State{ID: id}, tell: tell}
	events, dead := make(chan stream.StoredEvent), make(chan stream.DeadLetter)
	broken := make(chan error, 2)
	readers.Go(func() { broken <- r.client.Follow(ctx, id, forward(ctx, events)) })
	readers.Go(func() { broken <- r.client.FollowDead(ctx, id, forward(ctx, dead)) })
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		stopped, err := false, error(nil)
		select {
		case <-ctx.Done():
			return f.state, ctx.Err()
		case err := <-broken:
			if ctx.Err() == nil {
				return f.state, lost(err)
			}
			continue
		case d := <-dead:
			err = f.letter(ctx, d)
		case <-tick.C:
			f.progress(ctx)
		case e := <-events:
			stopped, err = f.event(ctx, e)
		}
		if next := f.state.SupersededBy(); next != "" {
			cancel()
			return r.Follow(outer, next, every, tell)
		}
		if stopped || err != nil {
			return f.state, err
		}
	}
}

func lost(err error) error { return errkind.Environmentf("lost the run from sight: %w", err) }

func forward[T any](ctx context.Context, to chan<- T) func(T) bool {
	return func(v T) bool {
		select {
		case to <- v:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

type follower struct {
	*Runs
	state *run.State
	tell  func(Update)
}

// event takes an event and says whether the run stops with it.
func (f *follower) event(ctx context.Context, e stream.StoredEvent) (stopped bool, err error) {
	f.state.Apply(eventEntry(e))
	if known, err := f.known(ctx); !known {
		return false, err
	}
	s := f.state
	f.tell(Update{s, e.Event, e.Sequence})
	switch status := s.Status(); status {
	case run.StatusFailed, run.StatusSuperseded:
		return true, &StateError{s.ID, status, run.Fault(s.Failure), s}
	case run.StatusCancelled:
		text := "run " + s.ID + " was cancelled"
		if s.Reason != "" {
			text += ": " + s.Reason
		}
		return true, &StateError{s.ID, status, errors.New(text), s}
	case run.StatusPaused:
		if still, err := f.still(ctx, status); !still {
			return false, err
		}
		return true, &StateError{s.ID, status, errkind.As(errkind.Paused, fmt.Errorf("%w; `ihc resume %s` lets the run go on", ErrSpent, s.ID)), s}
	default:
		return status.Ended(), nil
	}
}

// known says whether what was heard is of the run. Before it is accepted only its
// end is: of one that was refused, or ended while it waited. What was said under
// its name before it was asked for is not.
func (f *follower) known(ctx context.Context) (bool, error) {
	if f.state.Known() {
		return true, nil
	}
	now, err := f.Get(ctx, f.state.ID)
	switch {
	case errors.Is(err, ErrUnknown):
		return false, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		return false, lost(err)
	case now.Accepted() || !now.Status().Ended():
		return false, nil // what ends it is to come
	}
	f.state = now
	return true, nil
}

// ErrSpent is in the chain of the error of a run that is paused.
var ErrSpent = errors.New("paused: the run's budget of requests (--max-requests) is used up")

// still says whether the run is in the state that what was just heard put it
// in. It is not if that was in the past, and what ended the state is to come.
func (f *follower) still(ctx context.Context, status run.Status) (bool, error) {
	now, err := f.Get(ctx, f.state.ID)
	switch {
	case errors.Is(err, ErrUnknown):
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		return false, lost(err)
	}
	f.state.Progress = now.Progress
	return now.Status() == status, nil
}

// letter returns an error if the run cannot end because of the dead letter. It
// can if the letter has been put back since, or is of a run that is over.
func (f *follower) letter(ctx context.Context, d stream.DeadLetter) error {
	if still, err := f.still(ctx, run.StatusStuck); !still {
		return err
	}
	f.state.Apply(deadEntry(d))
	return &StateError{f.state.ID, run.StatusStuck,
		fmt.Errorf("run %s cannot end: a message of the %s is among the dead letters: %s", f.state.ID, d.Stage, d.Reason), f.state}
}

// progress tells how far the run is. Where that is out of reach for a moment,
// the next time will do; what a stage tells in that very moment may be missing.
func (f *follower) progress(ctx context.Context) {
	p, err := f.Runs.progress(ctx, f.state)
	if err == nil {
		was := f.state.Progress
		p.Extractor, p.Attributor = cmp.Or(p.Extractor, was.Extractor), cmp.Or(p.Attributor, was.Attributor)
		p.Writer, p.Reporter = cmp.Or(p.Writer, was.Writer), cmp.Or(p.Reporter, was.Reporter)
		p.ScoredChunks = max(p.ScoredChunks, was.ScoredChunks)
		f.state.Progress = p
		f.tell(Update{State: f.state})
	}
}
