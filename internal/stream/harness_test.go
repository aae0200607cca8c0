package stream

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/leak"
	"github.com/ihc-pipeline/ihc/internal/retry"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestMain(m *testing.M) { leak.Main(m) }

// never is an AckWait that no test lives to see: what is delivered again under
// it was given back.
const never = time.Hour

// deadline and tick are for conditions that only the server knows.
const (
	deadline = 20 * time.Second
	tick     = 5 * time.Millisecond
)

// rig is a server with the pipeline's streams.
type rig struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // the test's, with a deadline
	dir    string
	listen string
	server *broker.Server
	js     jetstream.JetStream // of a connection of the test's own
}

// newRig starts a server that accepts clients on a port of its own.
func newRig(t *testing.T, ackWait time.Duration) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	r := &rig{t: t, ctx: ctx, dir: t.TempDir(), listen: freeport.Hold(t).String()}
	r.start()
	t.Cleanup(r.stop)
	nc := r.dial()
	s := DefaultSettings()
	s.AckWait = ackWait
	require.NoError(t, EnsureOn(ctx, nc, s))
	var err error
	r.js, err = jetstream.New(nc)
	require.NoError(t, err)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	r.server, err = broker.Start(broker.Config{Dir: r.dir, Listen: r.listen})
	require.NoError(r.t, err)
}

func (r *rig) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r.server.Stop(ctx)
}

// dial returns a connection as services have it.
func (r *rig) dial() *nats.Conn {
	r.t.Helper()
	nc, err := Dial(Address{URL: "nats://" + r.listen}, "test", slog.New(slog.DiscardHandler), true)
	require.NoError(r.t, err)
	r.t.Cleanup(nc.Close)
	return nc
}

// client returns a client of one process, which waits hardly at all before a
// message is delivered again.
func (r *rig) client(stage string) *Client {
	r.t.Helper()
	c, err := New(r.ctx, r.dial(), Options{Stage: stage, Grace: 10 * time.Second})
	require.NoError(r.t, err)
	c.redelivery = retry.Policy{First: time.Millisecond, Max: time.Millisecond}
	c.crashed = c.redelivery
	return c
}

func chunk(run string, n uint32) *ihcv1.JourneyChunk {
	return &ihcv1.JourneyChunk{RunId: run, Chunk: n, Channels: []string{"Direct"}, Journeys: []*ihcv1.Journey{{
		ConvId: "c", SessionIds: []string{"s"}, TimeDeltas: []int64{int64(n)}, Channels: []uint32{0}, Flags: []byte{1}}}}
}

// publish stores chunks 1 to n of a run.
func (r *rig) publish(c *Client, run string, n uint32) {
	r.t.Helper()
	p, err := c.NewChunkPublisher(r.ctx, run, true)
	require.NoError(r.t, err)
	for i := range n {
		require.NoError(r.t, p.Publish(r.ctx, chunk(run, i+1)))
	}
	require.NoError(r.t, p.Flush(r.ctx))
}

var decodeChunk = Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} })

type handler func(context.Context, Message[*ihcv1.JourneyChunk]) error

// consume runs a consumer of chunks until the test ends or the function it
// returns is called, which returns when the consumer has stopped.
func (r *rig) consume(c *Client, workers int, handle handler) (stop func()) {
	return r.background(func(ctx context.Context) error {
		return Consume(ctx, c, Chunks, workers, nil, decodeChunk, handle)
	})
}

func (r *rig) background(do func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("stopped with %v", err)
			}
		case <-time.After(30 * time.Second):
			r.t.Error("does not stop")
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// receive takes one value or fails the test at its deadline.
func receive[T any](r *rig, from <-chan T) (v T) {
	r.t.Helper()
	select {
	case v = <-from:
	case <-r.ctx.Done():
		require.Fail(r.t, "nothing came in time")
	}
	return v
}

// settled waits until the server has n messages of the consumer acknowledged
// or terminated, and none under way.
func (r *rig) settled(from Consumer, n uint64) {
	r.t.Helper()
	var i *jetstream.ConsumerInfo
	ok := assert.Eventually(r.t, func() bool {
		c, err := r.js.Consumer(r.ctx, from.Stream, from.Durable)
		if err != nil {
			return false
		}
		i = c.CachedInfo()
		return i.AckFloor.Stream == n && i.NumAckPending == 0 && i.NumPending == 0
	}, deadline, tick)
	if !ok {
		require.Failf(r.t, "not settled", "%+v", i)
	}
}

func (r *rig) deadLetters(c *Client) []DeadLetter {
	r.t.Helper()
	var all []DeadLetter
	require.NoError(r.t, c.DeadLetters(r.ctx, "*", func(d DeadLetter) error { all = append(all, d); return nil }))
	return all
}

// letters waits until there are n dead letters.
func (r *rig) letters(c *Client, n int) []DeadLetter {
	r.t.Helper()
	var all []DeadLetter
	require.Eventually(r.t, func() bool { all = r.deadLetters(c); return len(all) >= n }, deadline, tick)
	require.Len(r.t, all, n)
	return all
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return data
}
