// Package embedded runs the whole pipeline in one process: a NATS server and
// the four services, which are the same as in containers, started and stopped
// by the same code.
package embedded

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ihc-pipeline/ihc/console"
	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/memory"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/services/writer"
	"github.com/ihc-pipeline/ihc/store/open"
)

// Config is the settings of everything in the process.
type Config struct {
	Base       service.Base // but for NATS, which is in here, and HTTP
	Streams    service.Streams
	Extractor  extractor.Config
	Attributor attributor.Config
	Writer     writer.Config
	Reporter   reporter.Config
	// Console is nil where there is none.
	Console *console.Config

	// Dir holds the streams; Keep says that it stays when the process ends.
	Dir  string
	Keep bool
	// Holder is what Dir is used for, as in [broker.Config].
	Holder string
	// Listen is where the server accepts clients, HTTP where health and metrics
	// are served; either is empty for nowhere.
	Listen, HTTP string
	Log          *slog.Logger
}

// FromEnv reads the settings from the environment as the services do, but for
// those of scoring, which are given. Errors are input faults.
func FromEnv(scoring attributor.Config) (Config, error) {
	base, err1 := service.FromEnv[service.Base]()
	streams, err2 := service.FromEnv[service.Streams]()
	extracting, err3 := service.FromEnv[extractor.Config]()
	writing, err4 := service.FromEnv[writer.Config]()
	reporting, err5 := service.FromEnv[reporter.Config]()
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return Config{}, err
		}
	}
	return Config{Base: base, Streams: streams, Extractor: extracting, Attributor: scoring, Writer: writing, Reporter: reporting}, nil
}

// At sets the database of all services and the directory of the report's files.
func (c *Config) At(database, out string) error {
	database, err := open.Absolute(database)
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	c.Extractor.Database, c.Writer.Database, c.Reporter.Database, c.Reporter.Out = database, database, database, out
	return nil
}

// services is the list that makes a process the whole pipeline.
func (c *Config) services() []service.Service {
	all := []service.Service{
		service.New(stream.StageReporter, c.Reporter, reporter.Run),
		service.New(stream.StageWriter, c.Writer, writer.Run),
		service.New(stream.StageAttributor, c.Attributor, attributor.Run),
		service.New(stream.StageExtractor, c.Extractor, extractor.Run),
	}
	if c.Console != nil {
		all = append(all, service.New(stream.UserConsole, *c.Console, console.Run))
	}
	return all
}

// Pipeline is a running one.
type Pipeline struct {
	// Client is a connection for the caller's own use.
	Client *stream.Client

	config  Config
	server  *broker.Server
	process service.Process
	cancel  context.CancelFunc
	stopped chan struct{}
}

// withoutSQLite is how much more memory a process on PostgreSQL may take for itself:
// about what SQLite caches.
const withoutSQLite = 160 << 20

// keptStreams is how much more memory a process may take whose streams stay: what the
// server stored in the last ten seconds it holds in memory. With less the garbage
// collector took a quarter of a run with many touchpoints, and stalled it.
const keptStreams = 256 << 20

// Start brings everything up. The context it returns ends with ctx, or when a
// service or the server gives up, with the error as its cause. A pipeline that
// was started has to be stopped.
func Start(ctx context.Context, c Config) (*Pipeline, context.Context, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pipeline{config: c, stopped: make(chan struct{})}
	var err error
	if p.server, err = broker.Start(broker.Config{Dir: c.Dir, Listen: c.Listen, Sync: c.Keep, Holder: c.Holder, Log: c.Log}); err != nil {
		return nil, nil, err
	}
	if p.Client, err = p.prepare(ctx); err != nil {
		p.server.Stop(ctx)
		return nil, nil, err
	}
	running, cancel := context.WithCancelCause(ctx)
	p.cancel = func() { cancel(context.Canceled) }
	p.process = service.Process{Log: c.Log, HTTP: c.HTTP, Grace: c.Base.Grace,
		Connect: func(stage string, _ *slog.Logger) (*nats.Conn, error) { return p.server.Connect(stage) }}
	go func() {
		select {
		case err := <-p.server.Broken():
			p.process.Hurry()
			cancel(err)
		case <-running.Done():
		}
	}()
	more := int64(0)
	if open.IsAddress(c.Writer.Database) {
		more += withoutSQLite
	}
	if c.Keep {
		more += keptStreams
	}
	allowed := memory.Allow(more)
	go func() {
		defer close(p.stopped)
		defer allowed()
		cancel(p.process.Run(running, c.services()...))
	}()
	return p, running, nil
}

// prepare makes the streams, as a deployment's init step does, and returns a
// client of them.
func (p *Pipeline) prepare(ctx context.Context) (*stream.Client, error) {
	nc, err := p.server.Connect("ihc")
	if err != nil {
		return nil, errkind.As(errkind.Environment, err)
	}
	settings := p.config.Streams.Settings()
	settings.Passing = !p.config.Keep
	settings.Packed = p.config.Keep // there is no time to gain by it, only room on the disk
	client, err := (*stream.Client)(nil), stream.EnsureOn(ctx, nc, settings)
	if err == nil {
		client, err = stream.New(ctx, nc, stream.Options{Stage: "ihc", Log: p.config.Log})
	}
	if err != nil {
		nc.Close()
		return nil, errkind.As(errkind.Environment, err)
	}
	return client, nil
}

// URL returns the address of the NATS server, "" where it does not listen.
func (p *Pipeline) URL() string { return p.server.URL() }

// Rest ends the services and lets them finish what is under way. The client can be
// used until Stop.
func (p *Pipeline) Rest() {
	p.cancel()
	<-p.stopped // what went wrong is the running context's cause
}

// Stop ends the services, lets them finish what is under way, and then ends
// the server.
func (p *Pipeline) Stop() {
	p.Rest()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = p.Client.Close(ctx) // the caller is done with it
	if p.config.Keep {
		p.server.Stop(ctx)
	} else {
		p.server.Discard(ctx)
	}
	// An interrupted extractor may have closed it in the writer's way. One that
	// was refused has no log, and is not touched.
	open.Settle(p.config.Writer.Database)
}

// Cause returns why the running context of a pipeline ended: nil where somebody
// wanted it to, or it did not.
func Cause(running context.Context) error {
	if cause := context.Cause(running); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
