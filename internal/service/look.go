package service

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
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

// Noticed keeps what the last look found of each run that is under way: a number of
// chunks. The zero value is ready to use, by any number of goroutines.
type Noticed struct {
	mu   sync.Mutex
	last map[string][]uint32
}

// Again says whether a look found some chunks of a run, and those that the last look
// found of it.
func (n *Noticed) Again(runs *stream.Ended, run string, chunks []uint32) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	again := len(chunks) > 0 && slices.Equal(n.last[run], chunks)
	if n.last == nil {
		n.last = map[string][]uint32{}
	}
	maps.DeleteFunc(n.last, func(run string, _ []uint32) bool { return runs.Over(run) })
	n.last[run] = chunks
	return again
}
