package store

import (
	"context"
	"sync"
)

type stepKey struct{}

// OnStep returns a context in which a database tells how far it is with what takes
// long: with a check, with bringing attribution_customer_journey to the journal's
// state, with a report. tell is told 0 when it begins, and then how much of it is
// done, up to 1, from time to time, by any goroutine. A database that cannot know how
// much tells the beginning alone.
func OnStep(ctx context.Context, tell func(done float64)) context.Context {
	return context.WithValue(ctx, stepKey{}, tell)
}

// Counter adds up how much is done of what a context of [OnStep] is told of. Amounts are
// in any unit. It is for any number of goroutines; nil counts nothing.
type Counter struct {
	tell        func(done float64)
	mu          sync.Mutex
	done, total float64
}

// Begin tells that something begins, and returns what counts it: nil where nobody
// listens.
func Begin(ctx context.Context) *Counter {
	tell, _ := ctx.Value(stepKey{}).(func(float64))
	if tell == nil {
		return nil
	}
	tell(0)
	return &Counter{tell: tell}
}

// Expect adds to what there is to do.
func (w *Counter) Expect(amount float64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total += amount
}

// Add adds to what is done, and tells it.
func (w *Counter) Add(amount float64) {
	if w == nil || amount <= 0 {
		return
	}
	w.mu.Lock()
	w.done += amount
	share := 0.0
	if w.total > 0 {
		share = min(w.done/w.total, 1)
	}
	w.mu.Unlock()
	w.tell(share)
}
