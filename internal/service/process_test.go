package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/version"
)

const patience = time.Minute

// text is a log for many goroutines.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// says waits until /readyz says a text.
func says(t *testing.T, address, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(body), want)
	}, patience, 10*time.Millisecond, want)
}

// From a start before there is a server, over its absence, to an orderly end.
func TestProcessTellsHowItIs(t *testing.T) {
	t.Parallel()
	at, web, dir := freeport.Hold(t).String(), freeport.Hold(t).String(), t.TempDir()
	log := &text{}
	p := &service.Process{Log: slog.New(slog.NewTextHandler(log, nil)), HTTP: web,
		Connect: func(stage string, log *slog.Logger) (*nats.Conn, error) {
			return stream.Dial(stream.Address{URL: "nats://" + at}, stage, log, true)
		}}
	got := make(chan service.Deps)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Run(ctx, service.Service{Stage: "writer",
			Before: func(ctx context.Context, nc *nats.Conn, waits func(error)) error {
				return stream.EnsureTelling(ctx, nc, stream.DefaultSettings(), waits)
			},
			Run: func(ctx context.Context, d service.Deps) error {
				got <- d
				<-ctx.Done()
				return nil
			}})
	}()
	says(t, web, "streams: not connected yet")
	serve := func() *broker.Server {
		server, err := broker.Start(broker.Config{Dir: dir, Listen: at})
		require.NoError(t, err)
		return server
	}
	server := serve()
	d := <-got
	says(t, web, "ready")
	d.SetReady(errors.New("locked"))
	d.SetReady(errors.New("locked"))
	says(t, web, "work: locked")
	d.SetReady(nil)
	d.Check("database", func(context.Context) error { return errors.New("missing") })
	says(t, web, "database: missing")
	require.NoError(t, service.Probe(web), "a container is healthy before its database is there")
	d.Check("database", func(context.Context) error { return nil })
	says(t, web, "ready")
	require.Equal(t, 1, strings.Count(log.String(), "msg=waiting"), "a reason is told once")
	require.Equal(t, 1, strings.Count(log.String(), `msg="goes on"`))
	require.Contains(t, log.String(), "msg=ready stage=writer version="+version.This().Version+" commit="+version.This().Commit)
	resp, err := http.Get("http://" + web + "/metrics")
	require.NoError(t, err)
	metrics, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	require.Contains(t, string(metrics), "ihc_build_info{commit=")

	server.Stop(t.Context())
	says(t, web, "nats: NATS connection is")
	require.Error(t, service.Probe(web))
	server = serve()
	says(t, web, "ready")
	cancel()
	require.NoError(t, <-ended)
	server.Stop(t.Context())
}

// A service that finds no streams, and the step that cannot make them, say what
// they wait for where people look, and when that is over.
func TestProcessTellsThatTheStreamsAreMissing(t *testing.T) {
	t.Parallel()
	server, err := broker.Start(broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { server.Stop(context.Background()) })
	web, log := freeport.Hold(t).String(), &text{}
	p := &service.Process{Log: slog.New(slog.NewTextHandler(log, nil)), HTTP: web,
		Connect: func(stage string, _ *slog.Logger) (*nats.Conn, error) { return server.Connect(stage) }}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended, enabled := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- p.Run(ctx, service.Service{Stage: "writer",
			Before: func(_ context.Context, _ *nats.Conn, waits func(error)) error {
				waits(errors.New("JetStream is not enabled"))
				<-enabled
				return nil
			},
			Run: func(ctx context.Context, _ service.Deps) error { <-ctx.Done(); return nil }})
	}()
	says(t, web, "streams: JetStream is not enabled")
	close(enabled)
	says(t, web, "streams: the streams are not there yet; the step init makes them")
	nc, err := server.Connect("init")
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, stream.EnsureOn(t.Context(), nc, stream.DefaultSettings()))
	says(t, web, "ready")
	cancel()
	require.NoError(t, <-ended) // what is logged is logged by then, and not when it is asked for
	require.Contains(t, log.String(), "level=WARN msg=waiting stage=writer error=\"the streams are not there yet")
	require.Contains(t, log.String(), `msg="goes on" stage=writer`)
}

// One that gives up takes the others with it, and is the reason.
func TestProcessEndsWithTheFirstThatGivesUp(t *testing.T) {
	t.Parallel()
	server, err := broker.Start(broker.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { server.Stop(context.Background()) })
	p := &service.Process{Log: slog.New(slog.DiscardHandler),
		Connect: func(stage string, _ *slog.Logger) (*nats.Conn, error) { return server.Connect(stage) }}
	ensure := func(ctx context.Context, nc *nats.Conn, _ func(error)) error {
		return stream.EnsureOn(ctx, nc, stream.DefaultSettings())
	}
	stopped := make(chan bool, 1)
	err = p.Run(t.Context(),
		service.Service{Stage: "a", Before: ensure, Run: func(ctx context.Context, _ service.Deps) error {
			<-ctx.Done()
			stopped <- true
			return ctx.Err()
		}},
		service.Service{Stage: "b", Before: ensure, Run: func(context.Context, service.Deps) error { return errkind.Inputf("no good") }})
	require.ErrorContains(t, err, "no good")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	select {
	case <-stopped:
	default: // it was told before it had begun
	}
}
