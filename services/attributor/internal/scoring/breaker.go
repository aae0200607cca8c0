package scoring

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/retry"
)

// Breaker keeps an attributor from asking an API that is down or that asked
// for patience: after a row of failures nobody asks for a while, and for longer
// each time it still does not answer. When the time is up one asks, and the
// others wait for what comes of it. The zero value is closed: asking is fine.
type Breaker struct {
	// Clock measures the waits; nil means [retry.Real].
	Clock retry.Clock

	mu       sync.Mutex
	failures int       // transient ones since the last answer
	until    time.Time // nobody asks before
	why      error     // nil while asking is fine
	told     bool      // of why
	again    chan struct{}
}

const (
	// breakAfter is how many transient failures in a row open the breaker.
	breakAfter = 5
	// probeEvery is how long the others wait for the one who asks first.
	probeEvery = 2 * time.Second
)

// Note records what became of a request.
func (b *Breaker) Note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var e *ihcapi.Error
	if !errors.As(err, &e) || e.Kind != ihcapi.Transient {
		b.failures, b.until, b.why = 0, time.Time{}, nil
		if b.again != nil {
			close(b.again)
			b.again = nil
		}
		return
	}
	b.failures++
	wait := e.RetryAfter
	if b.failures >= breakAfter {
		wait = max(wait, retry.Probe.Delay(b.failures-breakAfter+1))
	}
	if until := b.clock().Now().Add(wait); wait > 0 && !until.Before(b.until) {
		b.until, b.why, b.told = until, err, false
	}
}

// Wait returns when asking is fine again, or ctx ends. tell, when not nil, is
// called with what is waited for and when it is tried again, once for each
// failure.
func (b *Breaker) Wait(ctx context.Context, tell func(why error, next time.Time)) {
	for ctx.Err() == nil {
		left, again, why := b.wait()
		if left <= 0 {
			return
		}
		if why != nil && tell != nil {
			tell(why, b.clock().Now().Add(left))
		}
		passed, stop := b.clock().Timer(left)
		select {
		case <-ctx.Done():
		case <-again:
		case <-passed:
		}
		stop()
	}
}

func (b *Breaker) clock() retry.Clock {
	if b.Clock == nil {
		return retry.Real
	}
	return b.Clock
}

// wait returns how long to wait at the most, why if nobody was told yet, and
// what is closed when the API answers.
func (b *Breaker) wait() (left time.Duration, again <-chan struct{}, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left = b.until.Sub(b.clock().Now())
	if left <= 0 {
		if b.why != nil {
			b.until = b.clock().Now().Add(probeEvery)
		}
		return 0, nil, nil
	}
	if !b.told {
		why, b.told = b.why, true
	}
	if b.again == nil {
		b.again = make(chan struct{})
	}
	return left, b.again, why
}
