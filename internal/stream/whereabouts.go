package stream

import (
	"context"
	"fmt"
	"math"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Whereabouts say which messages of a run are in the streams.
type Whereabouts struct {
	// Chunks and Results hold the place of the last message of each, by the
	// chunk's number; Dead the chunks that are among the dead letters.
	Chunks, Results map[uint32]uint64
	Dead            map[uint32]bool
}

// Whereabouts reads which messages of a run are stored: chunks before results,
// so that one that is scored meanwhile is seen.
func (c *Client) Whereabouts(ctx context.Context, run string) (Whereabouts, error) {
	w := Whereabouts{Dead: map[uint32]bool{}}
	var err error
	if w.Chunks, err = c.places(ctx, Journeys, chunksOf(run)); err != nil {
		return w, err
	}
	if w.Results, err = c.places(ctx, Results, scoredOf(run)); err != nil {
		return w, err
	}
	err = c.DeadLetters(ctx, run, func(d DeadLetter) error {
		w.Dead[d.Chunk] = w.Dead[d.Chunk] || d.Stream == Journeys || d.Stream == Results
		return nil
	})
	return w, err
}

// Stored returns the place of the last message of each chunk of a run.
func (c *Client) Stored(ctx context.Context, run string) (map[uint32]uint64, error) {
	return c.places(ctx, Journeys, chunksOf(run))
}

// Scored returns the place of the last result of each chunk of a run.
func (c *Client) Scored(ctx context.Context, run string) (map[uint32]uint64, error) {
	return c.places(ctx, Results, scoredOf(run))
}

func (c *Client) places(ctx context.Context, name, subject string) (map[uint32]uint64, error) {
	all := map[uint32]uint64{}
	err := c.each(ctx, name, subject, true, func(m jetstream.Msg) error {
		_, chunk := place(m.Subject())
		meta, err := m.Metadata()
		if err == nil {
			all[chunk] = meta.Sequence.Stream
		}
		return err
	})
	return all, err
}

// Done returns the place in its stream up to which the consumer is done with
// every message.
func (c *Client) Done(ctx context.Context, consumer Consumer) (uint64, error) {
	s, err := consumerOf(ctx, c.js, consumer)
	if err != nil {
		return 0, fmt.Errorf("consumer %s: %w", consumer.Durable, err)
	}
	i := s.CachedInfo()
	if i.NumPending == 0 && i.NumAckPending == 0 {
		return math.MaxUint64, nil
	}
	return i.AckFloor.Stream, nil
}

// Republish publishes chunks of a run that are in the stream once more, as they
// are, and returns how many of them there were.
func (c *Client) Republish(ctx context.Context, run string, chunks map[uint32]uint64) (int, error) {
	n := 0
	err := c.each(ctx, Journeys, chunksOf(run), false, func(m jetstream.Msg) error {
		_, chunk := place(m.Subject())
		meta, err := m.Metadata()
		if err != nil || chunks[chunk] != meta.Sequence.Stream {
			return err
		}
		n++
		again := &nats.Msg{Subject: m.Subject(), Data: m.Data(), Header: nats.Header{headerDigest: m.Headers()[headerDigest]}}
		if err := c.publish(ctx, again, "", after(meta.Sequence.Stream)); !tooLate(err) {
			return err
		}
		return nil // somebody else was faster
	})
	return n, err
}

// UnderWay returns how many messages of a consumer are being worked on, or wait to be
// handed out again.
func (c *Client) UnderWay(ctx context.Context, consumer Consumer) (int, error) {
	s, err := consumerOf(ctx, c.js, consumer)
	if err != nil {
		return 0, fmt.Errorf("consumer %s: %w", consumer.Durable, err)
	}
	return s.CachedInfo().NumAckPending, nil
}

// WaitingFor returns how many processes, at least, wait for a message of a consumer
// right now.
func (c *Client) WaitingFor(ctx context.Context, consumer Consumer) (int, error) {
	s, err := consumerOf(ctx, c.js, consumer)
	if err != nil {
		return 0, fmt.Errorf("consumer %s: %w", consumer.Durable, err)
	}
	return s.CachedInfo().NumWaiting, nil
}
