package attributor

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// refusedError says that a run's budget does not allow a request.
type refusedError struct {
	error
	budget *ihcv1.Budget
}

func (e *refusedError) Unwrap() error { return e.error }

type deliveryKey struct{}

// spend returns what counts the requests of a run with a budget. It finds the
// message they are for in its context.
func (a *attributor) spend(limit uint64) func(context.Context) error {
	if limit == 0 {
		return nil
	}
	return func(ctx context.Context) error {
		d, _ := ctx.Value(deliveryKey{}).(stream.Delivery)
		b, err := a.Bus.Spend(ctx, d, limit)
		if b != nil && err != nil {
			return &refusedError{err, b}
		}
		return err
	}
}

// pause tells that a run waits for a new budget, once from each process, after
// which its chunks are let go.
func (a *attributor) pause(ctx context.Context, s *settings, id string, b *ihcv1.Budget) error {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	if s.paused && s.since == b.GetResumed() {
		return nil
	}
	a.Log.Warn("the run's budget of requests is used up; it waits to be resumed", "run", id, "requests", b.GetSpent())
	a.Bus.MeterOf(id).Tell(ctx) // whoever hears of the pause is to see what was done
	err := a.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Paused{
		Paused: &ihcv1.RunPaused{Since: b.GetResumed(), Requests: b.GetSpent()}}})
	if err != nil {
		return err
	}
	s.paused, s.since = true, b.GetResumed()
	return nil
}
