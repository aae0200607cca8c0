package retry

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time and measures it.
type Clock interface {
	Now() time.Time
	// Timer returns a channel that gets the time once d has passed, and what
	// stops the timer when nobody waits for it any more.
	Timer(d time.Duration) (passed <-chan time.Time, stop func())
}

// Real is the clock on the wall.
var Real Clock = realClock{}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) Timer(d time.Duration) (passed <-chan time.Time, stop func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Fake is a clock for tests. It stands still but for [Fake.Advance]. It may be
// used by several goroutines.
type Fake struct {
	mu      sync.Mutex
	now     time.Time
	timers  map[*fakeTimer]bool // under way
	changed chan struct{}       // closed when a timer is started
}

type fakeTimer struct {
	at     time.Time
	passed chan time.Time
}

// NewFake returns a clock that stands at start.
func NewFake(start time.Time) *Fake {
	return &Fake{now: start, timers: map[*fakeTimer]bool{}, changed: make(chan struct{})}
}

// Now returns where the clock stands.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Timer starts a timer; one of no length is over at once.
func (f *Fake) Timer(d time.Duration) (passed <-chan time.Time, stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &fakeTimer{at: f.now.Add(d), passed: make(chan time.Time, 1)}
	if d <= 0 {
		t.passed <- f.now
		return t.passed, func() {}
	}
	f.timers[t] = true
	close(f.changed)
	f.changed = make(chan struct{})
	return t.passed, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.timers, t)
	}
}

// Advance moves the clock forward and lets go of everybody whose time is up.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
	for t := range f.timers {
		if !t.at.After(f.now) {
			t.passed <- f.now
			delete(f.timers, t)
		}
	}
}

// AwaitSleepers waits until at least n timers are under way, or returns the
// error of ctx when that ends first. A test calls it before [Fake.Advance].
func (f *Fake) AwaitSleepers(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		enough, changed := len(f.timers) >= n, f.changed
		f.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
