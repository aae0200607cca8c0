package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/services/writer"
	"github.com/ihc-pipeline/ihc/store/open"
)

// pipeline is the four services and a NATS server in this process.
type pipeline struct {
	Database, Out string
	// Dir holds the streams; Keep says that it stays when the process ends.
	Dir  string
	Keep bool
	// Listen is where the server accepts clients, empty for nowhere.
	Listen     string
	Attributor attributor.Config
	Log        *slog.Logger
	Registry   *prometheus.Registry

	server *broker.Server
	group  *errgroup.Group
	cancel context.CancelFunc

	mu    sync.Mutex
	buses []*stream.Client
}

// start brings everything up and returns a client for the caller's own use.
// The returned context ends when a service gives up, with its error as cause.
func (p *pipeline) start(ctx context.Context) (context.Context, *stream.Client, error) {
	var err error
	if p.server, err = broker.Start(broker.Config{Dir: p.Dir, Listen: p.Listen, Sync: p.Keep, Log: p.Log}); err != nil {
		return nil, nil, err
	}
	if p.Registry == nil {
		p.Registry = prometheus.NewRegistry()
	}
	settings := stream.DefaultSettings()
	settings.Packed = p.Keep // there is no time to gain by it, only room on the disk
	nc, err := p.server.Connect("ihc")
	if err == nil {
		err = stream.EnsureOn(ctx, nc, settings)
	}
	if err != nil {
		p.server.Stop(ctx)
		return nil, nil, errkind.As(errkind.Environment, err)
	}
	client, err := stream.New(ctx, nc, stream.Options{Stage: "ihc", Log: p.Log})
	if err != nil {
		p.server.Stop(ctx)
		return nil, nil, err
	}
	// The services stop before the server does, whoever asks.
	running, cancel := context.WithCancelCause(ctx)
	p.cancel = func() { cancel(context.Canceled) }
	p.group = &errgroup.Group{}
	go func() {
		select {
		case err := <-p.server.Broken():
			p.hurry()
			cancel(err)
		case <-running.Done():
		}
	}()
	p.run(running, cancel, stream.StageReporter, func(ctx context.Context, d service.Deps) error {
		return reporter.Run(ctx, reporter.Config{Database: p.Database, Out: p.Out}, d)
	})
	p.run(running, cancel, stream.StageWriter, func(ctx context.Context, d service.Deps) error {
		return writer.Run(ctx, writer.Config{Database: p.Database, Batch: 128}, d)
	})
	p.run(running, cancel, stream.StageAttributor, func(ctx context.Context, d service.Deps) error {
		return attributor.Run(ctx, p.Attributor, d)
	})
	p.run(running, cancel, stream.StageExtractor, func(ctx context.Context, d service.Deps) error {
		return extractor.Run(ctx, extractor.Config{Database: p.Database}, d)
	})
	return running, client, nil
}

// run starts one service on a connection of its own.
func (p *pipeline) run(ctx context.Context, fail context.CancelCauseFunc, stage string, serve func(context.Context, service.Deps) error) {
	p.group.Go(func() error {
		err := func() error {
			var nc *nats.Conn
			nc, err := p.server.Connect(stage)
			if err != nil {
				return err
			}
			log := p.Log.With("stage", stage)
			bus, err := stream.New(ctx, nc, stream.Options{Stage: stage, Log: log, Metrics: p.Registry})
			if err != nil {
				nc.Close()
				return err
			}
			p.mu.Lock()
			p.buses = append(p.buses, bus)
			p.mu.Unlock()
			err = serve(ctx, service.Deps{Bus: bus, Log: log, Metrics: p.Registry})
			drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return errors.Join(err, bus.Close(drain))
		}()
		if err != nil && ctx.Err() == nil {
			fail(err)
		}
		return err
	})
}

// hurry tells the services not to wait for a server that takes nothing more.
func (p *pipeline) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, bus := range p.buses {
		bus.Hurry()
	}
}

// stop ends the services, lets them finish what is under way, and then ends
// the server.
func (p *pipeline) stop() {
	p.cancel()
	_ = p.group.Wait() // what went wrong is the running context's cause
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if p.Keep {
		p.server.Stop(ctx)
	} else {
		p.server.Discard(ctx)
	}
	// An interrupted extractor may have closed it in the writer's way. One that
	// was refused has no log, and is not touched.
	open.Settle(p.Database)
}

// makeWritable creates the output directory and finds out now, and not after a
// run, that no report can be put there.
func makeWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errkind.Environmentf("cannot create the output directory: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".ihc-*")
	if err != nil {
		return errkind.Environmentf("cannot write to the output directory %s: %w", dir, errors.Unwrap(err))
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// dataDir returns the directory for the streams: the one named, to be kept, or
// a temporary one, which done removes.
func dataDir(named string) (dir string, done func(), err error) {
	if named != "" {
		return named, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "ihc-")
	if err != nil {
		return "", nil, errkind.Environmentf("cannot create a temporary directory: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}
