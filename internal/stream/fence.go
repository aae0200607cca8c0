package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// A process can be suspended for any time, while another is given its messages
// and does its work. When it wakes it goes on as if nothing had happened. What
// keeps it from harm is checked by the server when it publishes:
//
//   - a chunk, and its result, is published after the message that its subject
//     had when it was looked at, and after no other; who comes too late compares
//     what is there with its own;
//   - the events accepted and extracted are published once;
//   - a run that has ended takes no event any more.
//
// So whoever gets as far as publishing extracted has found every chunk there
// is to be its own, whoever published it.

// Why something was not published.
var (
	// ErrOver means that the run has ended.
	ErrOver = errors.New("the run has ended")
	// ErrTaken means that another process has published it, and otherwise.
	ErrTaken = errors.New("another process was faster, and came to something else")
)

// after is what the server checks of a publish: that the subject's last message
// is the one at this place, 0 for none.
func after(sequence uint64) jetstream.PublishOpt {
	return jetstream.WithExpectLastSequencePerSubject(sequence)
}

// tooLate says whether a publish failed since its subject has got another
// message meanwhile: possibly this one, whose acknowledgement was lost.
func tooLate(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Over returns the event that a run ended with, nil for one that has not: the
// first end after its beginning (see [Client.Begun]).
func (c *Client) Over(ctx context.Context, run string) (*ihcv1.RunEvent, error) {
	found := map[uint64]*ihcv1.RunEvent{}
	for name := range ends {
		e, sequence, err := c.stands(ctx, name, run)
		if err != nil {
			return nil, err
		}
		if e != nil {
			found[sequence] = e
		}
	}
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // nothing is a usual answer
	}
	begun, err := c.Begun(ctx, run)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // a run that never was has not ended
	}
	if err != nil {
		return nil, err
	}
	for _, at := range slices.Sorted(maps.Keys(found)) {
		if at > begun {
			return found[at], nil
		}
	}
	return nil, nil //nolint:nilnil // what there is was said before it began
}

// stands returns the last event of that name of a run, and its place; nil and 0
// for none.
func (c *Client) stands(ctx context.Context, name Event, run string) (*ihcv1.RunEvent, uint64, error) {
	raw, err := c.lastOn(ctx, Runs, eventSubject(name, run))
	if errors.Is(err, ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	e, err := DecodeEvent(Delivery{Subject: raw.Subject}, raw.Data)
	if end := ends[name]; err != nil && end != nil {
		// Anybody can publish an end, and it counts by its subject.
		return &ihcv1.RunEvent{RunId: run, Event: end.GetEvent()}, raw.Sequence, nil
	}
	return e, raw.Sequence, err
}

// ends are the events that end a run, as far as the subject tells them.
var ends = map[Event]*ihcv1.RunEvent{
	EventReported:  {Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{}}},
	EventFailed:    {Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{}}},
	EventCancelled: {Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}},
}

// PublishEvent puts e into the stream, once for each run, event and revision;
// a run can be paused and resumed any number of times. Of a run that has ended
// nothing is published: the error is [ErrOver], but for a report made anew. One
// that another has published with other content gives [ErrTaken].
func (c *Client) PublishEvent(ctx context.Context, e *ihcv1.RunEvent) error {
	_, err := c.PublishFirst(ctx, e)
	return err
}

// PublishFirst is [Client.PublishEvent], and says whether the event was not there
// before.
func (c *Client) PublishFirst(ctx context.Context, e *ihcv1.RunEvent) (first bool, err error) {
	name, err := eventName(e)
	if err != nil {
		return false, err
	}
	run := e.GetRunId()
	end, err := c.Over(ctx, run)
	if err != nil {
		return false, fmt.Errorf("has run %s ended? %w", run, err)
	}
	if end != nil && (end.GetReported() == nil || revisionOf(e) == 0) {
		return false, c.tooLateFor(ctx, e, name, end)
	}
	switch name {
	case EventAccepted, EventExtracted, EventWritten, EventReported:
		first, err = c.publishOnce(ctx, e, name)
	default:
		first, err = true, c.publishEvent(ctx, e, name)
	}
	if err == nil && (name == EventReported || name == EventFailed || name == EventCancelled) {
		c.forget(ctx, run)
	}
	return first && err == nil, err
}

// tooLateFor tells that an event comes after its run's end. One that says what
// is there already is nobody's mistake.
func (c *Client) tooLateFor(ctx context.Context, e *ihcv1.RunEvent, name Event, end *ihcv1.RunEvent) error {
	how, _ := eventName(end)
	if is, _, err := c.stands(ctx, name, e.GetRunId()); how == name || err == nil && proto.Equal(is, e) {
		return nil
	}
	c.log.Warn("the run has ended; an event that comes too late is not published", "run", e.GetRunId(), "event", name, "ended", how)
	return fmt.Errorf("%s of run %s: %w (%s)", name, e.GetRunId(), ErrOver, how)
}

// revisionOf returns how often what the event tells was made anew.
func revisionOf(e *ihcv1.RunEvent) uint32 {
	return max(e.GetWritten().GetRevision(), e.GetReported().GetRevision())
}

// publishOnce publishes an event that stands once it is there: until there is
// one of a higher revision, where it has such. It says whether it was not there.
func (c *Client) publishOnce(ctx context.Context, e *ihcv1.RunEvent, name Event) (first bool, err error) {
	for {
		is, at, err := c.stands(ctx, name, e.GetRunId())
		switch {
		case err != nil:
			return false, err
		case is == nil || revisionOf(is) < revisionOf(e):
		case revisionOf(e) > 0, name == EventWritten, name == EventReported, proto.Equal(is, e):
			return false, nil
		default:
			return false, fmt.Errorf("%s of run %s: %w", name, e.GetRunId(), ErrTaken)
		}
		if err := c.publishEvent(ctx, e, name, after(at)); !tooLate(err) {
			return true, err
		}
	}
}

func (c *Client) publishEvent(ctx context.Context, e *ihcv1.RunEvent, name Event, opts ...jetstream.PublishOpt) error {
	data, err := proto.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event %s of run %s: %w", name, e.GetRunId(), err)
	}
	id := ""
	switch name {
	case EventFailed, EventCancelled:
		begun, err := c.acceptedFrom(ctx, e.GetRunId()) // one that was published before is none of this run
		if err != nil {
			return fmt.Errorf("when was run %s asked for? %w", e.GetRunId(), err)
		}
		id = string(name) + "." + e.GetRunId() + "." + strconv.FormatUint(begun, 10)
	case EventPaused:
		id = string(name) + "." + e.GetRunId() + "." + strconv.FormatUint(e.GetPaused().GetSince(), 10)
	}
	return c.publish(ctx, &nats.Msg{Subject: eventSubject(name, e.GetRunId()), Data: data}, id, opts...)
}

// PublishResult puts an attributor's answer to a chunk into the stream, if none
// is there of this revision or a later one.
func (c *Client) PublishResult(ctx context.Context, r *ihcv1.AttributionResult) error {
	data, err := proto.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode result of chunk %d of run %s: %w", r.GetChunk(), r.GetRunId(), err)
	}
	subject := resultSubject(r.GetRunId(), r.GetChunk())
	for at, looked := uint64(0), false; ; looked = true {
		if r.GetRevision() > 0 || looked {
			var is ihcv1.AttributionResult
			raw, err := c.lastOn(ctx, Results, subject)
			switch {
			case errors.Is(err, ErrNotFound):
				at = 0
			case err != nil:
				return err
			default:
				if err := proto.Unmarshal(raw.Data, &is); err == nil && is.GetRevision() >= r.GetRevision() {
					c.log.Debug("the chunk has its result", "run", r.GetRunId(), "chunk", r.GetChunk())
					return nil
				}
				at = raw.Sequence
			}
		}
		err := c.publish(ctx, &nats.Msg{Subject: subject, Data: data}, "", after(at))
		if !tooLate(err) {
			return err
		}
	}
}

// same returns nil if the chunk that is stored on a message's subject is the one
// in the message, and [ErrSourceChanged] if it is another.
func (c *Client) same(ctx context.Context, m *nats.Msg) error {
	raw, err := c.lastOn(ctx, Journeys, m.Subject)
	switch {
	case errors.Is(err, ErrNotFound): // scored meanwhile, in a stream that lets go of what is
		return nil
	case err != nil:
		return err
	case cmp.Or(raw.Header.Get(headerDigest), m.Header.Get(headerDigest)) != m.Header.Get(headerDigest):
		run, chunk := place(m.Subject)
		return fmt.Errorf("chunk %d of run %s: %w", chunk, run, ErrSourceChanged)
	}
	return nil
}
