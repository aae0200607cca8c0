package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// DeadLetter is a message that could not be processed, with what the headers
// say of it.
type DeadLetter struct {
	// Sequence in the stream of dead letters.
	Sequence uint64
	Time     time.Time
	// Run is "unknown" where the message's subject named none; Chunk 0.
	Run                  string
	Chunk                uint32
	Stage, Reason, Tries string
	// Subject, Stream and OriginSequence say where the message was.
	Subject, Stream, OriginSequence string
	Data                            []byte
}

func deadLetter(subject string, h nats.Header, data []byte, sequence uint64, at time.Time) DeadLetter {
	d := DeadLetter{Sequence: sequence, Time: at.UTC(), Stage: h.Get(headerStage), Reason: h.Get(headerReason), Tries: h.Get(headerTries),
		Subject: h.Get(headerSubject), Stream: h.Get(headerStream), OriginSequence: h.Get(headerSequence), Data: data}
	d.Run, _ = place(subject)
	_, d.Chunk = place(d.Subject)
	return d
}

func deadMessage(m jetstream.Msg) DeadLetter {
	var sequence uint64
	var at time.Time
	if meta, err := m.Metadata(); err == nil {
		sequence, at = meta.Sequence.Stream, meta.Timestamp
	}
	return deadLetter(m.Subject(), m.Headers(), m.Data(), sequence, at)
}

// DeadLetters calls do with each dead letter of a run, or of every run for
// "*", oldest first, and stops at its first error.
func (c *Client) DeadLetters(ctx context.Context, run string, do func(DeadLetter) error) error {
	return c.each(ctx, Dead, deadSubject("*", run), false, func(m jetstream.Msg) error { return do(deadMessage(m)) })
}

// DeadLetter returns the dead letter at a place in their stream, or
// [ErrNotFound].
func (c *Client) DeadLetter(ctx context.Context, sequence uint64) (DeadLetter, error) {
	s, err := c.stream(ctx, Dead)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("stream %s: %w", Dead, err)
	}
	m, err := answered(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return s.GetMsg(ctx, sequence) })
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, fmt.Errorf("dead letter %d: %w", sequence, ErrNotFound)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", sequence, err)
	}
	return deadLetter(m.Subject, m.Header, m.Data, m.Sequence, m.Time), nil
}

// FollowDead calls do with each dead letter of a run as [Client.Follow] does
// with its events.
func (c *Client) FollowDead(ctx context.Context, run string, do func(DeadLetter) bool) error {
	return c.follow(ctx, Dead, false, []string{deadSubject("*", run)}, nil, func(m jetstream.Msg) bool { return do(deadMessage(m)) })
}

// Requeue publishes a dead letter where it came from, as a new message, and
// removes it once that is stored (invariant 5). A chunk gets the next revision,
// so that whatever is stored of it gives way to its new result.
func (c *Client) Requeue(ctx context.Context, d DeadLetter) error {
	if !strings.HasPrefix(d.Subject, "ihc.v1.") || strings.HasPrefix(d.Subject, "ihc.v1.dead.") {
		return errkind.Inputf("dead letter %d does not say where it came from, so it cannot be put back", d.Sequence)
	}
	m := &nats.Msg{Subject: d.Subject, Data: d.Data}
	if d.Stream == Journeys {
		// What cannot be decoded goes back as it was: a later version may know.
		if again, err := nextRevision(d.Data); err == nil {
			again.Subject = d.Subject
			m = again
		}
	}
	// The letter's own place makes the id: a new one, and the same when this
	// is done again because the removal failed.
	if err := c.publish(ctx, m, fmt.Sprintf("requeue.%d", d.Sequence)); err != nil {
		return fmt.Errorf("put dead letter %d back: %w", d.Sequence, err)
	}
	return c.Purge(ctx, d)
}

// Purge removes a dead letter for good. One that is gone already is no error.
func (c *Client) Purge(ctx context.Context, d DeadLetter) error {
	s, err := c.stream(ctx, Dead)
	if err != nil {
		return fmt.Errorf("stream %s: %w", Dead, err)
	}
	if err := s.DeleteMsg(ctx, d.Sequence); err != nil {
		// The server has several errors for a message that is not there.
		if _, gone := s.GetMsg(ctx, d.Sequence); !errors.Is(gone, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("remove dead letter %d: %w", d.Sequence, err)
		}
	}
	return nil
}

// nextRevision returns the message in which a chunk is put back.
func nextRevision(data []byte) (*nats.Msg, error) {
	var chunk ihcv1.JourneyChunk
	if err := proto.Unmarshal(data, &chunk); err != nil {
		return nil, err
	}
	chunk.Revision++
	m, _, err := chunkMessage(&chunk)
	return m, err
}
