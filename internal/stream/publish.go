package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
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

// PublishEvent puts e into the stream, once for each run, event and revision;
// a run can be paused and resumed any number of times.
func (c *Client) PublishEvent(ctx context.Context, e *ihcv1.RunEvent) error {
	name, err := eventName(e)
	if err != nil {
		return err
	}
	data, err := proto.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event %s of run %s: %w", name, e.GetRunId(), err)
	}
	id := string(name) + "." + e.GetRunId()
	if n := max(uint64(e.GetWritten().GetRevision()), uint64(e.GetReported().GetRevision()), e.GetPaused().GetSince()); n > 0 {
		id += "." + strconv.FormatUint(n, 10)
	}
	if name == EventResumed {
		id = ""
	}
	if err := c.publish(ctx, &nats.Msg{Subject: eventSubject(name, e.GetRunId()), Data: data}, id); err != nil {
		return err
	}
	if name == EventReported || name == EventFailed || name == EventCancelled {
		c.forget(ctx, e.GetRunId())
	}
	return nil
}

// PublishResult puts an attributor's answer to a chunk into the stream.
func (c *Client) PublishResult(ctx context.Context, r *ihcv1.AttributionResult) error {
	data, err := proto.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode result of chunk %d of run %s: %w", r.GetChunk(), r.GetRunId(), err)
	}
	return c.publish(ctx, &nats.Msg{Subject: resultSubject(r.GetRunId(), r.GetChunk()), Data: data},
		fmt.Sprintf("result.%s.%d.%d", r.GetRunId(), r.GetChunk(), r.GetRevision()))
}

// KeepPart keeps what one part of a divided chunk gave, by the part's number,
// so that it is not asked for again, and returns when it is on disk.
func (c *Client) KeepPart(ctx context.Context, r *ihcv1.AttributionResult, part uint32) error {
	data, err := proto.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode part %d of chunk %d of run %s: %w", part, r.GetChunk(), r.GetRunId(), err)
	}
	key := partKey(r.GetRunId(), r.GetChunk(), r.GetRevision(), part)
	defer c.accepted(ctx, key, r.GetRunId())
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.kv.Put(once, key, data)
		cancel()
		if err == nil {
			return nil
		}
		if err := c.pauseAfter(ctx, err, key, r.GetRunId(), try); err != nil {
			return err
		}
	}
}

// publish sends m and waits for JetStream's acknowledgement, trying again for
// as long as ctx lives when the trouble may pass. id, when not empty, makes
// repetition within the stream's window harmless (invariant 3).
func (c *Client) publish(ctx context.Context, m *nats.Msg, id string) error {
	var opts []jetstream.PublishOpt
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	run, _ := place(m.Subject)
	defer c.accepted(ctx, m.Subject, run)
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.js.PublishMsg(once, m, opts...)
		cancel()
		if err == nil {
			c.metrics.out.Inc()
			return nil
		}
		if err := c.pauseAfter(ctx, err, m.Subject, run, try); err != nil {
			return err
		}
	}
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
	stored  map[uint32]string // chunk → digest, from an earlier attempt
	pending []pendingChunk
	bytes   int // of pending
	// Sent and Skipped count chunks published now and found published.
	Sent, Skipped uint32
}

type pendingChunk struct {
	msg *nats.Msg
	id  string
	ack jetstream.PubAckFuture
}

// ErrSourceChanged means that a run's chunk differs from the one an earlier,
// interrupted attempt published under the same number.
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

// chunkMessage returns the message a chunk travels in and its id. The digest is
// that of the first revision, since what is put back says the same.
func chunkMessage(chunk *ihcv1.JourneyChunk) (m *nats.Msg, id string, err error) {
	encode := proto.MarshalOptions{Deterministic: true}.Marshal
	data, err := encode(chunk)
	first := data
	if err == nil && chunk.GetRevision() > 0 {
		again := proto.CloneOf(chunk)
		again.Revision = 0
		first, err = encode(again)
	}
	if err != nil {
		return nil, "", fmt.Errorf("encode chunk %d of run %s: %w", chunk.GetChunk(), chunk.GetRunId(), err)
	}
	sum := sha256.Sum256(first)
	m = &nats.Msg{Subject: chunkSubject(chunk.GetRunId(), chunk.GetChunk()), Data: data, Header: nats.Header{headerDigest: {hex.EncodeToString(sum[:])}}}
	return m, fmt.Sprintf("chunk.%s.%d.%d", chunk.GetRunId(), chunk.GetChunk(), chunk.GetRevision()), nil
}

// Publish sends one chunk, which must be smaller than [Client.MaxMessage]. It may
// return before JetStream has it: see [ChunkPublisher.Flush]. A chunk that an
// earlier attempt stored with other content gives [ErrSourceChanged].
func (p *ChunkPublisher) Publish(ctx context.Context, chunk *ihcv1.JourneyChunk) error {
	msg, id, err := chunkMessage(chunk)
	if err != nil {
		return err
	}
	if was, ok := p.stored[chunk.GetChunk()]; ok {
		if was != msg.Header.Get(headerDigest) {
			return fmt.Errorf("chunk %d of run %s: %w", chunk.GetChunk(), p.run, ErrSourceChanged)
		}
		p.Skipped++
		return nil
	}
	// While NATS is away there is no future to wait for; Flush sends then.
	ack, err := p.c.js.PublishMsgAsync(msg, jetstream.WithMsgID(id), jetstream.WithStallWait(30*time.Second))
	if err != nil && !Transient(err) {
		return fmt.Errorf("publish chunk %d of run %s: %w", chunk.GetChunk(), p.run, err)
	}
	p.pending = append(p.pending, pendingChunk{msg, id, ack})
	p.bytes += len(msg.Data)
	p.Sent++
	if len(p.pending) >= inFlight || p.bytes >= inFlightBytes {
		return p.settle(ctx, len(p.pending)/2)
	}
	return nil
}

// Flush returns when JetStream has acknowledged every chunk (invariant 1), or
// with the error that made one impossible.
func (p *ChunkPublisher) Flush(ctx context.Context) error { return p.settle(ctx, 0) }

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
			if !Transient(err) {
				return fmt.Errorf("publish to %s: %w", sent.msg.Subject, err)
			}
		case <-time.After(10 * time.Second): // the connection broke under it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	again := &nats.Msg{Subject: sent.msg.Subject, Data: sent.msg.Data, Header: nats.Header{headerDigest: sent.msg.Header[headerDigest]}}
	return p.c.publish(ctx, again, sent.id)
}
