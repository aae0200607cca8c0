package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// Delivery is where a message came from.
type Delivery struct {
	// Subject it was published to; Run and Chunk are read from it, "" and 0
	// where the subject names none.
	Subject, Run string
	Chunk        uint32
	// Tries counts deliveries of the message so far, this one included.
	Tries uint64
	// Sequence is its place in the stream, Time when the stream took it, UTC.
	Sequence uint64
	Time     time.Time

	lease *lease // nil before work on it begins
}

// Lost says whether this process was out of the server's sight for so long, while
// it worked on the message, that another may have been given it.
func (d Delivery) Lost() bool { return d.lease != nil && d.lease.gone() }

// Redelivered says whether the message was handed out before, in which case
// some of its effects may already be there.
func (d Delivery) Redelivered() bool { return d.Tries > 1 }

// Message is a delivered message with its content decoded.
type Message[M any] struct {
	Delivery
	Body M
}

// Work on a message ends in one of four ways, and this type with nil decides
// which (settle is the only place that acts on it): nil acknowledges; [Retry]
// gives it back for later; [Poison] moves it to the dead letters; any other
// error is retried with growing delay until maxTries, then it is poison.
type disposition struct {
	err    error
	after  time.Duration
	poison bool
}

func (d *disposition) Error() string { return d.err.Error() }
func (d *disposition) Unwrap() error { return d.err }

// Retry returns err so that the message it concerns is delivered again after
// the given time, however often that may be: for trouble outside the message.
func Retry(err error, after time.Duration) error { return &disposition{err: err, after: after} }

// Poison returns err so that the message it concerns ends in the dead letters:
// for trouble in the message, which no repetition will mend.
func Poison(err error) error { return &disposition{err: err, poison: true} }

// Settled says whether an error tells itself what is to become of its message:
// to be delivered again after some time ([Retry]), or poison ([Poison]).
func Settled(err error) (after time.Duration, poison, ok bool) {
	var how *disposition
	if !errors.As(err, &how) {
		return 0, false, false
	}
	return how.after, how.poison, true
}

const (
	// maxTries is how often a message is delivered while its handler fails
	// with errors nobody classified.
	maxTries = 10
)

// classified says whether an error tells what is to become of its message.
func classified(err error) bool {
	var how *disposition
	return errors.As(err, &how) || Transient(err) // that NATS is away is not the message's fault, however often
}

// Decoder turns a message's bytes into its content. Its errors are poison.
type Decoder[M any] func(d Delivery, data []byte) (M, error)

// Proto returns the decoder of a protobuf message type.
func Proto[M proto.Message](fresh func() M) Decoder[M] {
	return func(_ Delivery, data []byte) (M, error) {
		m := fresh()
		return m, proto.Unmarshal(data, m)
	}
}

// Consume hands the consumer's messages to handle, workers at a time, until
// ctx ends; then it lets those under way finish for as long as the client's
// grace, and gives the rest back at once. What handle returns decides what
// becomes of the message: see [Retry] and [Poison]. A worker asks for a
// message only when it is free, so that none grows old in a buffer while
// another replica is idle; before it asks it calls gate, where that is not
// nil, which waits for as long as no work could be done.
func Consume[M any](ctx context.Context, c *Client, from Consumer, workers int, gate func(context.Context), decode Decoder[M], handle func(context.Context, Message[M]) error) error {
	p := &puller{Client: c, from: from}
	return p.workers(ctx, workers, func(work context.Context, h *hand) error {
		if gate != nil {
			gate(ctx)
		}
		got, err := h.fetch(ctx, 1)
		for _, m := range got {
			p.one(ctx, work, m, func(ctx context.Context, d Delivery) error {
				body, err := decode(d, m.Data())
				if err != nil {
					return Poison(fmt.Errorf("cannot decode: %w", err))
				}
				return handle(ctx, Message[M]{d, body})
			})
		}
		return err
	})
}

// ConsumeBatches hands the consumer's messages to handle in batches of what is
// waiting, at most size, one batch at a time. What handle returns holds for
// the whole batch, but that no message shall suffer for another: where nobody
// classified the error, and where a process died on one of the messages
// before, each is handed over alone. Messages that cannot be decoded end in
// the dead letters before.
func ConsumeBatches[M any](ctx context.Context, c *Client, from Consumer, size int, decode Decoder[M], handle func(context.Context, []Message[M]) error) error {
	p := &puller{Client: c, from: from}
	return p.workers(ctx, 1, func(work context.Context, h *hand) error {
		got, err := h.fetch(ctx, size)
		if err != nil || len(got) == 0 {
			return err
		}
		lease, stop := p.keepAlive(got...)
		defer stop()
		alone := func(ms []pulled[M]) {
			for _, m := range ms {
				p.one(ctx, work, m.msg, func(ctx context.Context, _ Delivery) error { return handle(ctx, []Message[M]{m.Message}) })
			}
		}
		var together, suspects []pulled[M]
		for _, m := range decodeAll(ctx, p, got, decode) {
			m.lease = lease
			if p.suspicion(work, m.Delivery).Crashes > 0 {
				suspects = append(suspects, m)
			} else {
				together = append(together, m)
			}
		}
		alone(suspects)
		if len(together) < 2 {
			alone(together)
			return nil
		}
		bodies := make([]Message[M], len(together))
		for i, m := range together {
			bodies[i] = m.Message
			p.enter(work, m.Delivery, suspicion{})
		}
		err = handle(work, bodies)
		for _, m := range together {
			p.leave(work, m.Delivery, err)
		}
		if err != nil && !classified(err) && ctx.Err() == nil {
			p.log.Warn("a batch failed; trying its messages one by one", "consumer", from.Durable, "messages", len(together), "error", err)
			alone(together)
			return nil
		}
		for _, m := range together {
			p.settle(ctx, m.msg, m.Delivery, err)
		}
		return nil
	})
}

// pulled is a message with what it takes to settle it.
type pulled[M any] struct {
	Message[M]
	msg jetstream.Msg
}

// decodeAll returns the messages that can be decoded and buries the others.
func decodeAll[M any](ctx context.Context, p *puller, got []jetstream.Msg, decode Decoder[M]) []pulled[M] {
	sound := make([]pulled[M], 0, len(got))
	for _, m := range got {
		d, err := p.delivery(m)
		var body M
		if err == nil {
			body, err = decode(d, m.Data())
		}
		if err != nil {
			p.settle(ctx, m, d, Poison(fmt.Errorf("cannot decode: %w", err)))
			continue
		}
		sound = append(sound, pulled[M]{Message[M]{d, body}, m})
	}
	return sound
}

// one processes a single message from delivery to settlement.
func (p *puller) one(ctx, work context.Context, m jetstream.Msg, handle func(context.Context, Delivery) error) {
	d, err := p.delivery(m)
	if err != nil {
		p.settle(ctx, m, d, Poison(err))
		return
	}
	if ctx.Err() != nil { // stopping: somebody else's now
		p.settle(ctx, m, d, Retry(ctx.Err(), 0))
		return
	}
	var alive func()
	d.lease, alive = p.keepAlive(m)
	defer alive()
	s := p.suspicion(work, d)
	if s.Crashes > 0 {
		if err := p.judge(work, d, &s); err != nil {
			p.settle(ctx, m, d, err)
			return
		}
		// Alone among its like, so that only one of them can be to blame for the next.
		p.suspects.Lock()
		defer p.suspects.Unlock()
	}
	p.enter(work, d, s)
	err = handle(work, d)
	p.leave(work, d, err)
	p.settle(ctx, m, d, err)
}

func (c *Client) delivery(m jetstream.Msg) (Delivery, error) {
	run, chunk := place(m.Subject())
	d := Delivery{Subject: m.Subject(), Run: run, Chunk: chunk}
	meta, err := m.Metadata()
	if err != nil {
		return d, fmt.Errorf("message without JetStream metadata: %w", err)
	}
	d.Tries, d.Sequence, d.Time = meta.NumDelivered, meta.Sequence.Stream, meta.Timestamp.UTC()
	return d, nil
}

// settle is the one place that decides between ack, retry and dead letter.
func (p *puller) settle(ctx context.Context, m jetstream.Msg, d Delivery, err error) {
	log := p.log.With("run", d.Run, "chunk", d.Chunk)
	if err != nil && d.Lost() {
		// Another has it, or gets it after AckWait: it is not for this one to
		// say what becomes of it.
		log.Warn("this process was out of sight for too long; what it was working on is another's", "subject", d.Subject, "error", err)
		return
	}
	var how *disposition
	if !errors.As(err, &how) {
		givenUp := d.Tries >= maxTries && !classified(err) && ctx.Err() == nil // to be told to stop is no failure
		how = &disposition{err: err, after: p.redelivery.Delay(int(d.Tries)), poison: givenUp}
	}
	var did error
	switch {
	case err == nil:
		did = m.Ack()
	case ctx.Err() != nil && !how.poison:
		did = m.Nak() // stopping: the next process shall have it at once
	case how.poison:
		did = p.bury(m, d, how.err)
	default:
		p.metrics.retried.Inc()
		log.Debug("message will be delivered again", "subject", d.Subject, "tries", d.Tries, "after", how.after, "error", err)
		did = m.NakWithDelay(how.after)
	}
	if did != nil {
		// The server will deliver it again after the consumer's AckWait, and
		// every effect is idempotent (invariant 3).
		log.Warn("could not settle a message; it will come again", "subject", d.Subject, "error", did)
	}
}

// bury puts a message into the dead letters with its reason and terminates it
// only once it is there (invariant 5).
func (p *puller) bury(m jetstream.Msg, d Delivery, reason error) error {
	log := p.log.With("run", d.Run, "chunk", d.Chunk)
	run := cmp.Or(d.Run, m.Headers().Get(headerRun))
	if run == "" || strings.ContainsAny(run, ".*> \t\r\n") {
		run = "unknown"
	}
	dead := &nats.Msg{Subject: deadSubject(p.from.Stage, run), Data: m.Data(), Header: nats.Header{
		headerStage: {p.from.Stage}, headerReason: {oneLine(reason)}, headerTries: {fmt.Sprint(d.Tries)},
		headerSubject: {d.Subject}, headerStream: {p.from.Stream}, headerSequence: {fmt.Sprint(d.Sequence)},
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.publish(ctx, dead, fmt.Sprintf("dead.%s.%s.%d", p.from.Stream, p.from.Durable, d.Sequence)); err != nil {
		log.Error("could not store a dead letter; the message stays where it is", "subject", d.Subject, "error", err)
		return m.NakWithDelay(p.redelivery.Delay(int(d.Tries)))
	}
	p.metrics.dead.Inc()
	log.Error("message moved to the dead letters", "subject", d.Subject, "tries", d.Tries, "reason", reason)
	return m.TermWithReason(oneLine(reason))
}

func oneLine(err error) string {
	b := []byte(err.Error())
	for i, ch := range b {
		if ch < ' ' {
			b[i] = ' '
		}
	}
	return string(b[:min(len(b), 1000)])
}
