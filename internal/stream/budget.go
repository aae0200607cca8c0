package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// A run with a budget of requests (max_requests) is paused like this:
//
// Before each request an attributor counts it by [Client.Spend]. When there is
// none left it publishes the event paused and lets the chunk go: it stays in
// the stream. What is under way ends as usual; extraction goes on, so that
// later changes of the database do not matter to the run.
//
// The event resumed, published by a user, makes an extractor raise the budget
// ([Client.Lift]) and put back every chunk that has no result as a new message
// ([Client.PutBack]). From the moment the budget is raised, the older messages
// of the run are void, so that no chunk is scored from two. Requests whose
// results were published are not sent again; those that are under way while
// the run is resumed may be. Each step may be repeated.

// Why a request must not be sent.
var (
	ErrSpent = errors.New("the run's budget of requests is used up")
	ErrVoid  = errors.New("the chunk was put back in a newer message")
)

// Spend counts one request, for the chunk in the given message of the stream
// of journeys, against the run's budget, which begins with limit and is shared
// by all processes. The request must not be sent where it returns an error:
// [ErrSpent], [ErrVoid], or one of NATS. With the first two it returns the
// budget.
func (c *Client) Spend(ctx context.Context, d Delivery, limit uint64) (*ihcv1.Budget, error) {
	var refused error
	b, err := c.changeBudget(ctx, d.Run, limit, func(b *ihcv1.Budget) bool {
		refused = nil
		switch {
		case d.Sequence <= b.GetBarrier():
			refused = ErrVoid
		case b.GetLimit() > 0 && b.GetSpent() >= b.GetLimit():
			refused = ErrSpent
		default:
			b.Spent++
		}
		return refused == nil
	})
	return b, cmp.Or(err, refused)
}

// Lift gives a run so many requests more, or any number for 0, because of the
// event resumed at the given place in its stream, and makes the messages void
// that its chunks have so far. Only the first call for an event has an effect.
func (c *Client) Lift(ctx context.Context, run string, more, sequence uint64) (*ihcv1.Budget, error) {
	barrier, err := c.lastSequence(ctx, Journeys)
	if err != nil {
		return nil, err
	}
	return c.changeBudget(ctx, run, 0, func(b *ihcv1.Budget) bool {
		if b.GetResumed() >= sequence {
			return false
		}
		b.Resumed, b.Limit, b.Barrier = sequence, 0, barrier
		if more > 0 {
			b.Limit = b.GetSpent() + more
		}
		return true
	})
}

// Remaining returns how many requests a run may yet send whose budget began
// with limit: 0 for any number, and never less than one of a budget, so that
// what takes its place can say that it is used up.
func (c *Client) Remaining(ctx context.Context, run string, limit uint64) (uint64, error) {
	b, err := c.changeBudget(ctx, run, limit, func(*ihcv1.Budget) bool { return false })
	if err != nil || b.GetLimit() == 0 {
		return 0, err
	}
	return max(b.GetLimit()-min(b.GetSpent(), b.GetLimit()), 1), nil
}

func (c *Client) lastSequence(ctx context.Context, name string) (uint64, error) {
	s, err := c.stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", name, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

// changeBudget stores what change makes of a run's budget, unless it returns
// false.
func (c *Client) changeBudget(ctx context.Context, run string, limit uint64, change func(*ihcv1.Budget) bool) (*ihcv1.Budget, error) {
	key := "budget." + run
	explain := func(err error) error { return fmt.Errorf("request budget of run %s: %w", run, err) }
	for ctx.Err() == nil {
		b := &ihcv1.Budget{Limit: limit}
		entry, err := valueOf(ctx, c.kv, key)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
		case err != nil:
			return nil, explain(err)
		default:
			if err := protojson.Unmarshal(entry.Value(), b); err != nil {
				return nil, explain(err)
			}
		}
		if !change(b) {
			return b, nil
		}
		data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
		if err != nil {
			return nil, explain(err)
		}
		if entry == nil {
			_, err = c.kv.Create(ctx, key, data)
		} else {
			_, err = c.kv.Update(ctx, key, data, entry.Revision())
		}
		if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			continue // somebody else was faster
		}
		if err != nil {
			return nil, explain(err)
		}
		return b, nil
	}
	return nil, explain(ctx.Err())
}

// PutBack publishes every chunk of a run that has neither a result nor a dead
// letter nor a message after barrier once more, as it is. It returns how many
// there were.
func (c *Client) PutBack(ctx context.Context, run string, barrier uint64) (int, error) {
	w, err := c.Whereabouts(ctx, run)
	if err != nil {
		return 0, err
	}
	last := w.Chunks
	for chunk, sequence := range last {
		if _, scored := w.Results[chunk]; scored || w.Dead[chunk] || sequence > barrier {
			delete(last, chunk)
		}
	}
	return c.Republish(ctx, run, last)
}
