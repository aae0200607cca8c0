// Package service is what the four services have in common as processes: how
// they read their environment, log, connect, show their health and stop.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/stream"
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
}

// Report calls d.Ready where there is one.
func (d Deps) Report(err error) {
	if d.Ready != nil {
		d.Ready(err)
	}
}

// Base is the part of the environment every service reads.
type Base struct {
	NATSURL      string `envconfig:"NATS_URL" default:"nats://127.0.0.1:4222" desc:"where NATS is"`
	NATSUser     string `envconfig:"NATS_USER" desc:"NATS user name"`
	NATSPassword string `envconfig:"NATS_PASSWORD" desc:"NATS password"`
	// NATSPasswordFile keeps the password out of the environment.
	NATSPasswordFile string `envconfig:"NATS_PASSWORD_FILE" desc:"path of a file with the NATS password, in place of NATS_PASSWORD"`
	NATSCreds        string `envconfig:"NATS_CREDS" desc:"path of a NATS credentials file"`
	// HTTP is where health and metrics are served.
	HTTP string `envconfig:"IHC_HTTP" default:":8080" desc:"address of /healthz, /readyz and /metrics"`
	// LogLevel is one of debug, info, warn, error.
	LogLevel slog.Level `envconfig:"IHC_LOG_LEVEL" default:"info" desc:"least severity logged: debug, info, warn or error"`
	// AckWait and KeepDays are properties of the streams.
	AckWait  time.Duration `envconfig:"IHC_ACK_WAIT" default:"10s" desc:"how long a killed process delays its messages"`
	KeepDays int           `envconfig:"IHC_KEEP_DAYS" default:"14" desc:"days for which journeys and results can be replayed"`
	MaxBytes int64         `envconfig:"IHC_STREAM_MAX_BYTES" default:"0" desc:"most bytes in each of the journeys and results streams; 0 for the server's limit"`
	// Grace is how long work under way may take to finish on a stop.
	Grace time.Duration `envconfig:"IHC_GRACE" default:"20s" desc:"how long work under way may take to finish on a stop"`
}

// Address returns where NATS is.
func (b Base) Address() stream.Address {
	return stream.Address{URL: b.NATSURL, User: b.NATSUser, Password: b.NATSPassword, PasswordFile: b.NATSPasswordFile, Creds: b.NATSCreds}
}

// Streams returns the streams' settings.
func (b Base) Streams() stream.Settings {
	s := stream.DefaultSettings()
	s.AckWait, s.KeepMessages, s.MaxBytes = b.AckWait, time.Duration(b.KeepDays)*24*time.Hour, b.MaxBytes
	return s
}

// Validate returns an input fault that names the variable that is wrong.
func (b Base) Validate() error {
	switch {
	case b.AckWait < 500*time.Millisecond:
		return errkind.Inputf("IHC_ACK_WAIT is %s: it must be at least 500ms", b.AckWait)
	case b.KeepDays < 1:
		return errkind.Inputf("IHC_KEEP_DAYS is %d: it must be at least 1", b.KeepDays)
	}
	return nil
}

// FromEnv fills a struct of envconfig fields and calls its Validate method
// where it has one. An empty variable counts as one that is not set, since
// that is what compose passes for a variable left out. Errors are input faults.
func FromEnv[C any]() (C, error) {
	var c C
	unsetEmpty(reflect.TypeOf(c))
	if err := envconfig.Process("", &c); err != nil {
		var p *envconfig.ParseError
		if errors.As(err, &p) {
			return c, errkind.Inputf("environment variable %s: %q is no %s", p.KeyName, shown(p.KeyName, p.Value), p.TypeName)
		}
		return c, errkind.Inputf("environment: %w", err)
	}
	if v, ok := any(c).(interface{ Validate() error }); ok {
		return c, v.Validate()
	}
	return c, nil
}

// shown hides the values of secrets.
func shown(key, value string) string {
	if strings.Contains(key, "KEY") || strings.Contains(key, "PASSWORD") {
		return "(hidden)"
	}
	return value
}

func unsetEmpty(t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			unsetEmpty(f.Type)
			continue
		}
		if name := f.Tag.Get("envconfig"); name != "" && os.Getenv(name) == "" {
			_ = os.Unsetenv(name)
		}
	}
}

// Log returns a logger on standard error: for people on a terminal, JSON
// elsewhere.
func Log(level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}

// LimitMemory makes the garbage collector keep the Go heap below so many bytes
// where it can, unless GOMEMLIMIT says otherwise, and, as long as it is far
// below, seldom collect: a fifth of a run's time went into that. What SQLite
// caches comes on top.
func LimitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// Signals returns a context that ends at the first SIGINT or SIGTERM. The
// second one ends the process on the spot, with code 1.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case <-ch:
			cancel()
		case <-ctx.Done():
			return
		}
		<-ch
		os.Exit(1)
	}()
	return ctx, func() { signal.Stop(ch); cancel() }
}

// Main is the whole life of a service process: it reads the environment into
// [Base] and C, serves health and metrics, connects, calls run, and stops in
// order on a signal. It returns the exit code.
//
// With the argument -health the process asks the running service instead
// whether it can do its job, and says so with its exit code: the health check
// of an image that holds nothing but the binary. With -help it explains the
// environment.
func Main[C any](stage string, run func(context.Context, C, Deps) error) int {
	if len(os.Args) > 1 && os.Args[1] != "-health" {
		return usage[C](stage)
	}
	LimitMemory(96 << 20)
	base, err := FromEnv[Base]()
	log := Log(base.LogLevel).With("stage", stage)
	if err == nil && len(os.Args) > 1 {
		if err = Probe(base.HTTP); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
		}
		return errkind.ExitCode(err)
	}
	var config C
	if err == nil {
		config, err = FromEnv[C]()
	}
	if err != nil {
		log.Error("cannot start", "error", err)
		return errkind.ExitCode(err)
	}
	ctx, cancel := Signals(context.Background())
	defer cancel()
	err = serve(ctx, stage, base, log, func(ctx context.Context, d Deps) error { return run(ctx, config, d) })
	if err != nil && ctx.Err() == nil {
		log.Error("stopped", "error", err)
		return errkind.ExitCode(err)
	}
	log.Info("stopped")
	return 0
}

func usage[C any](stage string) int {
	_, _ = fmt.Fprintf(os.Stderr, "%s is a service of ihc-pipeline. It takes no arguments but -health (ask the running\nservice whether it is ready) and -help (this), and reads its settings from the environment:\n\n", stage)
	const format = "{{range .}}{{usage_key .}}\t{{usage_description .}}\t{{usage_default .}}\n{{end}}"
	w := tabwriter.NewWriter(os.Stderr, 0, 4, 2, ' ', 0)
	var base Base
	var config C
	_ = envconfig.Usagef("", &base, w, format)
	_ = envconfig.Usagef("", &config, w, format)
	_ = w.Flush()
	if os.Args[1] == "-help" || os.Args[1] == "--help" || os.Args[1] == "-h" {
		return 0
	}
	return errkind.ExitCode(errkind.Inputf("unknown argument"))
}

func serve(ctx context.Context, stage string, base Base, log *slog.Logger, run func(context.Context, Deps) error) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	health := &Health{}
	health.Set("streams", errors.New("not connected yet"))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return health.Serve(ctx, base.HTTP, registry) })
	group.Go(func() error {
		host, _ := os.Hostname()
		nc, err := stream.Dial(base.Address(), stage+" "+host, log, true)
		if err != nil {
			return err
		}
		// The pipeline's first stage brings the streams; the others wait for
		// them and need no right to change them.
		if stage == stream.StageExtractor {
			if err := stream.EnsureOn(ctx, nc, base.Streams()); err != nil {
				nc.Close()
				return err
			}
		}
		bus, err := stream.New(ctx, nc, stream.Options{Stage: stage, Instance: host, Log: log, Metrics: registry, Grace: base.Grace})
		if err != nil {
			nc.Close()
			return err
		}
		health.Set("streams", nil)
		health.Watch("nats", bus.Healthy)
		log.Info("ready", "nats", nc.ConnectedUrlRedacted(), "http", base.HTTP)
		err = run(ctx, Deps{Bus: bus, Log: log, Metrics: registry, Ready: func(err error) { health.Set("service", err) }})
		health.Set("streams", errors.New("stopping"))
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if e := bus.Close(drain); err == nil && e != nil {
			err = fmt.Errorf("close the connection to NATS: %w", e)
		}
		if err == nil {
			err = ctx.Err() // ends the health server too
		}
		return err
	})
	return group.Wait()
}
