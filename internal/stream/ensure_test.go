package stream

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/stream/clustertest"
)

// replicated waits until every stream and consumer is on n servers, each of them
// up to date.
func replicated(ctx context.Context, t *testing.T, nc *nats.Conn, n int) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	current := func(info *jetstream.ClusterInfo) bool {
		if info == nil || info.Leader == "" || len(info.Replicas) != n-1 {
			return false
		}
		for _, r := range info.Replicas {
			if !r.Current {
				return false
			}
		}
		return true
	}
	for _, name := range []string{Runs, Journeys, Results, Dead, bucketStream} {
		require.Eventually(t, func() bool {
			s, err := js.Stream(ctx, name)
			return err == nil && s.CachedInfo().Config.Replicas == n && current(s.CachedInfo().Cluster)
		}, time.Minute, 20*time.Millisecond, name)
	}
	for _, c := range consumers {
		require.Eventually(t, func() bool {
			consumer, err := js.Consumer(ctx, c.Stream, c.Durable)
			return err == nil && current(consumer.CachedInfo().Cluster)
		}, time.Minute, 20*time.Millisecond, c.Durable)
	}
}

// Streams with one replica get three, and one again, with what they hold; and a
// cluster with too few servers says so.
func TestStreamsAreOnAsManyServersAsIsAskedFor(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cluster := clustertest.New(t, 3)
	nc, err := Dial(Address{URL: cluster.URL()}, "test", slog.New(slog.DiscardHandler), true)
	require.NoError(t, err)
	defer nc.Close()
	settings := DefaultSettings()
	require.NoError(t, EnsureOn(ctx, nc, settings))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.Publish(ctx, SubjectRunRequested, []byte("{}"))
	require.NoError(t, err)

	settings.Replicas = 3
	require.NoError(t, EnsureOn(ctx, nc, settings))
	replicated(ctx, t, nc, 3)
	s, err := js.Stream(ctx, Runs)
	require.NoError(t, err)
	require.EqualValues(t, 1, s.CachedInfo().State.Msgs)

	settings.Replicas = 5
	err = ensureOn(ctx, nc, settings, 0, func(error) {})
	require.ErrorContains(t, err, "IHC_REPLICAS is 5, but the NATS cluster has not as many servers")
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
}

func TestAServerAloneIsNoCluster(t *testing.T) {
	t.Parallel()
	server, err := broker.Start(broker.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { server.Stop(context.Background()) })
	nc, err := server.Connect("test")
	require.NoError(t, err)
	defer nc.Close()
	settings := DefaultSettings()
	settings.Replicas = 3
	err = EnsureOn(t.Context(), nc, settings)
	require.EqualError(t, err, "IHC_REPLICAS is 3, but the NATS server is no cluster: set 1, or run 3 servers (deploy/compose.cluster.yaml)")
	require.Equal(t, errkind.Environment, errkind.KindOf(err))

	settings.Replicas = 1
	require.NoError(t, EnsureOn(t.Context(), nc, settings))
	settings.Replicas = 3
	require.ErrorContains(t, EnsureOn(t.Context(), nc, settings), "IHC_REPLICAS is 3, but the NATS server is no cluster", "of streams that are there")
}

func TestAClientKnowsWhetherMessagesAreKept(t *testing.T) {
	t.Parallel()
	for _, passing := range []bool{false, true} {
		server, err := broker.Start(broker.Config{Dir: t.TempDir()})
		require.NoError(t, err)
		t.Cleanup(func() { server.Stop(context.WithoutCancel(t.Context())) })
		nc, err := server.Connect("test")
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		settings := DefaultSettings()
		settings.Passing = passing
		require.NoError(t, EnsureOn(t.Context(), nc, settings))
		c, err := New(t.Context(), nc, Options{Stage: StageExtractor})
		require.NoError(t, err)
		is, err := c.Passing(t.Context())
		require.NoError(t, err)
		require.Equal(t, passing, is)
	}
}
