package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// ErrNotFound means that the streams hold nothing by that name (any more).
var ErrNotFound = errors.New("not in the streams")

// Accepted returns the settings of a run as the extractor accepted them, or
// a [GoneError], which is [ErrNotFound].
func (c *Client) Accepted(ctx context.Context, run string) (*ihcv1.RunAccepted, error) {
	e, err := c.lastEvent(ctx, run, EventAccepted)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, c.missing.miss(run, time.Now())
	case err == nil:
		c.missing.found(run)
	}
	return e.GetAccepted(), err
}

// AcceptedAt returns when a run was accepted, UTC, or [ErrNotFound].
func (c *Client) AcceptedAt(ctx context.Context, run string) (time.Time, error) {
	m, err := c.lastOn(ctx, Runs, eventSubject(EventAccepted, run))
	if err != nil {
		return time.Time{}, err
	}
	return m.Time.UTC(), nil
}

// WrittenAt returns when a run was written, UTC, or [ErrNotFound].
func (c *Client) WrittenAt(ctx context.Context, run string) (time.Time, error) {
	m, err := c.lastOn(ctx, Runs, eventSubject(EventWritten, run))
	if err != nil {
		return time.Time{}, err
	}
	return m.Time.UTC(), nil
}

// Extracted returns how many chunks and conversions a run has, or
// [ErrNotFound] while they are not all extracted.
func (c *Client) Extracted(ctx context.Context, run string) (*ihcv1.RunExtracted, error) {
	e, err := c.lastEvent(ctx, run, EventExtracted)
	return e.GetExtracted(), err
}

// Failed returns how a run failed, or [ErrNotFound].
func (c *Client) Failed(ctx context.Context, run string) (*ihcv1.RunFailed, error) {
	e, err := c.lastEvent(ctx, run, EventFailed)
	return e.GetFailed(), err
}

// Reported returns the last report of a run, or [ErrNotFound].
func (c *Client) Reported(ctx context.Context, run string) (*ihcv1.RunReported, error) {
	e, err := c.lastEvent(ctx, run, EventReported)
	return e.GetReported(), err
}

func (c *Client) lastEvent(ctx context.Context, run string, e Event) (*ihcv1.RunEvent, error) {
	var event ihcv1.RunEvent
	return &event, c.last(ctx, Runs, eventSubject(e, run), &event)
}

// Result returns the stored answer to a chunk, or [ErrNotFound].
func (c *Client) Result(ctx context.Context, run string, chunk uint32) (*ihcv1.AttributionResult, error) {
	var r ihcv1.AttributionResult
	return &r, c.last(ctx, Results, resultSubject(run, chunk), &r)
}

// Part returns what [Client.KeepPart] kept of a chunk's part, nil if nothing.
func (c *Client) Part(ctx context.Context, run string, chunk, revision, part uint32) (*ihcv1.AttributionResult, error) {
	e, err := valueOf(ctx, c.kv, partKey(run, chunk, revision, part))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil //nolint:nilnil // nothing is a usual answer
	}
	if err != nil {
		return nil, fmt.Errorf("read part %d of chunk %d of run %s: %w", part, chunk, run, err)
	}
	var r ihcv1.AttributionResult
	if err := proto.Unmarshal(e.Value(), &r); err != nil {
		return nil, fmt.Errorf("decode part %d of chunk %d of run %s: %w", part, chunk, run, err)
	}
	return &r, nil
}

// last decodes the last message on a subject into m.
func (c *Client) last(ctx context.Context, name, subject string, m proto.Message) error {
	raw, err := c.lastOn(ctx, name, subject)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(raw.Data, m); err != nil {
		return fmt.Errorf("decode %s: %w", subject, err)
	}
	return nil
}

func (c *Client) lastOn(ctx context.Context, name, subject string) (*jetstream.RawStreamMsg, error) {
	s, err := c.stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	raw, err := answered(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subject)
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%s: %w", subject, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", subject, err)
	}
	return raw, nil
}

// EachChunk calls do with the stored chunks of a run, in the order they were
// published, and stops at its first error.
func (c *Client) EachChunk(ctx context.Context, run string, do func(*ihcv1.JourneyChunk) error) error {
	return c.each(ctx, Journeys, chunksOf(run), false, func(m jetstream.Msg) error {
		var chunk ihcv1.JourneyChunk
		if err := proto.Unmarshal(m.Data(), &chunk); err != nil {
			return fmt.Errorf("decode %s: %w", m.Subject(), err)
		}
		return do(&chunk)
	})
}

// EachResult calls do with the stored results of a run, in the order they were
// published, and stops at its first error.
func (c *Client) EachResult(ctx context.Context, run string, do func(*ihcv1.AttributionResult) error) error {
	return c.each(ctx, Results, scoredOf(run), false, func(m jetstream.Msg) error {
		var r ihcv1.AttributionResult
		if err := proto.Unmarshal(m.Data(), &r); err != nil {
			return fmt.Errorf("decode %s: %w", m.Subject(), err)
		}
		return do(&r)
	})
}

// ScoredChunks returns how many results of a run are stored. A chunk that was
// put back after it had been scored counts more than once.
func (c *Client) ScoredChunks(ctx context.Context, run string) (uint64, error) {
	consumer, done, err := c.reader(ctx, Results, true, scoredOf(run))
	if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", Results, err)
	}
	defer done()
	return consumer.CachedInfo().NumPending, nil
}

// reader returns a consumer for reading a stream's subjects from the beginning,
// and what takes it away again. Left to itself the server would keep it for a
// while, and it keeps a thousand at the most.
func (c *Client) reader(ctx context.Context, name string, headersOnly bool, subjects ...string) (consumer jetstream.Consumer, done func(), err error) {
	consumer, err = answered(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return c.js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{
			FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverAllPolicy, HeadersOnly: headersOnly, InactiveThreshold: time.Minute})
	})
	return consumer, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if info := consumer.CachedInfo(); info != nil && c.Healthy() == nil {
			_ = c.js.DeleteConsumer(ctx, name, info.Name) // gone after a minute in any case
		}
	}, err
}

// each calls do with every message stored on the subject when it is called.
func (c *Client) each(ctx context.Context, name, subject string, headersOnly bool, do func(jetstream.Msg) error) error {
	consumer, done, err := c.reader(ctx, name, headersOnly, subject)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", name, err)
	}
	defer done()
	left := consumer.CachedInfo().NumPending
	if left == 0 {
		return nil
	}
	ahead := 32 // of large messages, so that few are in memory (invariant 8)
	if headersOnly {
		ahead = 500
	}
	it, err := consumer.Messages(jetstream.PullMaxMessages(ahead))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", name, err)
	}
	defer it.Stop()
	for got, failures := uint64(0), 0; got < left; {
		wait, cancel := context.WithTimeout(ctx, 2*time.Second)
		m, err := it.Next(jetstream.NextContext(wait))
		cancel()
		switch {
		case err == nil:
			failures = 0
			got++
			if err := do(m); err != nil {
				return err
			}
		case ctx.Err() != nil:
			return fmt.Errorf("read stream %s: %w", name, ctx.Err())
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, jetstream.ErrNoHeartbeat):
			// The server is away, and the consumer finds its place again when
			// it is back; or what was to come was removed meanwhile.
			info, err := answered(ctx, consumer.Info)
			if err == nil && info.NumPending == 0 && info.Delivered.Consumer <= got {
				return nil
			}
			if failures++; failures == 5 {
				return fmt.Errorf("read stream %s: %w", name, cmp.Or(err, nats.ErrTimeout))
			}
		default:
			return fmt.Errorf("read stream %s: %w", name, err)
		}
	}
	return nil
}

// StoredRequest is a run request as it was published, sound or not.
type StoredRequest struct {
	Time     time.Time
	Sequence uint64
	Data     []byte
}

// Requests returns all stored run requests, oldest first.
func (c *Client) Requests(ctx context.Context) ([]StoredRequest, error) {
	var all []StoredRequest
	err := c.each(ctx, Runs, SubjectRunRequested, false, func(m jetstream.Msg) error {
		meta, err := m.Metadata()
		if err == nil {
			all = append(all, StoredRequest{Time: meta.Timestamp.UTC(), Sequence: meta.Sequence.Stream, Data: m.Data()})
		}
		return err
	})
	return all, err
}

// StoredEvent is a run event, when it happened, UTC, and its place in the
// stream.
type StoredEvent struct {
	Time     time.Time
	Sequence uint64
	Event    *ihcv1.RunEvent
}

// Events returns all stored events of the named run, or of every run for "*",
// oldest first, but for those that cannot be read.
func (c *Client) Events(ctx context.Context, run string) ([]StoredEvent, error) {
	var all []StoredEvent
	err := c.each(ctx, Runs, eventsOf(run), false, func(m jetstream.Msg) error {
		e, err := decodeEvent(m)
		if err != nil {
			c.log.Warn("skipped an event", "error", err)
			return nil
		}
		all = append(all, e)
		return nil
	})
	return all, err
}

func decodeEvent(m jetstream.Msg) (StoredEvent, error) {
	meta, err := m.Metadata()
	if err != nil {
		return StoredEvent{}, fmt.Errorf("%s: %w", m.Subject(), err)
	}
	e, err := DecodeEvent(Delivery{Subject: m.Subject()}, m.Data())
	return StoredEvent{Time: meta.Timestamp.UTC(), Sequence: meta.Sequence.Stream, Event: e}, err
}

// Follow calls do with each event of a run, those of the past first, until do
// returns false or ctx ends.
func (c *Client) Follow(ctx context.Context, run string, do func(StoredEvent) bool) error {
	return c.follow(ctx, Runs, false, []string{eventsOf(run)}, nil, func(m jetstream.Msg) bool {
		e, err := decodeEvent(m)
		if err != nil {
			c.log.Warn("skipped an event", "error", err)
			return true
		}
		return do(e)
	})
}

// follow calls do with each message on the subjects, those of the past first,
// until do returns false or ctx ends. It calls past, where that is not nil,
// when do has had all there were at the beginning.
func (c *Client) follow(ctx context.Context, name string, headersOnly bool, subjects []string, past func(), do func(jetstream.Msg) bool) error {
	consumer, done, err := c.reader(ctx, name, headersOnly, subjects...)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", name, err)
	}
	defer done()
	left := consumer.CachedInfo().NumPending
	it, err := consumer.Messages(jetstream.PullHeartbeat(pulse))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", name, err)
	}
	defer it.Stop()
	for ; ; left-- {
		if left == 0 && past != nil {
			past()
		}
		m, err := it.Next(jetstream.NextContext(ctx))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, jetstream.ErrNoHeartbeat), errors.Is(err, nats.ErrTimeout):
			left++   // none came
			continue // the server is away; the ordered consumer finds its place again
		case err != nil:
			return fmt.Errorf("read stream %s: %w", name, err)
		}
		if !do(m) {
			return nil
		}
	}
}
