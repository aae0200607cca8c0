package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/retry"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Headers of the pipeline's messages. Dead letters carry those from the stage on.
const (
	headerRun      = "Ihc-Run"    // of a request, for the subject of its dead letter
	headerDigest   = "Ihc-Digest" // SHA-256 of a chunk's bytes, hexadecimal
	headerStage    = "Ihc-Stage"
	headerReason   = "Ihc-Reason"
	headerTries    = "Ihc-Tries"
	headerSubject  = "Ihc-Origin-Subject"
	headerStream   = "Ihc-Origin-Stream"
	headerSequence = "Ihc-Origin-Sequence"
)

// Headroom is what is left of a message for its headers, in bytes.
const Headroom = 16 << 10

// usualPayload is how large a NATS server lets messages be that says nothing
// about it, in bytes.
const usualPayload = 1 << 20

// MaxMessage returns the largest message that the server takes, in bytes, without
// its headers.
func (c *Client) MaxMessage() int {
	if most := c.nc.MaxPayload(); most > 0 {
		return int(most) - Headroom
	}
	return usualPayload - Headroom
}

// inFlight and inFlightBytes are how many published chunks, and how many bytes
// of them, may wait for JetStream's word at once.
const (
	inFlight      = 128
	inFlightBytes = 8 << 20
)

// PublishRequest puts a run request into the stream. A request that JetStream
// does not acknowledge within ctx is an environment fault.
func (c *Client) PublishRequest(ctx context.Context, req *ihcv1.RunRequest) error {
	data, err := proto.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode run request: %w", err)
	}
	m := &nats.Msg{Subject: SubjectRunRequested, Data: data}
	id := ""
	if req.GetRunId() != "" {
		id = "requested." + req.GetRunId()
		m.Header = nats.Header{headerRun: {req.GetRunId()}}
	}
	if err := c.publish(ctx, m, id); err != nil {
		return errkind.Environmentf("publish the run request: %w", err)
	}
	return nil
}

// KeepPart keeps what one part of a divided chunk gave, by the part's number,
// so that it is not asked for again, and returns when it is on disk.
func (c *Client) KeepPart(ctx context.Context, r *ihcv1.AttributionResult, part uint32) error {
	data, err := proto.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode part %d of chunk %d of run %s: %w", part, r.GetChunk(), r.GetRunId(), err)
	}
	return c.keep(ctx, partKey(r.GetRunId(), r.GetChunk(), r.GetRevision(), part), r.GetRunId(), data)
}

// keep puts a value of a run into the bucket, trying again for as long as ctx
// lives when the trouble may pass, and returns when it is on disk.
func (c *Client) keep(ctx context.Context, key, run string, data []byte) error {
	defer c.accepted(ctx, key, run)
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.kv.Put(once, key, data)
		cancel()
		if err == nil {
			return nil
		}
		if err := c.pauseAfter(ctx, err, key, run, try); err != nil {
			return err
		}
	}
}

// publish sends m and waits for JetStream's acknowledgement, trying again for
// as long as ctx lives when the trouble may pass. id, when not empty, makes
// repetition within the stream's window harmless (invariant 3), but for that of
// what the stream was emptied of since. An option that
// the server refuses the message for gives an error that [tooLate] knows.
func (c *Client) publish(ctx context.Context, m *nats.Msg, id string, opts ...jetstream.PublishOpt) error {
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	run, _ := place(m.Subject)
	defer c.accepted(ctx, m.Subject, run)
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		ack, err := c.js.PublishMsg(once, m, opts...)
		cancel()
		again := err == nil && ack.Duplicate
		if again {
			again, err = c.emptied(ctx, ack)
		}
		switch {
		case again:
			id = fmt.Sprintf("%s.%d", id, ack.Sequence)
			opts = append(opts, jetstream.WithMsgID(id))
			continue
		case err == nil:
			c.metrics.out.Inc()
			return nil
		}
		if err := c.pauseAfter(ctx, err, m.Subject, run, try); err != nil {
			return err
		}
	}
}

// emptied says whether the message that another was taken for a repetition of is
// not there any more, since the stream was emptied.
func (c *Client) emptied(ctx context.Context, of *jetstream.PubAck) (bool, error) {
	s, err := c.stream(ctx, of.Stream)
	return err == nil && s.CachedInfo().State.FirstSeq > of.Sequence, err
}

// pauseAfter waits before the next try of a publish that failed with err, and
// says so. It returns an error when there should be no next try.
func (c *Client) pauseAfter(ctx context.Context, err error, subject, run string, try int) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("publish to %s: %w (last: %w)", subject, ctx.Err(), err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("publish to %s: the message is larger than the NATS server takes (max_payload): %w", subject, err)
	case !Transient(err):
		return fmt.Errorf("publish to %s: %w", subject, err)
	}
	c.refused.set(subject, err)
	c.Waiting(ctx, run, "NATS does not take a message: "+err.Error())
	if try == 3 && c.told != nil {
		c.told(err)
	}
	if try == 1 || try%10 == 0 {
		c.log.Warn("JetStream did not take a message, trying again", "subject", subject, "try", try, "error", err)
	}
	if ended := retry.Sleep(ctx, c.clock, retry.Publish.Delay(try)); ended != nil {
		return fmt.Errorf("publish to %s: %w (last: %w)", subject, ended, err)
	}
	return nil
}

// accepted notes that nobody waits any more for JetStream to take a message of
// a run, for whatever reason.
func (c *Client) accepted(ctx context.Context, subject, run string) {
	if c.refused.clear(subject) {
		c.Waiting(ctx, run, "")
	}
}

// refusals are the messages JetStream does not take at the moment, by subject.
type refusals struct {
	mu  sync.Mutex
	why map[string]error
}

func (r *refusals) set(subject string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == nil {
		r.why = map[string]error{}
	}
	r.why[subject] = err
}

// clear says whether there was one.
func (r *refusals) clear(subject string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, was := r.why[subject]
	delete(r.why, subject)
	return was
}

// number returns how many there are.
func (r *refusals) number() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.why)
}

// last returns why one of them is refused, nil if none is.
func (r *refusals) last() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for subject, err := range r.why {
		return fmt.Errorf("%s: %w", subject, err)
	}
	return nil
}

// ChunkPublisher publishes the chunks of one run in order, many under way at
// once. It knows which of them an earlier attempt at the same run has already
// published and leaves those out.
type ChunkPublisher struct {
	c       *Client
	run     string
	stored  map[uint32]string // chunk → digest, from an earlier attempt; "" for one that is done with
	last    uint32            // highest number published
	pending []pendingChunk
	bytes   int  // of pending
	again   bool // puts back what was lost
	// Sent and Skipped count chunks published now and found published.
	Sent, Skipped uint32
}

type pendingChunk struct {
	msg *nats.Msg
	id  string
	ack jetstream.PubAckFuture
	at  time.Time // when it was sent
}

// wordWithin is how long after it was sent JetStream's word on a chunk is waited
// for: the word is lost with the server that had it to give.
const wordWithin = 10 * time.Second

// ErrSourceChanged means that a run's chunk differs from the one that another
// attempt at the run, before this one or beside it, published under its number,
// or that it published more of them.
var ErrSourceChanged = errors.New("the source data changed while the run was interrupted; start a new run")

// NewChunkPublisher prepares to publish the chunks of run, reading what is
// already stored of them. With fresh, the caller knows that this is the first
// attempt and nothing is read.
func (c *Client) NewChunkPublisher(ctx context.Context, run string, fresh bool) (*ChunkPublisher, error) {
	p := &ChunkPublisher{c: c, run: run, stored: map[uint32]string{}}
	if fresh {
		return p, nil
	}
	err := c.each(ctx, Journeys, chunksOf(run), true, func(m jetstream.Msg) error {
		_, chunk := place(m.Subject())
		p.stored[chunk] = m.Headers().Get(headerDigest)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which chunks of run %s are stored: %w", run, err)
	}
	return p, nil
}

// Publish sends one chunk, which must be smaller than [Client.MaxMessage]. It may
// return before JetStream has it: see [ChunkPublisher.Flush]. A chunk that an
// earlier attempt stored with other content gives [ErrSourceChanged].
func (p *ChunkPublisher) Publish(ctx context.Context, chunk *ihcv1.JourneyChunk) error {
	msg, id, err := chunkMessage(chunk)
	if err != nil {
		return err
	}
	return p.publish(ctx, chunk.GetChunk(), msg, id)
}

func (p *ChunkPublisher) publish(ctx context.Context, number uint32, msg *nats.Msg, id string) error {
	p.last = max(p.last, number)
	if was, ok := p.stored[number]; ok {
		if was != "" && was != msg.Header.Get(headerDigest) {
			return fmt.Errorf("chunk %d of run %s: %w", number, p.run, ErrSourceChanged)
		}
		p.Skipped++
		return nil
	}
	// While NATS is away there is no future to wait for; Flush sends then.
	ack, err := p.c.js.PublishMsgAsync(msg, p.once(id, jetstream.WithStallWait(30*time.Second))...)
	if err != nil && !Transient(err) {
		return fmt.Errorf("publish chunk %d of run %s: %w", number, p.run, err)
	}
	p.pending = append(p.pending, pendingChunk{msg, id, ack, time.Now()})
	p.bytes += len(msg.Data)
	p.Sent++
	if len(p.pending) >= inFlight || p.bytes >= inFlightBytes {
		return p.settle(ctx, len(p.pending)/2)
	}
	return nil
}

// once returns the options of a chunk's message: it is stored if there is none.
// What is put where another was is no repetition, so it has no id.
func (p *ChunkPublisher) once(id string, more ...jetstream.PublishOpt) []jetstream.PublishOpt {
	more = append(more, after(0))
	if !p.again {
		more = append(more, jetstream.WithMsgID(id))
	}
	return more
}

// Flush returns when JetStream has acknowledged every chunk (invariant 1), or
// with the error that made one impossible. It comes after the run's last chunk:
// one with a higher number that an earlier attempt stored gives
// [ErrSourceChanged].
func (p *ChunkPublisher) Flush(ctx context.Context) error {
	if err := p.settle(ctx, 0); err != nil {
		return err
	}
	for chunk := range p.stored {
		if chunk > p.last {
			return fmt.Errorf("chunk %d of run %s, where there are %d now: %w", chunk, p.run, p.last, ErrSourceChanged)
		}
	}
	return nil
}

// Shared tells the publisher that others published the run's chunks, up to the
// number last.
func (p *ChunkPublisher) Shared(last uint32) { p.last = max(p.last, last) }

// Restore makes the publisher one that puts chunks back that were lost from the
// stream: those that are in it and those that are done with are left out.
func (p *ChunkPublisher) Restore(done []uint32) {
	p.again = true
	for _, chunk := range done {
		if _, ok := p.stored[chunk]; !ok {
			p.stored[chunk] = ""
		}
	}
}

// settle waits until no more than keep chunks are without acknowledgement.
func (p *ChunkPublisher) settle(ctx context.Context, keep int) error {
	for len(p.pending) > keep {
		next := p.pending[0]
		p.pending = p.pending[1:]
		p.bytes -= len(next.msg.Data)
		if err := p.confirm(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

func (p *ChunkPublisher) confirm(ctx context.Context, sent pendingChunk) error {
	if sent.ack != nil {
		select {
		case <-sent.ack.Ok():
			p.c.metrics.out.Inc()
			return nil
		case err := <-sent.ack.Err():
			// After a lost connection this is said of all of them: publish
			// below is patient for the first, and the others need not wait.
			switch {
			case tooLate(err):
				return p.c.same(ctx, sent.msg)
			case !Transient(err):
				return fmt.Errorf("publish to %s: %w", sent.msg.Subject, err)
			}
		case <-time.After(time.Until(sent.at.Add(wordWithin))): // all that were lost together have waited together
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	again := &nats.Msg{Subject: sent.msg.Subject, Data: sent.msg.Data, Header: nats.Header{headerDigest: sent.msg.Header[headerDigest]}}
	if err := p.c.publish(ctx, again, "", p.once(sent.id)...); !tooLate(err) {
		return err
	}
	return p.c.same(ctx, sent.msg)
}
