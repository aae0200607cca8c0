//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

// node is one NATS server: what it is called, where clients find it and how it is
// started.
type node struct {
	name, address string
	args          []string
}

// natsServers returns n servers, one alone or a cluster, over directories that
// begin so.
func natsServers(t *testing.T, n int, store string) []node {
	t.Helper()
	if n == 1 {
		address := freeport.Hold(t).String()
		return []node{{"nats", address, []string{"-dir", store, "-listen", address}}}
	}
	var nodes []node
	var routes []string
	for range n {
		routes = append(routes, freeport.Hold(t).String())
	}
	for i, route := range routes {
		name, address := fmt.Sprintf("nats-%d", i+1), freeport.Hold(t).String()
		nodes = append(nodes, node{name, address, []string{"-dir", store + "-" + name, "-listen", address,
			"-name", name, "-cluster", route, "-routes", strings.Join(routes, ",")}})
	}
	return nodes
}

func urlOf(nodes []node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, "nats://"+n.address)
	}
	return strings.Join(all, ",")
}

// victim is what can be killed, or stopped where it is, and comes back.
type victim interface {
	kill() bool
	start() error
	send(s syscall.Signal)
}

// postgres is a database server that can be killed.
type postgres struct {
	*pgtest.Server
	mu     sync.Mutex
	deaths int
}

func (p *postgres) kill() bool {
	ran := p.Kill()
	if ran {
		p.mu.Lock()
		p.deaths++
		p.mu.Unlock()
	}
	return ran
}

func (p *postgres) start() error { return p.Restart() }

func (p *postgres) send(s syscall.Signal) {
	if s == syscall.SIGSTOP {
		p.Suspend()
	} else {
		p.Resume()
	}
}

// everyNode is all NATS servers at once.
type everyNode []*process

func (n everyNode) kill() bool {
	var killed sync.WaitGroup
	for _, p := range n {
		killed.Go(func() { p.kill() })
	}
	killed.Wait()
	return true
}

func (n everyNode) start() error {
	for _, p := range n {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func (n everyNode) send(s syscall.Signal) {
	for _, p := range n {
		p.send(s)
	}
}

// victims returns whatever of the stack can be killed, by name.
func (s *stack) victims() map[string]victim {
	all := map[string]victim{}
	var nodes everyNode
	for name, p := range s.procs {
		all[name] = p
		if strings.HasPrefix(name, "nats") {
			nodes = append(nodes, p)
		}
	}
	all["every NATS server"] = nodes
	if s.pg != nil {
		all["postgres"] = s.pg
	}
	return all
}

// clusterLoad is a workload on a stack over three NATS servers.
type clusterLoad struct {
	*workload
	postgres bool

	once sync.Once
	left left // of an undisturbed run on this kind of database
}

// stack returns one, with two of each service where the database allows it, on a
// fresh copy of the shop.
func (w *clusterLoad) stack(t *testing.T, servers int, a *api) *stack {
	t.Helper()
	o := stackOptions{api: a, servers: servers, natsArgs: []string{"-sync", "0"}}
	if w.postgres {
		o.extractors, o.writers, o.reporters = 2, 2, 2
		o.pg = &postgres{Server: pgtest.Start(t, pgtest.Options{ICU: "en-US"})}
		o.db = o.pg.DSN("postgres")
		require.NoError(t, pgshop.Copy(t.Context(), w.db, o.db))
	}
	s := newStack(t, o)
	if !w.postgres {
		copyFile(t, w.db, s.db)
	}
	return s
}

// refer makes the undisturbed run, over one NATS server. What its users see is the
// same on both kinds of database.
func (w *clusterLoad) refer(t *testing.T) {
	t.Helper()
	w.workload.refer(t)
	w.once.Do(func() {
		if w.left = w.want; !w.postgres {
			return
		}
		s := w.stack(t, 1, startAPI(t, w.seed, misfits()))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s.start()
		s.request(ctx, w.request())
		_, err := s.outcome(ctx, "chaos")
		require.NoError(t, err, s.logs(20))
		require.NoError(t, s.drained(ctx))
		s.stop()
		w.left = s.left(ctx)
		users := func(name string) bool { return name == tables.CustomerJourney || name == tables.ChannelReporting }
		require.Empty(t, w.want.tables.Only(users).Diff(w.left.tables.Only(users)))
		require.Equal(t, w.want.files["channel_reporting.csv"], w.left.files["channel_reporting.csv"])
	})
	require.NotNil(t, w.left.tables, "there is no undisturbed run to compare with")
}

// blow is a death of a run, or a time that something stands still.
type blow struct {
	kill
	suspended bool
}

func (b blow) String() string {
	what := "kill"
	if b.suspended {
		what = "suspension"
	}
	return fmt.Sprintf("%s of %s %s, for %s\n", what, b.who, b.when, b.down)
}

// blows draws what a run has to bear: NATS and the database as often as all
// services together.
func blows(r *rand.Rand, s *stack, w *workload) []blow {
	var services, nodes []string
	for _, name := range s.names() {
		if strings.HasPrefix(name, "nats") {
			nodes = append(nodes, name)
		} else {
			services = append(services, name)
		}
	}
	below := slices.Concat(nodes, []string{"every NATS server"})
	if s.pg != nil {
		below = append(below, "postgres", "postgres")
	}
	all := make([]blow, 2+r.IntN(6))
	for i := range all {
		b, from := &all[i], below
		if r.IntN(2) == 0 {
			from = services
		}
		b.who = from[r.IntN(len(from))]
		b.when, b.at, _ = moment(r, w)
		if b.suspended = r.IntN(5) == 0; b.suspended {
			b.down = time.Duration(500+r.IntN(4000)) * time.Millisecond
		} else if r.IntN(3) > 0 {
			b.down = time.Duration(r.IntN(1000)) * time.Millisecond
		}
	}
	return all
}

// land deals the blows when their time comes, until over; it returns when
// everything runs again that ran before.
func (s *stack) land(ctx context.Context, all []blow, a *api) (wait func()) {
	var landing sync.WaitGroup
	victims := s.victims()
	for _, b := range all {
		at, on := b.at(ctx, s, a), victims[b.who]
		landing.Go(func() {
			select {
			case <-at:
			case <-ctx.Done():
				return // it was over before
			}
			if b.suspended {
				on.send(syscall.SIGSTOP)
				<-time.After(b.down)
				on.send(syscall.SIGCONT)
				return
			}
			on.kill()
			<-time.After(b.down)
			if err := on.start(); err != nil {
				s.t.Errorf("start %s again: %v", b.who, err)
			}
		})
	}
	return landing.Wait
}

// TestClusterRandomKills kills and suspends NATS servers, services and PostgreSQL
// at any moment, until so many were killed. Each run ends with what an undisturbed
// one on the same shop leaves.
func TestClusterRandomKills(t *testing.T) {
	wanted, first := setting(t, "CHAOS_KILLS", 200), setting(t, "CHAOS_SEED", 1)
	var loads []*clusterLoad
	for i := range uint64(3) {
		shop := &workload{seed: i + 1}
		loads = append(loads, &clusterLoad{workload: shop, postgres: true}, &clusterLoad{workload: shop})
	}
	large := &workload{seed: 7, large: true}
	loads = append(loads, &clusterLoad{workload: large, postgres: true}, &clusterLoad{workload: large})
	sum := &summary{start: time.Now()}
	t.Cleanup(func() { fmt.Println(sum) }) // for all to see, passed or not
	for seed := first; sum.kills < wanted && !t.Failed(); {
		t.Run(fmt.Sprintf("from seed %d", seed), func(t *testing.T) {
			// Most of the time is spent waiting for a new leader.
			for range setting(t, "CHAOS_PARALLEL", 8) {
				one, w := uint64(seed), loads[seed%len(loads)]
				t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
					t.Parallel()
					w.refer(t)
					oneClusterRun(t, w, one, sum)
				})
				seed++
			}
		})
	}
}

func oneClusterRun(t *testing.T, w *clusterLoad, seed uint64, sum *summary) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	a := startAPI(t, seed, faulty(misfits()))
	s := w.stack(t, 3, a)
	all := blows(r, s, w.workload)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	began := time.Now()
	s.start()
	running, over := context.WithCancel(ctx)
	wait := s.land(running, all, a)
	s.request(ctx, w.request())
	_, err := s.outcome(ctx, "chaos")
	over()
	wait()
	took := time.Since(began)
	if err == nil {
		err = s.drained(ctx)
	}
	s.stop()
	said := fmt.Sprintf("postgres: %t, %.1f s\n", w.postgres, took.Seconds())
	// Whatever was being asked, or asked and not yet published, when an attributor
	// or a NATS server was away may be asked again, and nothing else.
	allowed := s.kills("attributor")*workers + s.kills("nats")*2*workers
	for _, b := range all {
		said += b.String()
		switch {
		case b.suspended && strings.HasPrefix(b.who, "attributor"):
			allowed += workers
		case b.suspended && strings.Contains(strings.ToLower(b.who), "nats"):
			allowed += 2 * workers
		}
	}
	t.Log(said)
	if os.Getenv("CHAOS_LOGS") != "" {
		t.Log(s.logs(200))
	}
	requests, repeated := a.repeats()
	diff := ""
	if err == nil {
		diff = w.left.diff(s.left(ctx))
	}
	sum.add(s, a, took, err, diff, requests, repeated, allowed)
	require.NoError(t, err, "the run did not end well\n%s%s", said, s.logs(25))
	if diff != "" {
		t.Errorf("not what the undisturbed run left:\n%s%s%s", diff, said, s.logs(25))
	}
	if repeated > allowed {
		t.Errorf("%d requests were paid for again, with %d in flight at the most\n%s", repeated, allowed, said)
	}
	require.Zero(t, a.Stats().ContractViolations, a.Stats().Violations)
}

// All NATS servers are killed at once, in mid-run, again and again.
func TestClusterLosesEveryNodeAtOnce(t *testing.T) {
	t.Parallel()
	w := &clusterLoad{workload: calm, postgres: true}
	w.refer(t)
	a := startAPI(t, 1, misfits())
	s := w.stack(t, 3, a)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s.start()
	nodes := s.victims()["every NATS server"]
	for n, kind := range []string{"run.requested", "journeys.attributed"} {
		if n == 0 {
			s.request(ctx, w.request())
		}
		s.published(ctx, kind, 1+6*n)
		nodes.kill()
		require.NoError(t, nodes.start())
	}
	_, err := s.outcome(ctx, "chaos")
	require.NoError(t, err, s.logs(25))
	require.NoError(t, s.drained(ctx))
	s.stop()
	require.Empty(t, w.left.diff(s.left(ctx)))
	_, repeated := a.repeats()
	require.LessOrEqual(t, repeated, 6*2*workers)
}

// The disk of one server is lost, and it starts with an empty one: it is filled
// from the others, after which another server may go for good.
func TestClusterNodeLosesItsDisk(t *testing.T) {
	t.Parallel()
	w := &clusterLoad{workload: calm}
	w.refer(t)
	a := startAPI(t, 1, misfits())
	s := w.stack(t, 3, a)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s.startWithout("writer")
	s.request(ctx, w.request())
	s.published(ctx, "journeys.attributed", 5)
	s.procs["nats-1"].kill()
	require.NoError(t, os.RemoveAll(filepath.Join(s.dir, "nats-nats-1")))
	require.NoError(t, s.procs["nats-1"].start())
	s.whole(ctx)
	s.procs["nats-2"].kill()
	s.startNow("writer")
	_, err := s.outcome(ctx, "chaos")
	require.NoError(t, err, s.logs(25))
	require.NoError(t, s.drained(ctx))
	s.stop()
	require.Empty(t, w.left.diff(s.left(ctx)))
}

// whole waits until every server has all that the streams and their consumers hold.
func (s *stack) whole(ctx context.Context) {
	s.t.Helper()
	behind := func(c *jetstream.ClusterInfo) string {
		if c == nil || c.Leader == "" || len(c.Replicas) != 2 {
			return "no leader of three"
		}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				return r.Name + " is behind"
			}
		}
		return ""
	}
	lacks := func(c stream.Consumer) string {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		from, err := s.js.Stream(ctx, c.Stream)
		if err != nil {
			return err.Error()
		}
		why := behind(from.CachedInfo().Cluster)
		if why != "" || c.Durable == "" {
			return why
		}
		consumer, err := from.Consumer(ctx, c.Durable)
		if err != nil {
			return err.Error()
		}
		return behind(consumer.CachedInfo().Cluster)
	}
	for _, c := range []stream.Consumer{stream.Requests, stream.Slices, stream.Milestones, stream.Written, stream.Chunks, stream.Scored, {Stream: stream.Dead}, {Stream: "KV_" + stream.State}} {
		for why := lacks(c); why != ""; why = lacks(c) {
			select {
			case <-ctx.Done():
				require.Fail(s.t, c.Stream+" "+c.Durable+": "+why, s.logs(25))
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}
