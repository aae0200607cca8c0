// Package cluster runs the pipeline over three NATS servers that come and go.
package cluster

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/clustertest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/services/writer"
	"github.com/ihc-pipeline/ihc/store/sqlite"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

const (
	attributors = 2
	workers     = 2
	id          = "r"
)

// pipeline is the four services, with two attributors, over NATS servers.
type pipeline struct {
	*stream.Client // the test's own
	dir            string
	js             jetstream.JetStream
	// permits are the requests that the API may answer; it waits for one each
	// time.
	permits  chan struct{}
	requests atomic.Int64
}

// start runs one until the test ends, on a shop that is the same each time.
func start(ctx context.Context, t *testing.T, nats string, replicas int) *pipeline {
	t.Helper()
	p := &pipeline{dir: t.TempDir(), permits: make(chan struct{})}
	db := filepath.Join(p.dir, "shop.db")
	_, err := sqlite.GenerateShop(ctx, db, shop.Config{Sessions: 1500}, false)
	require.NoError(t, err)
	api, err := sandbox.New(sandbox.Config{})
	require.NoError(t, err)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-p.permits:
		case <-r.Context().Done():
			return
		}
		p.requests.Add(1)
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)

	connect := dial(nats)
	nc, err := connect("test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	settings := stream.DefaultSettings()
	settings.Replicas, settings.AckWait = replicas, 5*time.Second // of which a busy machine may sleep a third
	require.NoError(t, stream.EnsureOn(ctx, nc, settings))
	p.js, err = jetstream.New(nc)
	require.NoError(t, err)
	p.Client, err = stream.New(ctx, nc, stream.Options{Stage: "test"})
	require.NoError(t, err)

	scoring := attributor.Config{Workers: workers, APIURL: web.URL + "/v1", APIKey: "k", ConvTypeID: "c", Timeout: 15 * time.Minute}
	processes := [][]service.Service{
		{service.New(stream.StageExtractor, extractor.Config{Database: db}, extractor.Run)},
		{service.New(stream.StageWriter, writer.Config{Database: db, Batch: 8}, writer.Run)},
		{service.New(stream.StageReporter, reporter.Config{Database: db, Out: p.dir}, reporter.Run)},
	}
	for range attributors {
		processes = append(processes, []service.Service{service.New(stream.StageAttributor, scoring, attributor.Run)})
	}
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	for _, services := range processes {
		one := &service.Process{Log: slog.New(slog.DiscardHandler), Connect: connect}
		go func() { ended <- one.Run(running, services...) }()
	}
	t.Cleanup(func() {
		cancel()
		for range processes {
			require.NoError(t, <-ended)
		}
	})
	return p
}

// dial returns how a service connects.
func dial(url string) func(string, *slog.Logger) (*nats.Conn, error) {
	return func(stage string, log *slog.Logger) (*nats.Conn, error) {
		return stream.Dial(stream.Address{URL: url}, stage, log, true)
	}
}

// results returns how many chunks are scored, and whether NATS said.
func (p *pipeline) results(ctx context.Context) (uint64, bool) {
	once, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := p.js.Stream(once, stream.Results)
	if err != nil {
		return 0, false
	}
	return s.CachedInfo().State.Msgs, true
}

// advance lets the API answer until so many more chunks are scored.
func (p *pipeline) advance(ctx context.Context, t *testing.T, more uint64) {
	t.Helper()
	target := uint64(0)
	for ctx.Err() == nil {
		n, known := p.results(ctx)
		if known && target == 0 {
			target = n + more
		}
		if known && n >= target {
			return
		}
		permits := p.permits
		if !known {
			permits = nil // what is let through meanwhile would not be counted
		}
		select {
		case permits <- struct{}{}:
		case <-time.After(20 * time.Millisecond): // nobody asks
		}
	}
	require.NoError(t, ctx.Err(), "no chunk was scored")
}

// whole waits until every server has all that the streams hold.
func (p *pipeline) whole(ctx context.Context, t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, name := range []string{stream.Runs, stream.Journeys, stream.Results, stream.Dead, "KV_" + stream.State} {
			once, cancel := context.WithTimeout(ctx, 2*time.Second)
			s, err := p.js.Stream(once, name)
			cancel()
			if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
				return false
			}
			for _, r := range s.CachedInfo().Cluster.Replicas {
				if !r.Current || r.Offline {
					return false
				}
			}
		}
		return true
	}, 5*time.Minute, 50*time.Millisecond)
}

// finish lets everything through and returns what the users see of the run that
// then ends.
func (p *pipeline) finish(ctx context.Context, t *testing.T) (snapshot.Tables, string) {
	t.Helper()
	close(p.permits)
	var end *ihcv1.RunEvent
	require.NoError(t, p.Follow(ctx, id, func(e stream.StoredEvent) bool {
		if e.Event.GetReported() != nil || e.Event.GetFailed() != nil {
			end = e.Event
		}
		return end == nil
	}))
	require.NotNil(t, end.GetReported(), "%v", end)
	tables, err := snapshot.Take(ctx, filepath.Join(p.dir, "shop.db"))
	require.NoError(t, err)
	csv, err := os.ReadFile(filepath.Join(p.dir, "channel_reporting.csv"))
	require.NoError(t, err)
	return tables.Only(func(name string) bool {
		return name == "attribution_customer_journey" || name == "channel_reporting"
	}), string(csv)
}

func (p *pipeline) request(ctx context.Context, t *testing.T) {
	t.Helper()
	require.NoError(t, p.PublishRequest(ctx, &ihcv1.RunRequest{RunId: id, Model: run.ModelAPI, MaxJourneys: 4}))
}

// Each server of three is stopped in mid-run and comes back: the run goes on
// while one is away, and ends with the numbers of an undisturbed one, and no more
// was paid twice than was under way.
func TestEachServerOfAClusterGoesInMidRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	alone := start(ctx, t, clustertest.New(t, 1).URL(), 1)
	alone.request(ctx, t)
	wantTables, wantCSV := alone.finish(ctx, t)
	require.NotEmpty(t, wantTables["attribution_customer_journey"])

	const servers = 3
	cluster := clustertest.New(t, servers)
	p := start(ctx, t, cluster.URL(), servers)
	p.request(ctx, t)
	p.advance(ctx, t, 3)
	for i := range servers {
		p.whole(ctx, t)
		cluster.Stop(i)
		p.advance(ctx, t, 5) // while it is away
		cluster.Start(i)
	}
	_, err := p.Reported(ctx, id)
	require.ErrorIs(t, err, stream.ErrNotFound, "the run went on through all of it")

	tables, csv := p.finish(ctx, t)
	require.Empty(t, wantTables.Diff(tables))
	require.Equal(t, wantCSV, csv)
	require.LessOrEqual(t, p.requests.Load(), alone.requests.Load()+servers*attributors*workers)
}
