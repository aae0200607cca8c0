package writer

import (
	"context"
	"errors"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/store"
)

// own makes sure that the runs are the database's, and known to it with what
// scores them, before anything of theirs is stored (invariant 12).
func (w *writer) own(ctx context.Context, runs []string) error {
	for _, id := range runs {
		w.mu.Lock()
		owned := w.owned[id]
		w.mu.Unlock()
		if owned {
			continue
		}
		accepted, err := w.Bus.Accepted(ctx, id)
		if errors.Is(err, stream.ErrNotFound) {
			continue // its event is to come, or gone: whoever sent the result knew it
		}
		if err != nil {
			return err
		}
		if err := w.ledger.Accept(ctx, accepted); err != nil {
			return err
		}
		w.mu.Lock()
		w.owned[id] = true
		w.mu.Unlock()
	}
	return nil
}

// hear forgets a run that is over.
func (w *writer) hear(e stream.Event, id string) {
	if e == stream.EventAccepted {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.owned, id)
}

// trouble says what an error means for runs. Where one of several may be the cause,
// all are tried one by one. That a database was replaced is for the extractor to
// judge while the run is under way, and what is paid for is kept until it has.
func (w *writer) trouble(ctx context.Context, err error, runs ...string) error {
	switch {
	case errkind.KindOf(err) != errkind.Input: // what it is refused with, or what a file that was written over looks like
	case len(runs) > 1:
		return err
	case !w.waitsForJudgement(ctx, runs[0]):
	case w.ended.Over(runs[0]): // nobody judges it any more: a message came again that was acknowledged too late
		w.Log.Warn("the run has ended, and its database was replaced since: what comes of it now has no place", "run", runs[0])
		err = nil
	default:
		err = stream.Retry(err, judgedWithin)
	}
	return w.Outcome(ctx, err, runs...)
}

// judgedWithin is about how long it takes the extractor to see that the database
// was replaced.
const judgedWithin = 2 * time.Second

// waitsForJudgement says whether it is the extractor that ends a run which the
// database refuses: one that it read from there, and that is not the database's
// any more.
func (w *writer) waitsForJudgement(ctx context.Context, id string) bool {
	accepted, err := w.Bus.Accepted(ctx, id)
	return err == nil && accepted.GetRequest().GetReplayOf() == "" && errors.Is(w.ledger.Confirm(ctx, accepted), store.ErrRefused)
}

// end records in the ledger that a run was ended. One that never began has no
// place in the database: there may be none, or it may be what the run failed on.
// Nor has one of another database.
func (w *writer) end(ctx context.Context, id string, status store.Status) error {
	accepted, err := w.Bus.Accepted(ctx, id)
	if err == nil {
		if err = w.ledger.Confirm(ctx, accepted); err == nil {
			err = w.ledger.End(ctx, id, status)
		}
	}
	if errors.Is(err, stream.ErrNotFound) || errors.Is(err, store.ErrRefused) {
		err = nil
	}
	return errors.Join(err, w.ledger.Close())
}
