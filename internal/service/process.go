package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/version"
)

// Deps is what a service gets from the process it runs in.
type Deps struct {
	// Bus is its connection to the streams.
	Bus *stream.Client
	Log *slog.Logger
	// Metrics takes what the service counts.
	Metrics prometheus.Registerer
	// Ready is told what keeps the service from doing its job, nil when
	// nothing does. It may be nil itself.
	Ready func(error)
	// Watch takes a check by its name, to be made whenever somebody wants to
	// know whether the service can do its job. It may be nil.
	Watch func(name string, check func(context.Context) error)
	// LookEvery is how soon, and how often at first, [Deps.Look] looks at a run;
	// 0 means ten seconds.
	LookEvery time.Duration
}

// SetReady calls d.Ready where there is one.
func (d Deps) SetReady(err error) {
	if d.Ready != nil {
		d.Ready(err)
	}
}

// Check calls d.Watch where there is one.
func (d Deps) Check(name string, check func(context.Context) error) {
	if d.Watch != nil {
		d.Watch(name, check)
	}
}

// Slow says what is waited for with some runs, if that takes longer than a
// second, until over is called. It is for waiting that happens elsewhere, in the
// database for example.
func (d Deps) Slow(ctx context.Context, why string, runs ...string) (over func()) {
	return d.afterASecond(ctx, why, runs, d.SetReady)
}

// Long does so for work that takes long where there is much of it, and keeps
// nothing from being done.
func (d Deps) Long(ctx context.Context, what string, runs ...string) (over func()) {
	return d.afterASecond(ctx, what, runs, func(error) {})
}

func (d Deps) afterASecond(ctx context.Context, why string, runs []string, set func(error)) (over func()) {
	told := make(chan struct{})
	timer := time.AfterFunc(time.Second, func() {
		defer close(told)
		set(errors.New(why))
		for _, id := range runs {
			d.Bus.Waiting(ctx, id, why)
		}
	})
	return func() {
		if timer.Stop() {
			return
		}
		<-told
		set(nil)
		for _, id := range runs {
			d.Bus.Waiting(ctx, id, "")
		}
	}
}

// Service is one of those a process runs.
type Service struct {
	// Stage is its name, and that of its NATS user.
	Stage string
	// Before is called on its connection before the streams are waited for, and
	// tells what it waits for itself. It may be nil.
	Before func(ctx context.Context, nc *nats.Conn, waits func(error)) error
	// Run works until its context ends.
	Run func(context.Context, Deps) error
}

// New returns the service of a stage with its settings.
func New[C any](stage string, config C, run func(context.Context, C, Deps) error) Service {
	return Service{Stage: stage, Run: func(ctx context.Context, d Deps) error { return run(ctx, config, d) }}
}

// Process is what services run in, one or all of them.
type Process struct {
	Log *slog.Logger
	// HTTP is the address of health and metrics, empty for nowhere.
	HTTP string
	// Grace is how long work under way may take to finish on a stop.
	Grace time.Duration
	// Instance tells processes that run the same service apart.
	Instance string
	// Connect returns a connection of a service's own.
	Connect func(stage string, log *slog.Logger) (*nats.Conn, error)

	health  Health
	metrics *prometheus.Registry

	mu    sync.Mutex
	hurry bool
	buses []*stream.Client
}

// Run is the life of a process: it connects each service, waits for the
// streams, runs the services and serves health and metrics, until ctx ends or
// one of them gives up. It returns when all have let go of their messages and
// closed their connections, with the error of the first that gave up.
func (p *Process) Run(ctx context.Context, services ...Service) error {
	p.metrics = prometheus.NewRegistry()
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), version.This().Metric())
	for _, s := range services {
		p.health.Set(part(services, s, "streams"), errors.New("not connected yet"))
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // health is served to the end
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	if p.HTTP != "" {
		listener, err := p.health.Listen(ctx, p.HTTP)
		if err != nil {
			return err
		}
		group.Go(func() error { return p.health.Serve(serving, listener, p.metrics) })
	}
	var running sync.WaitGroup
	for _, s := range services {
		running.Add(1)
		group.Go(func() error {
			defer running.Done()
			return p.one(ctx, s, func(name string) string { return part(services, s, name) })
		})
	}
	running.Wait()
	stop()
	return group.Wait()
}

// part names a part of a service's health. The service goes without saying
// where it is the only one.
func part(services []Service, s Service, name string) string {
	if len(services) == 1 {
		return name
	}
	return s.Stage + " " + name
}

// one runs a service from its connection to its end.
func (p *Process) one(ctx context.Context, s Service, part func(string) string) error {
	log := p.Log.With("stage", s.Stage)
	nc, err := p.Connect(s.Stage, log)
	if err != nil {
		return err
	}
	streams := &readiness{set: func(err error) { p.health.Set(part("streams"), err) }, log: log}
	if s.Before != nil {
		if err := s.Before(ctx, nc, streams.tell); err != nil {
			nc.Close()
			return orderly(ctx, err)
		}
	}
	bus, err := stream.New(ctx, nc, stream.Options{Stage: s.Stage, Instance: p.Instance, Log: log, Metrics: p.metrics, Grace: p.Grace, Missing: streams.tell})
	if err != nil {
		nc.Close()
		return orderly(ctx, err)
	}
	p.know(bus)
	ready := &readiness{set: func(err error) { p.health.Set(part("work"), err) }, log: log}
	p.health.Watch(part("nats"), bus.Check)
	streams.tell(nil)
	build := version.This()
	log.Info("ready", "version", build.Version, "commit", build.Commit, "nats", nc.ConnectedUrlRedacted(), "http", p.HTTP)
	err = s.Run(ctx, Deps{Bus: bus, Log: log, Metrics: p.metrics, Ready: ready.tell,
		Watch: func(name string, check func(context.Context) error) { p.health.Watch(part(name), check) }})
	p.health.Set(part("streams"), errors.New("stopping"))
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if e := bus.Close(drain); err == nil && e != nil {
		err = fmt.Errorf("close the connection to NATS: %w", e)
	}
	return orderly(ctx, err)
}

// orderly returns nil for whatever a service ends with once it was told to.
func orderly(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to stop, and what that led to is no trouble
	}
	return err
}

func (p *Process) know(bus *stream.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buses = append(p.buses, bus)
	if p.hurry {
		bus.Hurry()
	}
}

// Hurry gives up the grace: it is for a server that takes nothing more.
func (p *Process) Hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hurry = true
	for _, bus := range p.buses {
		bus.Hurry()
	}
}

// readiness passes on what a service says of itself, and logs what changes.
type readiness struct {
	set func(error)
	log *slog.Logger

	mu    sync.Mutex
	why   string // "" while all is well
	since time.Time
}

func (r *readiness) tell(err error) {
	r.set(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.why
	switch {
	case err == nil && was != "":
		r.why = ""
		r.log.Info("goes on", "waited_for", was, "seconds", time.Since(r.since).Round(time.Second/10).Seconds())
	case err != nil && err.Error() != was:
		if was == "" {
			r.since = time.Now()
		}
		r.why = err.Error()
		r.log.Warn("waiting", "error", err)
	}
}
