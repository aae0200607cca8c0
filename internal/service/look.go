package service

import (
	"cmp"
	"context"
	"time"

	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// look is how often a run that is under way is looked at: soon, and then ever
// more rarely, since one that rests may do so for days.
var look = retry.Policy{First: 10 * time.Second, Max: 10 * time.Minute, Factor: 1.5}

// LooksEvery is how often it is looked, at first, at what nobody is told of:
// LookEvery, with its default.
func (d Deps) LooksEvery() time.Duration { return cmp.Or(d.LookEvery, look.First) }

// Look calls do with each run that is under way, again and again until ctx
// ends: a run gets on by messages, and a message that a disaster took away is
// noticed by nobody who waits for it. It returns no error: what do could not see
// it sees the next time.
func (d Deps) Look(ctx context.Context, runs *stream.Ended, do func(ctx context.Context, run string) error) error {
	every := d.LooksEvery()
	type turn struct {
		looks int
		next  time.Time
	}
	turns := map[string]turn{}
	for retry.Sleep(ctx, retry.Real, every) == nil {
		open := map[string]bool{}
		for _, id := range runs.Open() {
			open[id] = true
			t := turns[id]
			if time.Now().Before(t.next) {
				continue
			}
			if err := do(ctx, id); err != nil && ctx.Err() == nil {
				d.Log.Debug("could not look after a run; looking again", "run", id, "error", err)
			}
			t.looks++
			policy := look
			policy.First = every
			turns[id] = turn{t.looks, time.Now().Add(policy.Delay(t.looks) - every/2)}
		}
		for id := range turns {
			if !open[id] {
				delete(turns, id)
			}
		}
	}
	return nil
}
