package ops

import (
	"context"
	"slices"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
)

// Freed is what a run that was forgotten had in the streams.
type Freed struct {
	Run string
	// Messages are its chunks and results, Bytes what they hold.
	Messages, Bytes uint64
}

// Forget frees what runs that are over have in the streams: their chunks and
// results, so that they cannot be replayed any more. What became of them stays
// known, and so do their dead letters. It is an input fault, and nothing is
// freed, if one of them is not over, or if a replay that is not reads it.
func (r *Runs) Forget(ctx context.Context, ids ...string) ([]Freed, error) {
	entries, err := r.entries(ctx, "*")
	if err != nil {
		return nil, err
	}
	states := run.Fold(entries)
	for _, id := range ids {
		at := slices.IndexFunc(states, func(s *run.State) bool { return s.ID == id })
		if at < 0 {
			return nil, errkind.Inputf("run %s is %w; `ihc runs` lists those that are", id, ErrUnknown)
		}
		if why := keeps(states, states[at]); why != nil {
			return nil, why
		}
	}
	return r.free(ctx, ids)
}

// ForgetOlder does so with all runs that ended before a moment and have something
// to free. Those that cannot be forgotten are left.
func (r *Runs) ForgetOlder(ctx context.Context, before time.Time) ([]Freed, error) {
	entries, err := r.entries(ctx, "*")
	if err != nil {
		return nil, err
	}
	var ids []string
	states := run.Fold(entries)
	for _, s := range states {
		if s.Status().Ended() && s.Ended.Before(before) && keeps(states, s) == nil {
			ids = append(ids, s.ID)
		}
	}
	return r.free(ctx, ids)
}

// keeps returns what keeps a run's messages from being freed, nil for nothing.
func keeps(states []*run.State, s *run.State) error {
	if status := s.Status(); !status.Ended() {
		return &StateError{Run: s.ID, Status: status, Err: errkind.WithCode(errkind.CodeWrongState, errkind.Inputf("run %s is not over (%s): cancel it first (`ihc cancel %s`)", s.ID, status, s.ID)), State: s}
	}
	for _, other := range states {
		reads := s.ID == other.Request.GetReplayOf() || s.ID == other.ResultsRun
		if reads && !other.Status().Ended() {
			return &StateError{Run: s.ID, Status: s.Status(), Err: errkind.WithCode(errkind.CodeWrongState, errkind.Inputf("run %s is being replayed by run %s, which is not over", s.ID, other.ID)), State: s}
		}
	}
	return nil
}

func (r *Runs) free(ctx context.Context, ids []string) (freed []Freed, err error) {
	for _, id := range ids {
		f := Freed{Run: id}
		if run.ValidID(id) {
			f.Messages, f.Bytes, err = r.client.Free(ctx, id)
		}
		if err != nil {
			return freed, err
		}
		freed = append(freed, f)
	}
	return freed, nil
}
