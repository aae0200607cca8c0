package embedded

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/leak"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience bounds every wait for a condition.
const patience = 5 * time.Minute

// up is a pipeline with its health served.
type up struct {
	*Pipeline
	t    *testing.T
	db   string
	http string
}

func start(t *testing.T, change func(*Config)) *up {
	t.Helper()
	u := &up{t: t, db: filepath.Join(t.TempDir(), "shop.db"), http: freeport.Hold(t).String()}
	c, err := FromEnv(attributor.Config{Workers: 2, Timeout: 10 * time.Second})
	require.NoError(t, err)
	require.NoError(t, c.At(u.db, filepath.Dir(u.db)))
	c.Dir, c.HTTP = t.TempDir(), u.http
	if change != nil {
		change(&c)
	}
	u.Pipeline, _, err = Start(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(u.Stop)
	return u
}

func (u *up) shop() {
	u.t.Helper()
	made := filepath.Join(u.t.TempDir(), "made.db")
	_, err := sqlite.GenerateShop(u.t.Context(), made, shop.Config{Sessions: 300}, false)
	require.NoError(u.t, err)
	require.NoError(u.t, os.Rename(made, u.db))
}

// ready returns what /readyz says.
func (u *up) ready() string {
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + u.http + "/readyz")
	if err != nil {
		return errors.Unwrap(err).Error() // without the address, which says ready
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(u.t, err)
	require.Equal(u.t, resp.StatusCode == http.StatusOK, string(body) == "ready\n", string(body))
	return string(body)
}

// says waits until a line of what /readyz says has all of the texts.
func (u *up) says(texts ...string) {
	u.t.Helper()
	u.comesToSay(func(said string) bool {
		for line := range strings.Lines(said) {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				return true
			}
		}
		return false
	}, texts)
}

func (u *up) comesToSay(is func(string) bool, what any) {
	u.t.Helper()
	var last atomic.Value
	if !assert.Eventually(u.t, func() bool { last.Store(u.ready()); return is(last.Load().(string)) }, patience, 10*time.Millisecond) {
		require.FailNow(u.t, "not said", "%v; but %v", what, last.Load())
	}
}

func (u *up) waitsFor(stage, text string) {
	u.t.Helper()
	u.runWaitsFor("run", stage, text)
}

func (u *up) runWaitsFor(run, stage, text string) {
	u.t.Helper()
	require.Eventually(u.t, func() bool {
		p, err := u.Client.Progress(u.t.Context(), run)
		return err == nil && strings.Contains(p[stage].GetWaiting(), text) && (text != "" || p[stage].GetWaiting() == "")
	}, patience, 10*time.Millisecond)
}

func (u *up) request(r *ihcv1.RunRequest) {
	u.t.Helper()
	r.RunId = "run"
	require.NoError(u.t, u.Client.PublishRequest(u.t.Context(), r))
}

func (u *up) reported() {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), patience)
	defer cancel()
	require.NoError(u.t, u.Client.Follow(ctx, "run", func(e stream.StoredEvent) bool { return e.Event.GetReported() == nil }))
}

func TestMissingDatabaseIsToldBeforeAnyRun(t *testing.T) {
	u := start(t, nil)
	for _, stage := range []string{stream.StageExtractor, stream.StageWriter, stream.StageReporter} {
		u.says(stage + " database: no database at")
	}
	u.comesToSay(func(said string) bool { return !strings.Contains(said, stream.StageAttributor) }, "nothing of the "+stream.StageAttributor)
	u.shop()
	u.says("ready")
	require.NoError(t, os.WriteFile(u.db, []byte("this is no database, and never was one"), 0o600))
	u.says("is no SQLite database")
}

func TestLockedDatabaseIsToldAndWaitedFor(t *testing.T) {
	u := start(t, nil)
	u.shop()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("BEGIN EXCLUSIVE")
	require.NoError(t, err)
	u.says("is locked by another program")
	// A run that begins now says it too, and goes on once the lock is gone.
	require.NoError(t, u.Client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "early"}))
	u.runWaitsFor("early", stream.StageExtractor, "is locked by another program")
	_, err = db.Exec("ROLLBACK")
	require.NoError(t, err)
	require.NotNil(t, u.ends("early").GetReported())
	u.says("ready")

	// One that can be read and not written is told by whoever has to write.
	u.request(&ihcv1.RunRequest{})
	u.reported()
	_, err = db.Exec("BEGIN IMMEDIATE")
	require.NoError(t, err)
	require.NoError(t, u.Client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "again", ReplayOf: "run", ReplayFrom: run.FromResults}))
	u.says("writer work: ", "is locked by another program")
	require.NoError(t, u.Client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "another"}))
	u.runWaitsFor("another", stream.StageExtractor, "waiting to write to the database")
	_, err = db.Exec("ROLLBACK")
	require.NoError(t, err)
	u.says("ready")
}

func TestAnAPIThatIsAwayIsTold(t *testing.T) {
	answering := make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-answering:
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer api.Close()
	u := start(t, func(c *Config) {
		c.Attributor.APIKey, c.Attributor.APIURL, c.Attributor.ConvTypeID = "key", api.URL, "type"
	})
	u.shop()
	u.says("ready")
	u.request(&ihcv1.RunRequest{Model: run.ModelAPI})
	u.says("attributor work: ")
	u.waitsFor(stream.StageAttributor, "503")
	require.NoError(t, u.Client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "behind-it", Model: run.ModelAPI}))
	u.runWaitsFor("behind-it", stream.StageAttributor, "503")
	close(answering)
	u.says("ready") // the run failed, and with it ends the waiting
	u.waitsFor(stream.StageAttributor, "")
	u.runWaitsFor("behind-it", stream.StageAttributor, "")
}

func TestAFullStreamIsTold(t *testing.T) {
	t.Setenv("IHC_STREAM_MAX_BYTES", "1500")
	u := start(t, nil)
	u.shop()
	u.says("ready")
	u.request(&ihcv1.RunRequest{MaxJourneys: 2})
	u.says("nats: NATS does not take a message")
	u.waitsFor(stream.StageExtractor, "NATS does not take a message")
	nc, err := u.server.Connect("test")
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, stream.EnsureOn(t.Context(), nc, stream.DefaultSettings()))
	u.reported()
	u.says("ready")
	u.waitsFor(stream.StageExtractor, "")
}

// What a service reads from its environment it reads here, too.
func TestSettingsOfTheServicesWorkInOneProcess(t *testing.T) {
	for name, value := range map[string]string{"IHC_WRITE_BATCH": "7", "IHC_KEEP_DAYS": "3", "IHC_ACK_WAIT": "4s",
		"IHC_STREAM_MAX_BYTES": "5000000", "IHC_GRACE": "6s"} {
		t.Setenv(name, value)
	}
	u := start(t, nil)
	require.Equal(t, 7, u.config.Writer.Batch)
	require.Equal(t, 6*time.Second, u.process.Grace)
	nc, err := u.server.Connect("test")
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), stream.Journeys)
	require.NoError(t, err)
	require.Equal(t, 72*time.Hour, s.CachedInfo().Config.MaxAge)
	require.EqualValues(t, 5_000_000, s.CachedInfo().Config.MaxBytes)
	c, err := js.Consumer(t.Context(), stream.Journeys, stream.Chunks.Durable)
	require.NoError(t, err)
	require.Equal(t, 4*time.Second, c.CachedInfo().Config.AckWait)

	t.Setenv("IHC_WRITE_BATCH", "0")
	_, err = FromEnv(attributor.Config{})
	require.ErrorContains(t, err, "IHC_WRITE_BATCH")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}

func TestAnAddressThatIsTakenEndsTheProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := FromEnv(attributor.Config{Workers: 1})
	require.NoError(t, err)
	require.NoError(t, c.At(filepath.Join(t.TempDir(), "shop.db"), t.TempDir()))
	c.Dir, c.HTTP = t.TempDir(), l.Addr().String()
	p, running, err := Start(t.Context(), c)
	require.NoError(t, err)
	defer p.Stop()
	<-running.Done()
	require.ErrorContains(t, Cause(running), "cannot serve health and metrics")
}
