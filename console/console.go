package console

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

// reader is what the console asks of a database. There is nothing in it that
// writes.
type reader interface {
	ops.PlanSource
	report.Source
	Dimensions(ctx context.Context) ([]string, error)
	Conversion(ctx context.Context, id string) (*store.Conversion, error)
	Cell(ctx context.Context, channel, date string) (*store.Cell, error)
	Difference(ctx context.Context, first, second string) (*store.Difference, error)
	LastConversion(ctx context.Context) (time.Time, error)
	// Close lets go of the file, which may be replaced between two readings.
	Close() error
	Shown(ctx context.Context, since time.Time) (store.Stored, error)
}

// Limits of what anybody may ask for at once.
const (
	mostBody        = 1 << 20  // bytes of a request: a run request with model parameters has some thousand
	mostHeader      = 32 << 10 // bytes
	mostConnections = 256
	mostFollowers   = 64 // who are told of runs as they go
	mostReaders     = 2  // who read the whole database, each with a core and some memory
	readTime        = 10 * time.Second
	answerTime      = 2 * time.Minute // of a report of a large database, too
	idleTime        = 2 * time.Minute
)

// console is what the handlers stand on.
type console struct {
	Config
	access
	runs   *ops.Runs
	bus    *stream.Client
	db     reader
	log    *slog.Logger
	stop   <-chan struct{} // closed when the console is to end
	reads  chan struct{}   // holds who reads the database
	follow chan struct{}   // holds who is told of a run
	starts sync.Mutex      // one request at a time becomes a run
	paces  paces
}

// Run serves the console until ctx ends. An address that cannot be listened on
// is an environment fault, and a setting that is wrong an input fault.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	who, err := cfg.open()
	if err != nil {
		return err
	}
	db := open.Database(cfg.Database)
	defer db.Close() //nolint:errcheck // only read
	c := newConsole(cfg, who, d, db)
	c.stop = ctx.Done()
	l := cfg.On
	if l == nil {
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen); err != nil {
			return errkind.Environmentf("cannot serve the console on %s: %w", cfg.Listen, err)
		}
	}
	d.Check(service.Database, db.Check)
	watching := newFreshness(c, d.Metrics)
	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background.Go(func() { watching.run(ctx) })
	d.Log.Info("console", "address", l.Addr().String(), "read_only", cfg.ReadOnly)
	return c.serve(ctx, netutil.LimitListener(l, mostConnections))
}

func newConsole(cfg Config, who access, d service.Deps, db reader) *console {
	return &console{Config: cfg, access: who, runs: ops.New(d.Bus), bus: d.Bus, db: db, log: d.Log,
		reads: make(chan struct{}, mostReaders), follow: make(chan struct{}, mostFollowers), paces: paces{of: map[string]*pace{}}}
}

// serve serves until ctx ends, and gives what is under way a moment.
func (c *console) serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: c.handler(), TLSConfig: c.tls, ReadHeaderTimeout: readTime, ReadTimeout: readTime,
		WriteTimeout: answerTime, IdleTimeout: idleTime, MaxHeaderBytes: mostHeader,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug)}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if s.Shutdown(end) != nil {
			_ = s.Close()
		}
	})
	var err error
	if c.tls != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if !stop() {
		<-stopped
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return errkind.Environmentf("the console: %w", err)
	}
	return nil
}

// reading waits for a turn to read the database, and returns what ends it.
func (c *console) reading(ctx context.Context) (done func(), err error) {
	select {
	case c.reads <- struct{}{}:
		return func() {
			_ = c.db.Close() // waits for others who read; the next one opens it anew
			<-c.reads
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// paces are the paces of runs that somebody watches.
type paces struct {
	mu sync.Mutex
	of map[string]*pace
}

// pace is that of one run, and when it was last looked at.
type pace struct {
	left run.TimeLeft
	seen time.Time
}

// see returns the pace of a run and lets go of those that nobody looks at.
func (p *paces) see(now time.Time, s *run.State) run.Pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, one := range p.of {
		if now.Sub(one.seen) > time.Minute {
			delete(p.of, id)
		}
	}
	if s.Status() != run.StatusRunning {
		delete(p.of, s.ID)
		return run.Pace{}
	}
	one := p.of[s.ID]
	if one == nil {
		one = &pace{}
		p.of[s.ID] = one
	}
	one.seen = now
	return one.left.See(now, s)
}
