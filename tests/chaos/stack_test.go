//go:build chaos

package chaos

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// ackWait is how long a message waits for a process that is gone. Whoever works on
// one says so three times as often, which a busy machine must let it do.
const ackWait = 2 * time.Second

// workers is how many chunks one attributor scores at once.
const workers = 3

// stack is the pipeline as processes, with a NATS server of its own.
type stack struct {
	t            *testing.T
	dir, db, out string
	nats         string // address of the first server
	url          string // of all of them
	procs        map[string]*process
	pg           *postgres  // the database's server, nil for a SQLite file
	nc           *nats.Conn // the test's own
	js           jetstream.JetStream
	tap          tap
}

// stackOptions say what differs from the usual stack.
type stackOptions struct {
	api *api // nil: the built-in model scores
	// dir holds everything but what db, store and out place elsewhere.
	dir, db, store, out string
	pg                  *postgres // db is one of this server's
	servers             int       // NATS servers, in a cluster if they are several; 0 means 1
	natsArgs            []string
	env                 []string // of every service
	attributors         int      // 0 means 2
	writers             int      // 0 means 1, likewise:
	extractors          int
	reporters           int
}

func newStack(t *testing.T, o stackOptions) *stack {
	t.Helper()
	def := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	def(&o.dir, t.TempDir())
	def(&o.db, filepath.Join(o.dir, "shop.db"))
	def(&o.store, filepath.Join(o.dir, "nats"))
	def(&o.out, filepath.Join(o.dir, "out"))
	s := &stack{t: t, dir: o.dir, db: o.db, out: o.out, pg: o.pg, procs: map[string]*process{}}
	add := func(name, program string, args []string, env ...string) {
		s.procs[name] = &process{name: name, program: program, args: args, env: env, log: filepath.Join(o.dir, name+".log")}
	}
	nodes := natsServers(t, cmp.Or(o.servers, 1), o.store)
	for _, n := range nodes {
		add(n.name, "natsserver", append(n.args, o.natsArgs...))
	}
	s.nats, s.url = nodes[0].address, urlOf(nodes)
	env := slices.Concat([]string{"NATS_URL=" + s.url, fmt.Sprintf("IHC_REPLICAS=%d", len(nodes)), "IHC_DB=" + o.db, "IHC_OUT=" + o.out,
		"IHC_HTTP=127.0.0.1:0", "IHC_ACK_WAIT=" + ackWait.String(), "IHC_GRACE=5s", "IHC_LOG_LEVEL=debug"}, o.env)
	several := func(name string, n int, env []string) {
		for i := range n {
			add(fmt.Sprintf("%s-%d", name, i+1), name, nil, env...)
		}
	}
	one := func(name string, n int) {
		if n < 2 {
			add(name, name, nil, env...)
			return
		}
		several(name, n, env)
	}
	scoring := env
	if o.api != nil {
		scoring = slices.Concat(env, []string{"IHC_API_KEY=" + apiKey, "IHC_API_URL=" + o.api.url, "IHC_CONV_TYPE_ID=any",
			fmt.Sprintf("IHC_CONCURRENCY=%d", workers), "IHC_API_TIMEOUT=" + apiTimeout.String()})
	}
	add("init", "init", nil, env...)
	one("extractor", o.extractors)
	several("attributor", cmp.Or(o.attributors, 2), scoring)
	several("writer", cmp.Or(o.writers, 1), env)
	one("reporter", o.reporters)
	t.Cleanup(s.destroy)
	return s
}

// names returns the processes' names in order.
func (s *stack) names() []string { return slices.Sorted(maps.Keys(s.procs)) }

// start starts everything and connects the test to it.
func (s *stack) start() {
	s.t.Helper()
	for _, name := range s.names() {
		require.NoError(s.t, s.procs[name].start())
	}
	s.connect()
}

func (s *stack) connect() {
	s.t.Helper()
	var err error
	s.nc, err = nats.Connect(s.url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0))
	require.NoError(s.t, err)
	s.js, err = jetstream.New(s.nc)
	require.NoError(s.t, err)
	s.tap.onto(s.t, s.nc)
}

// destroy ends what is still running, at once.
func (s *stack) destroy() {
	if s.nc != nil {
		s.nc.Close()
	}
	for _, p := range s.procs {
		p.kill()
	}
}

// stop ends the services and then the server in an orderly way, and reports
// those that did not manage that.
func (s *stack) stop() {
	s.t.Helper()
	if s.nc != nil {
		s.nc.Close()
	}
	var wg sync.WaitGroup
	for _, name := range s.names() {
		if strings.HasPrefix(name, "nats") {
			continue
		}
		wg.Go(func() {
			if code, ran := s.procs[name].signal(syscall.SIGTERM); ran && code > 0 { // -1: it had not even begun to listen to signals
				s.t.Errorf("%s: exit code %d after SIGTERM\n%s", name, code, tail(s.procs[name].log, 5))
			}
		})
	}
	wg.Wait()
	for _, name := range s.names() {
		if strings.HasPrefix(name, "nats") {
			wg.Go(func() { s.procs[name].signal(syscall.SIGTERM) })
		}
	}
	wg.Wait()
	for _, name := range s.names() {
		for _, d := range s.procs[name].deaths {
			s.t.Error(d)
		}
	}
}

// kills counts how often the test killed something.
func (s *stack) kills(prefix string) int {
	n := 0
	for name, p := range s.procs {
		if strings.HasPrefix(name, prefix) {
			n += p.kills
		}
	}
	return n
}

// request publishes a run request. It tries until the server has it.
func (s *stack) request(ctx context.Context, req *ihcv1.RunRequest) {
	s.t.Helper()
	data, err := proto.Marshal(req)
	require.NoError(s.t, err)
	for {
		try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := s.js.Publish(try, stream.SubjectRunRequested, data, jetstream.WithMsgID("requested."+req.GetRunId()))
		cancel()
		if err == nil {
			return
		}
		require.NoError(s.t, ctx.Err(), "the run request was not taken: %v", err)
		<-time.After(20 * time.Millisecond)
	}
}

// outcome follows a run to its end as users do, with the pipeline's own
// client: its report, or why there is none.
func (s *stack) outcome(ctx context.Context, run string) (*ihcv1.Report, error) {
	client, err := stream.New(ctx, s.nc, stream.Options{Stage: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		report *ihcv1.Report
		err    error
	}
	ends := make(chan end, 3)
	go func() {
		err := client.Follow(ctx, run, func(e stream.StoredEvent) bool {
			switch e := e.Event.GetEvent().(type) {
			case *ihcv1.RunEvent_Reported:
				ends <- end{report: e.Reported.GetReport()}
			case *ihcv1.RunEvent_Failed:
				ends <- end{err: fmt.Errorf("failed in the %s: %s", e.Failed.GetStage(), e.Failed.GetReason())}
			case *ihcv1.RunEvent_Cancelled:
				ends <- end{err: errors.New("cancelled")}
			}
			return ctx.Err() == nil
		})
		ends <- end{err: fmt.Errorf("following: %w", err)}
	}()
	go func() {
		err := client.FollowDead(ctx, run, func(d stream.DeadLetter) bool {
			ends <- end{err: fmt.Errorf("a dead letter of the %s, %s: %s", d.Stage, d.Subject, d.Reason)}
			return false
		})
		if ctx.Err() == nil && err != nil {
			ends <- end{err: fmt.Errorf("following dead letters: %w", err)}
		}
	}()
	select {
	case e := <-ends:
		return e.report, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drained waits until no consumer of the pipeline has anything left to do.
func (s *stack) drained(ctx context.Context) error {
	for {
		idle, last := true, ""
		for _, c := range []stream.Consumer{stream.Requests, stream.Slices, stream.Chunks, stream.Scored, stream.Milestones, stream.Written} {
			info, err := func() (*jetstream.ConsumerInfo, error) {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // an answer can be lost
				defer cancel()
				h, err := s.js.Consumer(ctx, c.Stream, c.Durable)
				if err != nil {
					return nil, err
				}
				return h.Info(ctx)
			}()
			if err != nil {
				idle, last = false, err.Error()
			} else if info.NumPending > 0 || info.NumAckPending > 0 {
				idle, last = false, fmt.Sprintf("%s: %d to deliver, %d delivered and not acknowledged", c.Durable, info.NumPending, info.NumAckPending)
			}
		}
		if idle {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", ctx.Err(), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// left is what a run left behind: every table, and every file of the report
// with the paths in it made the same.
type left struct {
	tables snapshot.Tables
	files  map[string]string
}

func (s *stack) left(ctx context.Context) left {
	s.t.Helper()
	return whatIsLeft(ctx, s.t, s.db, s.out)
}

func whatIsLeft(ctx context.Context, t *testing.T, db, out string) left {
	t.Helper()
	take := snapshot.Take
	if open.IsAddress(db) {
		take = snapshot.TakePostgres
	}
	tables, err := take(ctx, db)
	require.NoError(t, err)
	l := left{tables: tables, files: map[string]string{}}
	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(out, e.Name()))
		require.NoError(t, err)
		l.files[e.Name()] = string(bytes.ReplaceAll(data, []byte(out), []byte("OUT")))
	}
	return l
}

// diff says how other differs, "" if it does not.
func (l left) diff(other left) string {
	d := l.tables.Diff(other.tables)
	names := map[string]bool{}
	for _, files := range []map[string]string{l.files, other.files} {
		for name := range files {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, inA := l.files[name]
		b, inB := other.files[name]
		switch {
		case !inA:
			d += "file " + name + " is new\n"
		case !inB:
			d += "file " + name + " is missing\n"
		case a != b:
			d += "file " + name + " differs\n"
		}
	}
	return d
}

// logs returns the last lines of every process's log, for a failed test.
func (s *stack) logs(n int) string {
	var b strings.Builder
	for _, name := range s.names() {
		fmt.Fprintf(&b, "--- %s (killed %d times)\n%s\n", name, s.procs[name].kills, tail(s.procs[name].log, n))
	}
	return b.String()
}

// tap hears every message published to the pipeline's subjects.
type tap struct {
	mu    sync.Mutex
	count map[string]int // by the kind of message: "journeys.extracted", "run.written"
	waits map[string][]callWait
}

func (p *tap) onto(t *testing.T, nc *nats.Conn) {
	t.Helper()
	p.mu.Lock()
	if p.count == nil {
		p.count, p.waits = map[string]int{}, map[string][]callWait{}
	}
	p.mu.Unlock()
	_, err := nc.Subscribe("ihc.v1.>", func(m *nats.Msg) {
		kind := strings.Join(strings.Split(m.Subject, ".")[2:4], ".")
		p.mu.Lock()
		defer p.mu.Unlock()
		p.count[kind]++
		for _, w := range p.waits[kind] {
			if w.number == p.count[kind] {
				close(w.reached)
			}
		}
	})
	require.NoError(t, err)
}

// on returns a channel that is closed when the n-th message of a kind is
// published, counted from the start of the stack.
func (p *tap) on(kind string, n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := callWait{number: n, reached: make(chan struct{})}
	if p.count == nil {
		p.count, p.waits = map[string]int{}, map[string][]callWait{}
	}
	if p.count[kind] >= n {
		close(w.reached)
		return w.reached
	}
	p.waits[kind] = append(p.waits[kind], w)
	return w.reached
}
