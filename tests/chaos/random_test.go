//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// patience is how long a run may take whatever happens to it; an undisturbed
// one takes about a second where nothing else is to be done.
const patience = 4 * time.Minute

// TestRandomKills is the heart of it: runs in which anything is killed at any
// moment, each compared with the undisturbed run on the same shop.
func TestRandomKills(t *testing.T) {
	runs, first := setting(t, "CHAOS_RUNS", 200), setting(t, "CHAOS_SEED", 1)
	shops := []*workload{{seed: 7, large: true}}
	for i := range uint64(6) {
		shops = append(shops, &workload{seed: i + 1})
	}
	sum := &summary{start: time.Now()}
	t.Cleanup(func() { fmt.Println(sum) }) // for all to see, passed or not
	slots := make(chan struct{}, setting(t, "CHAOS_PARALLEL", 3))
	t.Run("runs", func(t *testing.T) {
		for i := range runs {
			seed := first + i
			t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				w := shops[seed%len(shops)]
				w.refer(t)
				oneRandomRun(t, w, uint64(seed), sum)
			})
		}
	})
}

func setting(t *testing.T, name string, value int) int {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err, name)
		return n
	}
	return value
}

// summary counts over all runs.
type summary struct {
	mu                              sync.Mutex
	start                           time.Time
	runs, kills, killedNATS         int
	killedPostgres                  int
	requests, repeated, faults      int
	mostRepeated, allowed           int
	paidAfterPublished, differences int
	longest                         time.Duration
	notEnded                        int
}

func (s *summary) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("chaos: %d runs in %.0f s (longest %.1f s), %d kills (%d of NATS, %d of PostgreSQL), %d API calls failed by the sandbox; "+
		"%d requests paid, %d of them repeated (at most %d in a run, %d allowed in all), %d after their result was published; %d runs not ended, %d differences",
		s.runs, time.Since(s.start).Seconds(), s.longest.Seconds(), s.kills, s.killedNATS, s.killedPostgres, s.faults,
		s.requests, s.repeated, s.mostRepeated, s.allowed, s.paidAfterPublished, s.notEnded, s.differences)
}

// add counts a run.
func (s *summary) add(st *stack, a *api, took time.Duration, err error, diff string, requests, repeated, allowed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	s.kills += st.kills("")
	s.killedNATS += st.kills("nats")
	if st.pg != nil {
		s.kills += st.pg.deaths
		s.killedPostgres += st.pg.deaths
	}
	s.requests += requests
	s.repeated += repeated
	s.mostRepeated = max(s.mostRepeated, repeated)
	s.allowed += allowed
	s.longest = max(s.longest, took)
	for _, n := range a.Stats().Faults {
		s.faults += n
	}
	if err != nil {
		s.notEnded++
	}
	if diff != "" {
		s.differences++
	}
}

// workload is a shop, a request, and what an undisturbed run makes of them.
type workload struct {
	seed uint64
	// large is a shop of some thousand conversions, scored by the built-in
	// model: what is killed is then in the middle of reading or writing.
	large bool

	once sync.Once
	dir  string
	db   string // the shop as it was, never run on
	want left
}

func (w *workload) request() *ihcv1.RunRequest {
	if w.large {
		return &ihcv1.RunRequest{RunId: "chaos", Model: "builtin", MaxSessions: 60}
	}
	return &ihcv1.RunRequest{RunId: "chaos", Model: "api", MaxSessions: 60, MaxJourneys: 12, LongJourneys: run.LongExclude}
}

// misfits are conversions the API always refuses or answers wrongly: what
// becomes of them must not depend on chance either.
func misfits() sandbox.Faults {
	return sandbox.Faults{
		Latency: sandbox.Duration(2 * time.Millisecond), Jitter: sandbox.Duration(15 * time.Millisecond),
		Poison: []string{"o_000000003*"}, Partial: []string{"o_000000011*"},
		Spoil: map[string]string{"o_000000017*": "sum", "o_000000023*": "missing"}, Shuffle: true,
	}
}

// faulty adds every passing fault there is to a fifth of the calls.
func faulty(f sandbox.Faults) sandbox.Faults {
	f.Rate429, f.Rate5xx, f.Rate500In200, f.RateCutOff, f.RateReset, f.RateSlow = 0.04, 0.05, 0.04, 0.03, 0.03, 0.01
	f.SlowDelay = sandbox.Duration(apiTimeout + time.Second)
	return f
}

// refer makes the shop and runs it undisturbed, once.
func (w *workload) refer(t *testing.T) {
	t.Helper()
	w.once.Do(func() {
		var err error
		w.dir, err = os.MkdirTemp("", "ihc-chaos-shop-") //nolint:usetesting // shared by many tests
		require.NoError(t, err)
		w.db = filepath.Join(w.dir, "shop.db")
		size := shop.Config{Seed: w.seed, Sessions: 700, Conversions: 90, MaxJourney: 90}
		if w.large {
			size.Sessions, size.Conversions = 25_000, 3_000
		}
		_, err = sqlite.GenerateShop(t.Context(), w.db, size, false)
		require.NoError(t, err)
		a := startAPI(t, w.seed, misfits())
		s := newStack(t, stackOptions{api: a})
		copyFile(t, w.db, s.db)
		s.start()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s.request(ctx, w.request())
		report, err := s.outcome(ctx, "chaos")
		require.NoError(t, err, "the undisturbed run")
		require.NoError(t, s.drained(ctx))
		s.stop()
		for _, e := range report.GetReconciliation() {
			require.True(t, e.GetHolds(), e.GetDescription())
		}
		c := report.GetCounts()
		if !w.large {
			require.EqualValues(t, 4, c.GetFailed(), "one conversion for each way to be a misfit")
		}
		require.Equal(t, !w.large, c.GetExcluded() > 0, "nothing is too long for the built-in model")
		require.Positive(t, c.GetWithoutSessions())
		_, repeated := a.repeats()
		require.Zero(t, repeated)
		w.want = s.left(ctx)
		t.Logf("shop %d: %v, %d requests", w.seed, c, report.GetRequests())
	})
	require.NotNil(t, w.want.tables, "there is no undisturbed run to compare with")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

// kill is one death of a run: of whom, when, and for how long.
type kill struct {
	who  string
	when string // for people
	at   func(ctx context.Context, s *stack, a *api) <-chan struct{}
	down time.Duration
}

// plan draws the deaths of a run: some at a moment, some at a place.
func plan(r *rand.Rand, names []string, w *workload) []kill {
	kills := make([]kill, 1+r.IntN(6))
	for i := range kills {
		k := &kills[i]
		k.who = names[r.IntN(len(names))]
		if r.IntN(3) > 0 {
			k.down = time.Duration(r.IntN(300)) * time.Millisecond
		}
		var sweep bool
		if k.when, k.at, sweep = moment(r, w); sweep {
			k.who = "writer-1"
		}
	}
	return kills
}

// moment draws when something happens to a run; in the sweep is about when the
// writer shows what is complete.
func moment(r *rand.Rand, w *workload) (when string, at func(context.Context, *stack, *api) <-chan struct{}, sweep bool) {
	chunks := len(w.want.tables["pipeline_chunks"])
	events := []string{"run.accepted", "run.extracted", "run.written", "run.reported"}
	after := func(d time.Duration, start <-chan struct{}) <-chan struct{} {
		c := make(chan struct{})
		go func() {
			<-start
			time.AfterFunc(d, func() { close(c) })
		}()
		return c
	}
	message := func(kind string, n int) (string, func(context.Context, *stack, *api) <-chan struct{}, bool) {
		return fmt.Sprintf("at %s %d", kind, n), func(_ context.Context, s *stack, _ *api) <-chan struct{} { return s.tap.on(kind, n) }, false
	}
	switch at := r.IntN(7); at {
	case 6:
		d := time.Duration(r.IntN(60)) * time.Millisecond
		return fmt.Sprintf("%s after the last result", d), func(_ context.Context, s *stack, _ *api) <-chan struct{} {
			return after(d, s.tap.on("journeys.attributed", chunks))
		}, true
	case 0, 1:
		d := time.Duration(r.IntN(1500)) * time.Millisecond
		return "after " + d.String(), func(context.Context, *stack, *api) <-chan struct{} {
			now := make(chan struct{})
			close(now)
			return after(d, now)
		}, false
	case 2:
		if w.large {
			return message("journeys.attributed", 1+r.IntN(1000))
		}
		n := 1 + r.IntN(60)
		return fmt.Sprintf("at API call %d", n), func(_ context.Context, _ *stack, a *api) <-chan struct{} { return a.onCall(n) }, false
	default:
		kind, n := "journeys.extracted", 1+r.IntN(40)
		if w.large {
			n *= 25
		}
		switch at {
		case 3:
			kind = "journeys.attributed"
		case 4:
			kind, n = events[r.IntN(len(events))], 1
		}
		return message(kind, n)
	}
}

func oneRandomRun(t *testing.T, w *workload, seed uint64, sum *summary) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	a := startAPI(t, seed, faulty(misfits()))
	var o stackOptions
	if o.api = a; seed%2 == 0 { // as a stack's server does; the other half as `ihc run` without a data directory
		o.natsArgs = []string{"-sync", "0"}
	}
	s := newStack(t, o)
	copyFile(t, w.db, s.db)
	kills := plan(r, s.names(), w)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	s.start()
	running, over := context.WithCancel(ctx)
	var deaths sync.WaitGroup
	for _, k := range kills {
		at := k.at(ctx, s, a)
		deaths.Go(func() {
			select {
			case <-at:
			case <-running.Done():
				return // it was over before
			}
			s.procs[k.who].kill()
			<-time.After(k.down)
			if err := s.procs[k.who].start(); err != nil {
				t.Errorf("start %s again: %v", k.who, err)
			}
		})
	}
	s.request(ctx, w.request())
	_, err := s.outcome(ctx, "chaos")
	over()
	deaths.Wait()
	took := time.Since(began)
	if err == nil && r.IntN(4) == 0 { // what is still in the streams changes nothing either
		for _, p := range s.procs {
			p.kill()
		}
		for _, name := range s.names() {
			require.NoError(t, s.procs[name].start())
		}
		err = s.drained(ctx)
	}
	published := map[string]time.Time{}
	if err == nil {
		published, err = resultTimes(ctx, s.js)
	}
	s.stop()
	describe := func() string {
		var b strings.Builder
		for _, k := range kills {
			fmt.Fprintf(&b, "kill of %s %s, down for %s\n", k.who, k.when, k.down)
		}
		return b.String()
	}
	t.Logf("%.1f s\n%s", took.Seconds(), describe())
	if os.Getenv("CHAOS_LOGS") != "" {
		t.Log(s.logs(200))
	}
	requests, repeated := a.repeats()
	late := paidLate(a, published)
	// Whatever was being asked, or asked and not yet published, when an
	// attributor or the server died may be asked again, and nothing else.
	allowed := s.kills("attributor")*workers + s.kills("nats")*2*workers
	diff := ""
	if err == nil {
		diff = w.want.diff(s.left(ctx))
	}
	sum.add(s, a, took, err, diff, requests, repeated, allowed)
	sum.mu.Lock()
	sum.paidAfterPublished += len(late)
	sum.mu.Unlock()
	if err != nil {
		t.Fatalf("the run did not end well: %v\n%s%s", err, describe(), s.logs(25))
	}
	if diff != "" {
		t.Errorf("not what the undisturbed run left:\n%s%s%s", diff, describe(), s.logs(25))
	}
	if repeated > allowed {
		t.Errorf("%d requests were paid for again, with %d in flight at crashes at the most\n%s", repeated, allowed, describe())
	}
	if len(late) > 0 {
		t.Errorf("requests were sent again although their results were published: %s\n%s", strings.Join(late, "; "), describe())
	}
	require.Zero(t, a.Stats().ContractViolations, a.Stats().Violations)
}

// resultTimes returns when the first result of each conversion was published.
func resultTimes(ctx context.Context, js jetstream.JetStream) (map[string]time.Time, error) {
	times := map[string]time.Time{}
	consumer, err := js.OrderedConsumer(ctx, stream.Results, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, err
	}
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := consumer.Fetch(int(left), jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			return nil, err
		}
		for m := range batch.Messages() {
			left--
			var r ihcv1.AttributionResult
			if err := proto.Unmarshal(m.Data(), &r); err != nil {
				return nil, err
			}
			meta, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			for _, x := range r.GetAttributions() {
				if _, known := times[x.GetConvId()]; !known {
					times[x.GetConvId()] = meta.Timestamp
				}
			}
		}
		if err := batch.Error(); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// paidLate lists paid calls about conversions whose result had been published
// well before: long enough for the attributor to have seen it.
func paidLate(a *api, published map[string]time.Time) []string {
	const glance = ackWait / 2 // between the look at the stream and the call
	a.mu.Lock()
	defer a.mu.Unlock()
	var late []string
	for _, c := range a.paid {
		for _, conv := range c.convs {
			if at, known := published[conv]; known && c.at.Sub(at) > glance {
				late = append(late, fmt.Sprintf("%s asked about %.0f ms after", conv, float64(c.at.Sub(at).Milliseconds())))
				break
			}
		}
	}
	return late
}
