//go:build postgres

package extractor

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

// killer kills its server once, when so many journeys are read: 0 for before any.
type killer struct {
	store.Database
	server *pgtest.Server
	at     int // -1 for never
	killed chan struct{}
}

func (k *killer) kill() {
	k.at = -1
	k.server.Kill()
	close(k.killed)
}

func (k *killer) Journeys(ctx context.Context, o journey.Options, yield func(journey.Journey) error) error {
	if k.at == 0 {
		k.kill()
	}
	n := 0
	return k.Database.Journeys(ctx, o, func(j journey.Journey) error {
		if n++; n == k.at {
			k.kill()
		}
		return yield(j)
	})
}

// A run that is read whole, as one of few conversions is, waits for a server that
// is killed while it is read, and has the same chunks.
func TestServerThatIsKilledWhileARunIsReadIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{})
	dsn := server.DSN("postgres")
	require.NoError(t, pgshop.Copy(t.Context(), newShop(t, 20_000), dsn))
	var want []string
	for _, at := range []int{-1, 0, 1, 1000} {
		b := streamtest.New(t)
		k := &killer{open.Database(dsn), server, at, make(chan struct{})}
		stop := b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error { return runOn(ctx, k, Config{}, d) })
		ask(t, b, "run")
		if at >= 0 {
			<-k.killed
			require.NoError(t, server.Restart())
		}
		x := b.Await("run", func(e *ihcv1.RunEvent) bool { return isExtracted(e) || isFailed(e) })
		require.NotNil(t, x.GetExtracted(), "%d: %v", at, x)
		var got []string
		for _, c := range numbered(t, b, "run", x.GetExtracted().GetChunks()) {
			for _, j := range c.GetJourneys() {
				got = append(got, j.GetConvId())
			}
		}
		if at < 0 {
			want = got
			require.Greater(t, len(want), 1000)
		}
		require.Equal(t, want, got)
		stop()
		require.NoError(t, k.Close())
	}
}
