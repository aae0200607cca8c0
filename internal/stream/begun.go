package stream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/run"
)

// Anybody can publish an end, or the wish that a run go on, under a name that
// never was. It counts if it comes after the run's beginning, and is nothing to a
// run of that name that is asked for later. A run begins in the stream of runs:
// with the first request that names it or, for one that takes another's place,
// with the end of that other.

// beginning is a place in the stream of runs, and when it was stored, UTC.
type beginning struct {
	sequence uint64
	time     time.Time
}

// Begun returns the place in the stream of runs where a run was asked for, or
// [ErrNotFound]. What is said of the run before that is nothing to it.
func (c *Client) Begun(ctx context.Context, id string) (uint64, error) {
	if at, err := c.acceptedFrom(ctx, id); at > 0 || err != nil {
		return at, err
	}
	begun, err := c.beginnings(ctx)
	if err != nil {
		return 0, err
	}
	if b, ok := begun[id]; ok {
		return b.sequence, nil
	}
	return 0, ErrNotFound
}

// Asked returns when and where a run was asked for, accepted or not, as [run.Asked]
// writes it, or [ErrNotFound].
func (c *Client) Asked(ctx context.Context, id string) (string, error) {
	accepted, _, err := c.stands(ctx, EventAccepted, id)
	if asked := accepted.GetAccepted().GetAsked(); asked != "" || err != nil {
		return asked, err
	}
	begun, err := c.beginnings(ctx)
	if err != nil {
		return "", err
	}
	if b, ok := begun[id]; ok {
		return run.Asked(b.time, b.sequence), nil
	}
	return "", ErrNotFound
}

// acceptedFrom returns where a run was asked for that was accepted, 0 for none: its
// request may be gone, and the event says where it was.
func (c *Client) acceptedFrom(ctx context.Context, id string) (uint64, error) {
	accepted, at, err := c.stands(ctx, EventAccepted, id)
	if at == 0 {
		return 0, err
	}
	if asked := run.PlaceAsked(accepted.GetAccepted().GetAsked()); asked > 0 && asked < at {
		at = asked
	}
	return at, nil
}

// beginnings returns where each run was asked for whose request is stored.
func (c *Client) beginnings(ctx context.Context) (map[string]beginning, error) {
	all := map[string]beginning{}
	begins := func(id string, at beginning) {
		if was, there := all[id]; !there || at.sequence < was.sequence {
			all[id] = at
		}
	}
	requests, err := c.Requests(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range requests {
		r, _ := run.Decode(q.Data) // one that cannot be read is a run, too
		begins(run.IDOf(r, q.Time, q.Sequence), beginning{q.Sequence, q.Time})
	}
	replaced, err := c.Replaced(ctx)
	for _, e := range replaced {
		begins(e.Event.GetFailed().GetSupersededBy(), beginning{e.Sequence, e.Time})
	}
	return all, err
}

// Replaced returns the ends of runs whose place another takes, oldest first.
func (c *Client) Replaced(ctx context.Context) ([]StoredEvent, error) {
	var all []StoredEvent
	err := c.each(ctx, Runs, eventSubject(EventFailed, "*"), false, func(m jetstream.Msg) error {
		if e, err := decodeEvent(m); err == nil && e.Event.GetFailed().GetSupersededBy() != "" {
			all = append(all, e)
		}
		return nil
	})
	return all, err
}

// begunAmong looks the beginnings of runs up for [Ended]. As long as it is told of
// the past one reading does, since all of that was there when it began.
type begunAmong struct {
	*Client
	known map[string]beginning
	past  bool
}

// of returns when a run was asked for, the zero time for never.
func (b *begunAmong) of(ctx context.Context, id string) (time.Time, error) {
	if b.known == nil || !b.past {
		known, err := b.beginnings(ctx)
		if err != nil {
			return time.Time{}, err
		}
		b.known = known
	}
	return b.known[id].time, nil
}
