package stream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

// maxBatch is about how many bytes of messages are in one batch.
const maxBatch = 8 << 20

// pulse is how often the server says that it still knows of a request for a
// message. When a cluster gives a consumer to another of its servers, requests
// are forgotten though no connection is lost: after two pulses without a sign
// they are made anew. The library's own pulse is 15 seconds.
const pulse = 2 * time.Second

// puller is a client at work on one consumer.
type puller struct {
	*Client
	from Consumer

	mu      sync.Mutex
	handle  jetstream.Consumer
	ackWait time.Duration // of handle

	suspects sync.Mutex // held while a message is worked on that processes died on
	waiting  keys       // of such messages, while they wait for their next try
}

// keys is a set of keys.
type keys struct {
	mu  sync.Mutex
	all map[string]bool
}

func (k *keys) add(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string]bool{}
	}
	k.all[key] = true
}

func (k *keys) remove(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, key)
}

// take returns the keys and leaves none.
func (k *keys) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.Collect(maps.Keys(k.all))
	clear(k.all)
	return all
}

// consumer returns the server's consumer, asked for once.
func (p *puller) consumer(ctx context.Context) (jetstream.Consumer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handle == nil {
		h, err := consumerOf(ctx, p.js, p.from)
		if err != nil {
			return nil, err
		}
		p.handle, p.ackWait = h, h.CachedInfo().Config.AckWait
	}
	return p.handle, nil
}

// forget makes the next call of consumer ask the server again.
func (p *puller) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handle = nil
}

// workers runs turn in n goroutines until ctx ends, and returns when all of
// them have let go of their messages. The context turn gets outlives ctx by
// the client's grace.
func (p *puller) workers(ctx context.Context, n int, turn func(work context.Context, h *hand) error) error {
	defer p.showLag()()
	work, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	grace := p.grace
	if p.from.restartable {
		grace = 0
	}
	stop := context.AfterFunc(ctx, func() {
		if p.hurry.Load() {
			grace = 0
		}
		late := time.AfterFunc(grace, kill)
		context.AfterFunc(work, func() { late.Stop() })
	})
	defer stop()

	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			h := &hand{p: p}
			defer h.close()
			for failures := 0; ctx.Err() == nil; {
				err := turn(work, h)
				if err == nil {
					failures = 0
					continue
				}
				if failures++; failures == 3 || failures%60 == 0 {
					p.log.Warn("cannot fetch messages, trying again", "consumer", p.from.Durable, "error", err)
				}
				_ = retry.Sleep(ctx, p.clock, retry.Fetch.Delay(failures)) // the loop looks at ctx itself
			}
		})
	}
	wg.Wait()
	return nil
}

// hand is what one worker takes messages with: a subscription that lasts, and
// on which the server is asked for a message only while fetch waits for one.
// It asks anew when the connection was lost and is back.
type hand struct {
	p  *puller
	it jetstream.MessagesContext
}

// fetch waits for a message and takes up to n that are there. It returns none
// when ctx ends.
func (h *hand) fetch(ctx context.Context, n int) ([]jetstream.Msg, error) {
	consumer, err := h.p.consumer(ctx)
	if err != nil {
		return nil, err
	}
	if h.it == nil {
		if h.it, err = consumer.Messages(jetstream.PullMaxMessages(1), jetstream.PullHeartbeat(pulse), jetstream.WithMessagesErrOnMissingHeartbeat(false)); err != nil {
			return nil, err
		}
	}
	m, err := h.next(ctx)
	switch {
	case ctx.Err() != nil && m == nil:
		return nil, nil
	case err != nil: // the consumer was deleted, or the connection closed for good
		h.it.Stop()
		h.it = nil
		h.p.forget()
		return nil, err
	}
	got := []jetstream.Msg{m}
	// Messages of one time are of about one size: take so many more that a
	// batch of large ones does not fill the memory (invariant 8), and no more at
	// once than were seen.
	for bytes, largest := len(m.Data()), len(m.Data()); ; {
		most := min(n-len(got), 4*len(got), (maxBatch-bytes)/max(largest, 1))
		if most <= 0 {
			break
		}
		more, err := consumer.FetchNoWait(most)
		if err != nil {
			break
		}
		before := len(got)
		for m := range more.Messages() {
			got = append(got, m)
			bytes += len(m.Data())
			largest = max(largest, len(m.Data()))
		}
		if len(got)-before < most {
			break
		}
	}
	h.p.metrics.in.Add(float64(len(got)))
	return got, nil //nolint:nilerr // what is there is enough to go on with
}

// next waits for a message. The iterator asks for one when Next is called, but
// for when its last request is not quite out of its hands: on a busy machine the
// message may have come and been handled that fast. It then notices only half a
// minute later, or when Next is called again: soon, and ever more rarely.
func (h *hand) next(ctx context.Context) (jetstream.Msg, error) {
	for try := 1; ; try++ {
		soon, cancel := context.WithTimeout(ctx, retry.Wakeup.Delay(try))
		m, err := h.it.Next(jetstream.NextContext(soon))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return m, err
		}
	}
}

// close gives back at once what the server sent while nobody waited for it any
// more. Left alone, it would be missing for the consumer's AckWait.
func (h *hand) close() {
	switch {
	case h.it == nil:
		return
	case h.p.nc.Status() != nats.CONNECTED:
		h.it.Stop()
		return
	}
	h.it.Drain()
	for {
		m, err := h.it.Next(jetstream.NextMaxWait(2 * time.Second))
		if errors.Is(err, nats.ErrTimeout) {
			h.it.Stop()
		}
		if err != nil {
			return
		}
		_ = m.Nak() // then it is missing after all
	}
}

// lease is a process's hold on messages: the server may have handed them to
// another if it heard nothing for AckWait, as while a process is suspended.
type lease struct {
	wait time.Duration
	mu   sync.Mutex
	last time.Time // of the last sign of life
	lost bool
}

// beat notes a sign of life.
func (l *lease) beat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.lost = l.lost || now.Sub(l.last) > l.wait
	l.last = now
}

func (l *lease) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost || time.Since(l.last) > l.wait
}

// keepAlive tells the server every third of the consumer's AckWait that the
// messages are being worked on, until the function it returns is called.
func (p *puller) keepAlive(ms ...jetstream.Msg) (l *lease, stop func()) {
	p.mu.Lock()
	l = &lease{wait: p.ackWait, last: time.Now()}
	p.mu.Unlock()
	t := time.NewTicker(l.wait / 3)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-t.C:
				l.beat()
				for _, m := range ms {
					_ = m.InProgress()
				}
			}
		}
	}()
	return l, func() { t.Stop(); close(done) }
}
