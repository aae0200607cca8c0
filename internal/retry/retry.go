// Package retry is how the pipeline waits before it tries again: one policy
// for each thing that is waited for, and a clock that tests can set.
package retry

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// The policies, by what is waited for.
var (
	// Server is waited for until it has started, or made its streams: steady,
	// since whoever waits has nothing else to do.
	Server = Policy{First: 250 * time.Millisecond, Max: 250 * time.Millisecond}
	// Setup waits between attempts to make the streams on a server that is
	// starting; each attempt is many questions.
	Setup = Policy{First: 500 * time.Millisecond, Max: 500 * time.Millisecond}
	// Publish waits for a server that does not take messages: away, or full.
	Publish = Policy{First: 100 * time.Millisecond, Max: 3 * time.Second, Factor: 1.5}
	// Fetch waits for a server that does not hand out messages.
	Fetch = Policy{First: 100 * time.Millisecond, Max: 2 * time.Second, Factor: 1.5}
	// Wakeup is how long a waiting subscription is trusted before it is asked
	// again whether its message came.
	Wakeup = Policy{First: 10 * time.Millisecond, Max: time.Hour, Factor: 8}
	// Watch waits before events are followed again after an error.
	Watch = Policy{First: time.Second, Max: time.Second}
	// Redelivery is before a message is delivered again whose handler failed
	// with an error that nobody classified.
	Redelivery = Policy{First: 500 * time.Millisecond, Max: 64 * time.Second, Factor: 2, Jitter: 0.5}
	// Crashed is before a message is tried again on which a process died: half a
	// minute, all in all, before the message is taken for the cause.
	Crashed = Policy{First: 2 * time.Second, Max: 64 * time.Second, Factor: 2}
	// API is before a chunk is sent again that the IHC API did not answer.
	API = Policy{First: 500 * time.Millisecond, Max: 32 * time.Second, Factor: 2, Jitter: 0.5}
	// Probe is how long nobody asks an IHC API that is down.
	Probe = Policy{First: time.Second, Max: 30 * time.Second, Factor: 2}
	// Lock waits for another process to let go of a database, where SQLite
	// does not wait itself: some moment soon, so that two who wait for each
	// other do not meet again.
	Lock = Policy{First: 50 * time.Millisecond, Max: 50 * time.Millisecond, Jitter: 1}
)

// Policy says how long to wait between tries.
type Policy struct {
	// First is the wait after the first try.
	First time.Duration
	// Max is the longest wait.
	Max time.Duration
	// Factor is by how much each wait is longer than the one before; below 1
	// counts as 1, all waits alike.
	Factor float64
	// Jitter is the part of a wait, from 0 to 1, that is left to chance: with
	// 0.5 a wait is between half of its length and all of it. It keeps those
	// who failed together from trying again together.
	Jitter float64
}

// Delay returns the wait after a number of tries, 1 for the first; below 1
// counts as 1.
func (p Policy) Delay(tries int) time.Duration {
	d := float64(p.First) * math.Pow(max(p.Factor, 1), float64(max(tries, 1)-1))
	d = min(d, float64(p.Max)) // also what is beyond all numbers
	return time.Duration(d - d*p.Jitter*rand.Float64())
}

// Sleep waits until a time has passed on the clock, and returns nil, or until
// ctx ends, and returns its error.
func Sleep(ctx context.Context, clock Clock, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	passed, stop := clock.Timer(d)
	defer stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-passed:
		return nil
	}
}

// Do calls do until it succeeds, with the policy's waits in between. An error
// that is not retryable is returned as it is; nil for retryable takes all for
// it. When ctx ends, the error is ctx's and the last one of do.
func Do(ctx context.Context, clock Clock, p Policy, do func(context.Context) error, retryable func(error) bool) error {
	for tries := 1; ; tries++ {
		err := do(ctx)
		if err == nil || retryable != nil && !retryable(err) {
			return err
		}
		if ended := Sleep(ctx, clock, p.Delay(tries)); ended != nil {
			return fmt.Errorf("%w (last: %w)", ended, err)
		}
	}
}
