package deploy_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/deploy/internal/credentials"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/services/writer"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// stack is a NATS server with the configuration the containers run with, and
// the credentials the steward made.
type stack struct {
	url, credentials string
	opts             *server.Options
	tls              bool // clients show the certificates they were given

	mu        sync.Mutex
	complaint []string // violations any of its clients was told of
}

func newStack(t *testing.T) *stack { return newStackOf(t, "nats.conf") }

// newStackOf starts one with another configuration, which includes nats.conf,
// after its options were looked at.
func newStackOf(t *testing.T, main string, look ...func(*server.Options)) *stack {
	t.Helper()
	etc := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(etc, "credentials"), 0o755))
	s := &stack{credentials: t.TempDir()}
	for _, user := range append([]string{"nats"}, credentials.Users...) {
		require.NoError(t, os.Mkdir(filepath.Join(s.credentials, user), 0o755))
	}
	require.NoError(t, credentials.Certify(s.credentials, os.Getgid(), []string{"nats", "127.0.0.1"}, time.Now()))
	require.NoError(t, credentials.Draw(s.credentials, os.Getgid()))
	for _, name := range []string{"nats.conf", "nats.tls.conf", main} { // which may include the others
		conf := strings.ReplaceAll(text(t, name), "/etc/nats/credentials", filepath.Join(s.credentials, "nats"))
		require.NoError(t, os.WriteFile(filepath.Join(etc, name), []byte(conf), 0o600))
	}
	// The include is relative to the configuration, as in the container.
	require.NoError(t, os.Remove(filepath.Join(etc, "credentials")))
	require.NoError(t, os.Symlink(filepath.Join(s.credentials, "nats"), filepath.Join(etc, "credentials")))

	opts, err := server.ProcessConfigFile(filepath.Join(etc, main))
	require.NoError(t, err)
	for _, l := range look {
		l(opts)
	}
	opts.Host, opts.Port, opts.HTTPPort = "127.0.0.1", server.RANDOM_PORT, 0
	opts.StoreDir, opts.SyncAlways = t.TempDir(), false // that is for power failures
	opts.NoSigs, opts.NoLog = true, true
	ns, err := server.NewServer(opts)
	require.NoError(t, err)
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	require.True(t, ns.ReadyForConnections(time.Minute))
	s.url, s.opts, s.tls = "nats://"+ns.Addr().String(), opts, opts.TLSConfig != nil
	return s
}

func (s *stack) address(user string) stream.Address {
	a := stream.Address{URL: s.url, User: user, PasswordFile: filepath.Join(s.credentials, user, "password")}
	if s.tls {
		own := filepath.Join(s.credentials, user)
		a.TLS = stream.TLS{CA: filepath.Join(own, "ca.pem"), Cert: filepath.Join(own, "cert.pem"), Key: filepath.Join(own, "key.pem")}
	}
	return a
}

// log returns a logger that keeps what clients report of violations.
func (s *stack) log(user string) *slog.Logger {
	return slog.New(listener{slog.DiscardHandler, s, user})
}

type listener struct {
	slog.Handler
	s    *stack
	user string
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }
func (l listener) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l listener) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if text := a.Value.String(); strings.Contains(strings.ToLower(text), "violation") {
			l.s.mu.Lock()
			defer l.s.mu.Unlock()
			l.s.complaint = append(l.s.complaint, l.user+": "+text)
		}
		return true
	})
	return nil
}

func (s *stack) complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.complaint
}

// client returns a client of the streams as a user.
func (s *stack) client(ctx context.Context, t *testing.T, user string) *stream.Client {
	t.Helper()
	nc, err := stream.Dial(s.address(user), user, s.log(user), false)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	if user == stream.UserInit {
		settings := stream.DefaultSettings()
		settings.AckWait = 500 * time.Millisecond
		require.NoError(t, stream.EnsureOn(ctx, nc, settings))
	}
	c, err := stream.New(ctx, nc, stream.Options{Stage: user, Instance: "1", Log: s.log(user)})
	require.NoError(t, err)
	return c
}

// start runs a service as its user until stop is called.
func start[C any](t *testing.T, s *stack, stage string, cfg C, serve func(context.Context, C, service.Deps) error) (stop func()) {
	t.Helper()
	bus := s.client(t.Context(), t, stage)
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error {
		return serve(ctx, cfg, service.Deps{Bus: bus, Log: s.log(stage), Metrics: prometheus.NewRegistry()})
	})
	stop = sync.OnceFunc(func() { cancel(); _ = group.Wait() })
	t.Cleanup(stop)
	return stop
}

// Everything the pipeline does, done with no more than what each user may do:
// runs over the built-in model and over the API, with chunks divided, a budget
// that runs out and is raised, both replays, a cancellation, a dead letter put
// back, a stage that was away.
func TestUsersMayDoTheirWork(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	require.NoError(t, s.client(t.Context(), t, stream.UserInit).Check(t.Context())) // makes the streams, and is ready
	dir := t.TempDir()
	db := filepath.Join(dir, "ihc.db")
	_, err := sqlite.GenerateShop(t.Context(), db, shop.Config{Sessions: 600}, false)
	require.NoError(t, err)
	api, err := sandbox.New(sandbox.Config{Faults: sandbox.Faults{Poison: []string{"o_00000002*"}}})
	require.NoError(t, err)
	web := httptest.NewServer(api)
	t.Cleanup(web.Close)

	start(t, s, stream.StageExtractor, extractor.Config{Database: db}, extractor.Run)
	start(t, s, stream.StageReporter, reporter.Config{Database: db, Out: dir}, reporter.Run)
	start(t, s, stream.StageWriter, writer.Config{Database: db, Batch: 8}, writer.Run)
	scoring := attributor.Config{Workers: 2, APIURL: web.URL + "/v1", APIKey: "k", ConvTypeID: "c", Timeout: 10 * time.Second}
	stopAttributor := start(t, s, stream.StageAttributor, scoring, attributor.Run)
	ihc := s.client(t.Context(), t, "ihc")

	ended := func(id string) *ihcv1.RunEvent {
		t.Helper()
		var end *ihcv1.RunEvent
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		err := ihc.Follow(ctx, id, func(e stream.StoredEvent) bool {
			switch e.Event.GetEvent().(type) {
			case *ihcv1.RunEvent_Reported, *ihcv1.RunEvent_Failed, *ihcv1.RunEvent_Cancelled, *ihcv1.RunEvent_Paused:
				end = e.Event
				return false
			}
			return true
		})
		require.NoError(t, err, "%s: %v", id, s.complaints())
		return end
	}
	reported := func(req *ihcv1.RunRequest) *ihcv1.Report {
		t.Helper()
		require.NoError(t, ihc.PublishRequest(t.Context(), req))
		e := ended(req.GetRunId())
		require.NotNil(t, e.GetReported(), "%v %v", e, s.complaints())
		return e.GetReported().GetReport()
	}
	first := reported(&ihcv1.RunRequest{RunId: "builtin", Model: run.ModelBuiltin})
	require.Positive(t, first.GetCounts().GetAttributed())
	_, err = ihc.Progress(t.Context(), "builtin")
	require.NoError(t, err)
	require.Positive(t, reported(&ihcv1.RunRequest{RunId: "api", Model: run.ModelAPI}).GetCounts().GetFailed(), "the poisoned conversions")
	reported(&ihcv1.RunRequest{RunId: "again", ReplayOf: "builtin", ReplayFrom: run.FromJourneys})
	require.Zero(t, reported(&ihcv1.RunRequest{RunId: "stored", ReplayOf: "api", ReplayFrom: run.FromResults}).GetCounts().GetExcluded()-first.GetCounts().GetExcluded())

	// An API that fails now and then, so that chunks are delivered again and again.
	require.NoError(t, api.SetFaults(sandbox.Faults{Rate5xx: 0.4, Rate429: 0.2}))
	reported(&ihcv1.RunRequest{RunId: "flaky", Model: run.ModelAPI, MaxJourneys: 5, Full: true})
	require.NoError(t, api.SetFaults(sandbox.Faults{}))

	// A budget, its end and its rise.
	require.NoError(t, ihc.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "budget", Model: run.ModelAPI, MaxRequests: 1, MaxJourneys: 10, Full: true}))
	require.NotNil(t, ended("budget").GetPaused())
	require.NoError(t, ihc.PublishEvent(t.Context(), &ihcv1.RunEvent{RunId: "budget", Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{}}}))
	waitFor(t, ihc, "budget", func(e *ihcv1.RunEvent) bool { return e.GetReported() != nil })

	// A cancellation while nobody scores.
	stopAttributor()
	require.NoError(t, ihc.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "cancelled", Full: true}))
	waitFor(t, ihc, "cancelled", func(e *ihcv1.RunEvent) bool { return e.GetExtracted() != nil })
	require.NoError(t, ihc.PublishEvent(t.Context(), &ihcv1.RunEvent{RunId: "cancelled", Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}}))
	start(t, s, stream.StageAttributor, scoring, attributor.Run)
	require.NotNil(t, ended("cancelled").GetCancelled())

	// A request nobody can read: a dead letter, that is put back, read again
	// as badly, and removed.
	nc := s.connect(t, "ihc")
	require.NoError(t, nc.Publish(stream.SubjectRunRequested, []byte(`{"start":1}`)))
	letter := s.deadLetter(t, ihc, 0)
	require.NoError(t, ihc.Requeue(t.Context(), letter))
	letter = s.deadLetter(t, ihc, letter.Sequence)
	require.NoError(t, ihc.Purge(t.Context(), letter))

	require.Empty(t, s.complaints())
}

func waitFor(t *testing.T, c *stream.Client, id string, do func(*ihcv1.RunEvent) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	require.NoError(t, c.Follow(ctx, id, func(e stream.StoredEvent) bool { return !do(e.Event) }))
}

// deadLetter waits for the first one after a place in their stream.
func (s *stack) deadLetter(t *testing.T, c *stream.Client, after uint64) (found stream.DeadLetter) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := c.DeadLetters(t.Context(), "*", func(d stream.DeadLetter) error {
			if d.Sequence > after {
				found = d
			}
			return nil
		})
		return err == nil && found.Sequence > after
	}, 30*time.Second, 10*time.Millisecond, "%v", s.complaints())
	return found
}

// connect returns a plain connection of a user.
func (s *stack) connect(t *testing.T, user string) *nats.Conn {
	t.Helper()
	nc, err := stream.Dial(s.address(user), user, s.log(user), false)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// What nats.conf grants follows from the table of the streams: no more, no less.
func TestUsersHaveTheRightsTheTableGivesThem(t *testing.T) {
	t.Parallel()
	opts := newStack(t).opts
	var names []string
	for _, u := range opts.Users {
		names = append(names, u.Username)
		if u.Username == stream.UserAdmin {
			require.Nil(t, u.Permissions, "admin may do everything")
			continue
		}
		want := stream.RightsOf(u.Username)
		require.ElementsMatch(t, want.Publish, u.Permissions.Publish.Allow, "what %s may publish to", u.Username)
		require.ElementsMatch(t, want.Deny, u.Permissions.Publish.Deny, "what %s may not publish to", u.Username)
		require.ElementsMatch(t, want.Subscribe, u.Permissions.Subscribe.Allow, "what %s may listen to", u.Username)
		require.Empty(t, u.Permissions.Subscribe.Deny)
		require.Equal(t, want.Respond, u.Permissions.Response != nil, "whether %s may answer", u.Username)
	}
	require.ElementsMatch(t, credentials.Users, names)
}

func TestNobodyGetsInWithoutCredentials(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for _, opts := range [][]nats.Option{
		nil,
		{nats.UserInfo("reporter", "")},
		{nats.UserInfo("reporter", "reporter")},
		{nats.UserInfo("nobody", "nothing")},
	} {
		_, err := nats.Connect(s.url, opts...)
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
}

// What is not for every day, and what would be more than users need.
func TestUsersMayDoThisMuch(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.client(t.Context(), t, stream.UserInit) // makes the streams
	own := "$JS.API.CONSUMER.DELETE.IHC_RUNS.mine"
	allowed := map[string][]string{
		"extractor":  {"ihc.v1.run.failed.x", "ihc.v1.dead.extractor.x", "$KV.IHC_STATE.crash.extractor.1", "$JS.API.CONSUMER.DELETE.IHC_JOURNEYS.mine", own},
		"attributor": {"ihc.v1.run.failed.x", "ihc.v1.dead.attributor.x", "$KV.IHC_STATE.crash.attributor.1", own},
		"writer": {"ihc.v1.run.failed.x", "ihc.v1.dead.writer.x", "$KV.IHC_STATE.crash.writer.1", "$KV.IHC_STATE.crash.writer-runs.1",
			"$JS.API.CONSUMER.DELETE.IHC_RESULTS.mine", own},
		"reporter": {"ihc.v1.run.failed.x", "ihc.v1.dead.reporter.x", "$KV.IHC_STATE.crash.reporter.1", "$KV.IHC_STATE.progress.x.reporter.1"},
		"ihc":      {"ihc.v1.journeys.extracted.x.1", "ihc.v1.journeys.attributed.x.1", "ihc.v1.run.written.x", own},
		"console":  {"ihc.v1.run.requested", "ihc.v1.run.cancelled.x", "ihc.v1.run.resumed.x", own},
		"init":     {"$JS.API.STREAM.UPDATE.IHC_RUNS", "$JS.API.CONSUMER.CREATE.IHC_RUNS.extractor"},
		"admin":    {"elsewhere", "$JS.API.STREAM.PURGE.IHC_DEAD"},
	}
	for user, subjects := range allowed {
		nc := s.connect(t, user)
		for _, subject := range subjects {
			require.NoError(t, nc.Publish(subject, nil))
		}
		require.NoError(t, nc.Flush())
		require.NoError(t, nc.LastError(), user)
	}
	forbidden := map[string][]string{
		"extractor": {"ihc.v1.run.requested", "ihc.v1.run.written.x", "ihc.v1.run.reported.x", "ihc.v1.run.cancelled.x", "ihc.v1.journeys.attributed.x.1", "ihc.v1.dead.writer.x",
			"$JS.API.STREAM.DELETE.IHC_RUNS", "$JS.API.STREAM.PURGE.IHC_RUNS", "$JS.API.CONSUMER.DELETE.IHC_RESULTS.writer",
			"$JS.API.STREAM.UPDATE.IHC_RUNS", "$JS.API.STREAM.CREATE.IHC_RUNS", "$JS.API.CONSUMER.CREATE.IHC_RUNS.extractor",
			"$JS.API.CONSUMER.MSG.NEXT.IHC_RESULTS.writer", "$JS.ACK.IHC_RESULTS.writer.1.1.1.1.1", "$KV.IHC_STATE.progress.x.writer.1"},
		"attributor": {"ihc.v1.run.requested", "ihc.v1.run.accepted.x", "ihc.v1.run.extracted.x", "ihc.v1.run.reported.x", "ihc.v1.journeys.extracted.x.1", "ihc.v1.dead.writer.x",
			"$JS.API.CONSUMER.CREATE.IHC_RUNS.extractor", "$JS.API.CONSUMER.CREATE.IHC_RUNS.extractor.ihc.v1.run.failed.*", "$JS.API.CONSUMER.CREATE.IHC_RESULTS.mine", "$JS.API.CONSUMER.DURABLE.CREATE.IHC_RUNS.extractor",
			"$JS.API.CONSUMER.MSG.NEXT.IHC_RUNS.extractor", "$JS.API.CONSUMER.MSG.NEXT.IHC_RESULTS.writer", "$JS.API.CONSUMER.DELETE.IHC_RUNS.reporter",
			"$JS.API.STREAM.UPDATE.IHC_JOURNEYS", "$JS.API.STREAM.CREATE.MINE", "$JS.ACK.IHC_RUNS.extractor.1.1.1.1.1", "$KV.IHC_STATE.progress.x.writer.1"},
		"writer": {"ihc.v1.run.requested", "ihc.v1.run.accepted.x", "ihc.v1.run.reported.x", "ihc.v1.journeys.extracted.x.1", "ihc.v1.journeys.attributed.x.1",
			"$JS.API.CONSUMER.CREATE.IHC_JOURNEYS.mine", "$JS.API.CONSUMER.MSG.NEXT.IHC_JOURNEYS.attributor", "$JS.API.CONSUMER.MSG.NEXT.IHC_RUNS.extractor",
			"$JS.API.CONSUMER.CREATE.IHC_RESULTS.writer", "$JS.API.STREAM.MSG.DELETE.IHC_RESULTS", "$JS.ACK.IHC_RUNS.reporter.1.1.1.1.1"},
		"reporter": {"ihc.v1.run.requested", "ihc.v1.run.accepted.x", "ihc.v1.run.written.x", "ihc.v1.journeys.extracted.x.1", "ihc.v1.journeys.attributed.x.1", "ihc.v1.dead.writer.x",
			"$JS.API.CONSUMER.CREATE.IHC_RUNS.mine", "$JS.API.CONSUMER.CREATE.IHC_JOURNEYS.mine", "$JS.API.CONSUMER.MSG.NEXT.IHC_JOURNEYS.attributor", "$JS.API.CONSUMER.MSG.NEXT.IHC_RUNS.writer-runs",
			"$JS.API.DIRECT.GET.IHC_JOURNEYS.ihc.v1.journeys.extracted.x.1", "$JS.API.STREAM.DELETE.IHC_JOURNEYS", "$KV.IHC_STATE.part.x"},
		"ihc": {"ihc.v1.run.reported.x", "ihc.v1.dead.writer.x", "$JS.API.STREAM.DELETE.IHC_RUNS", "$JS.API.STREAM.PURGE.IHC_RUNS", "$JS.API.STREAM.UPDATE.IHC_RUNS", "$JS.API.STREAM.CREATE.MINE",
			"$JS.API.STREAM.MSG.DELETE.IHC_RUNS", "$JS.API.CONSUMER.DELETE.IHC_JOURNEYS.attributor", "$JS.API.CONSUMER.MSG.NEXT.IHC_JOURNEYS.attributor",
			"$JS.ACK.IHC_JOURNEYS.attributor.1.1.1.1.1", "$KV.IHC_STATE.budget.x"},
	}
	forbidden["console"] = []string{"ihc.v1.run.accepted.x", "ihc.v1.run.failed.x", "ihc.v1.run.reported.x", "ihc.v1.journeys.extracted.x.1", "ihc.v1.journeys.attributed.x.1",
		"ihc.v1.dead.writer.x", "$JS.API.STREAM.PURGE.IHC_RESULTS", "$JS.API.STREAM.MSG.DELETE.IHC_DEAD", "$JS.API.STREAM.DELETE.IHC_RUNS", "$JS.API.STREAM.UPDATE.IHC_RUNS",
		"$JS.API.CONSUMER.CREATE.IHC_JOURNEYS.mine", "$JS.API.CONSUMER.MSG.NEXT.IHC_RESULTS.writer", "$JS.API.CONSUMER.DELETE.IHC_RUNS.extractor", "$KV.IHC_STATE.budget.x"}
	forbidden["init"] = []string{"ihc.v1.run.requested", "ihc.v1.run.failed.x", "$JS.API.STREAM.DELETE.IHC_RUNS", "$JS.API.STREAM.PURGE.IHC_RUNS",
		"$JS.API.STREAM.CREATE.MINE", "$JS.API.CONSUMER.CREATE.IHC_RUNS.mine", "$JS.API.CONSUMER.MSG.NEXT.IHC_RUNS.extractor",
		"$JS.API.DIRECT.GET.IHC_RUNS.x", "$KV.IHC_STATE.budget.x"}
	for user, subjects := range forbidden {
		for _, subject := range append(subjects, "$SYS.REQ.SERVER.PING", "_INBOX.other.1", "elsewhere") {
			nc := s.connect(t, user)
			require.NoError(t, nc.Publish(subject, nil))
			require.NoError(t, nc.Flush())
			require.ErrorIs(t, nc.LastError(), nats.ErrPermissionViolation, "%s may publish to %s", user, subject)
			nc.Close()
		}
		listen := []string{"$KV.>", "$JS.>", ">"}
		if user != "ihc" {
			listen = append(listen, "ihc.v1.>", "ihc.v1.run.requested", "_INBOX.>", "_INBOX.ihc.>")
		}
		for _, subject := range listen {
			nc := s.connect(t, user)
			_, err := nc.SubscribeSync(subject)
			require.NoError(t, err)
			require.NoError(t, nc.Flush())
			require.ErrorIs(t, nc.LastError(), nats.ErrPermissionViolation, "%s may listen to %s", user, subject)
			nc.Close()
		}
	}
}

// A message that carries the header of a roll-up takes the place of all before
// it, of one subject or of the whole stream: whoever may publish one may then
// empty the stream.
func TestNobodyEmptiesAStreamByRollingItUp(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.client(t.Context(), t, stream.UserInit) // makes the streams
	nc := s.connect(t, stream.UserAdmin)
	for name, subject := range map[string]string{
		"IHC_RUNS": "ihc.v1.run.failed.x", "IHC_JOURNEYS": "ihc.v1.journeys.extracted.x.1", "IHC_RESULTS": "ihc.v1.journeys.attributed.x.1",
		"IHC_DEAD": "ihc.v1.dead.extractor.x", "KV_IHC_STATE": "$KV.IHC_STATE.budget.x",
	} {
		for _, what := range []string{"all", "sub"} {
			m := nats.NewMsg(subject)
			m.Header.Set("Nats-Rollup", what)
			answer, err := nc.RequestMsg(m, time.Minute)
			require.NoError(t, err)
			require.Contains(t, string(answer.Data), "rollup not permitted", "%s by %s", name, what)
		}
	}
}
