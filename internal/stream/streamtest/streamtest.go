// Package streamtest runs the pipeline's streams on an embedded server for the
// tests of the services that meet in them.
package streamtest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Bus is a server with the pipeline's streams, for one test.
type Bus struct {
	*stream.Client // of the test's own
	// JS is a way around the client, for messages it would not publish.
	JS jetstream.JetStream
	// Ctx ends with the test or its patience.
	Ctx context.Context //nolint:containedctx // it is the test's

	t      testing.TB
	server *broker.Server
}

// New starts a server, which stops when the test ends. Work under way holds
// its messages for as long as the test lives.
func New(t testing.TB) *Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	server, err := broker.Start(broker.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		stop, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		server.Stop(stop)
	})
	nc, err := server.Connect("test")
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	settings := stream.DefaultSettings()
	settings.AckWait = time.Hour
	require.NoError(t, stream.EnsureOn(ctx, nc, settings))
	b := &Bus{Ctx: ctx, t: t, server: server}
	b.JS, err = jetstream.New(nc)
	require.NoError(t, err)
	b.Client, err = stream.New(ctx, nc, stream.Options{Stage: "test"})
	require.NoError(t, err)
	return b
}

// Service runs a service with a connection of its own until the test ends, or
// until the function it returns is called, which waits for it to stop.
func (b *Bus) Service(stage string, run func(context.Context, service.Deps) error) (stop func()) {
	b.t.Helper()
	p := &service.Process{Log: slog.New(slog.DiscardHandler),
		Connect: func(stage string, _ *slog.Logger) (*nats.Conn, error) { return b.server.Connect(stage) }}
	ctx, cancel := context.WithCancel(b.Ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, service.Service{Stage: stage, Run: run}) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("%s stopped with: %v", stage, err)
		}
	}
	b.t.Cleanup(stop)
	return stop
}

// Publish stores chunks of a run that was accepted with the given request, and
// the event extracted.
func (b *Bus) Publish(req *ihcv1.RunRequest, counts *ihcv1.Counts, chunks ...*ihcv1.JourneyChunk) {
	b.t.Helper()
	id := req.GetRunId()
	b.Event(id, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: req}}})
	p, err := b.NewChunkPublisher(b.Ctx, id, true)
	require.NoError(b.t, err)
	for _, c := range chunks {
		require.NoError(b.t, p.Publish(b.Ctx, c))
	}
	require.NoError(b.t, p.Flush(b.Ctx))
	b.Event(id, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: uint32(len(chunks)), Counts: counts}}})
}

// Event publishes an event of a run; one of a run that has ended as somebody
// does who knows of no rules.
func (b *Bus) Event(run string, e *ihcv1.RunEvent) {
	b.t.Helper()
	e.RunId = run
	err := b.PublishEvent(b.Ctx, e)
	if errors.Is(err, stream.ErrOver) && e.GetCancelled() != nil {
		_, err = b.JS.Publish(b.Ctx, "ihc.v1.run.cancelled."+run, []byte(`{}`))
	}
	require.NoError(b.t, err)
}

// Await returns the first event of the run that is wanted, waiting for it.
func (b *Bus) Await(run string, wanted func(*ihcv1.RunEvent) bool) *ihcv1.RunEvent {
	b.t.Helper()
	var found *ihcv1.RunEvent
	err := b.Follow(b.Ctx, run, func(e stream.StoredEvent) bool {
		if wanted(e.Event) {
			found = e.Event
		}
		return found == nil
	})
	require.NoError(b.t, err, "the event did not come")
	return found
}

// Results waits until n chunks of a run have a result and returns the last of
// each.
func (b *Bus) Results(run string, n int) map[uint32]*ihcv1.AttributionResult {
	b.t.Helper()
	all := map[uint32]*ihcv1.AttributionResult{}
	require.Eventually(b.t, func() bool {
		clear(all)
		err := b.EachResult(b.Ctx, run, func(r *ihcv1.AttributionResult) error { all[r.GetChunk()] = r; return nil })
		return err == nil && len(all) >= n
	}, 50*time.Second, 10*time.Millisecond)
	require.Len(b.t, all, n)
	return all
}

// Dead waits until there are n dead letters and returns them.
func (b *Bus) Dead(n int) []stream.DeadLetter {
	b.t.Helper()
	var all []stream.DeadLetter
	require.Eventually(b.t, func() bool {
		all = nil
		err := b.DeadLetters(b.Ctx, "*", func(d stream.DeadLetter) error { all = append(all, d); return nil })
		return err == nil && len(all) >= n
	}, 50*time.Second, 10*time.Millisecond)
	require.Len(b.t, all, n)
	return all
}

// Idle waits until nothing is left of what the consumer is to be given.
func (b *Bus) Idle(from stream.Consumer) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		c, err := b.JS.Consumer(b.Ctx, from.Stream, from.Durable)
		return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0
	}, 50*time.Second, 10*time.Millisecond)
}

// Told waits until a service says of itself what contains a text: it may have said
// something else before, as where a machine is slow.
func (b *Bus) Told(ready <-chan error, text string) {
	b.t.Helper()
	for {
		select {
		case err := <-ready:
			if err != nil && strings.Contains(err.Error(), text) {
				return
			}
		case <-b.Ctx.Done():
			require.Failf(b.t, "the service did not tell", "%q", text)
		}
	}
}
