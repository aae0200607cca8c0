//go:build postgres

package extractor

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

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

// served copies a shop's source tables to a server and returns its address and a
// connection.
func served(t *testing.T, sessions int) (dsn string, conn *pgx.Conn) {
	t.Helper()
	dsn = pgtest.Start(t, pgtest.Options{ICU: "en-US"}).DSN("postgres")
	require.NoError(t, pgshop.Copy(t.Context(), newShop(t, sessions), dsn))
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	return dsn, conn
}

// ofSlice is how many conversions a slice has here.
const ofSlice = 100

func extractSlices(b *streamtest.Bus, dsn string) (stop func()) {
	return b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error {
		return Run(ctx, Config{Database: dsn, SliceConversions: ofSlice}, d)
	})
}

func ask(t *testing.T, b *streamtest.Bus, id string) {
	t.Helper()
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: id, MaxSessions: 20, MaxJourneys: 5, Full: true}))
}

// numbered returns the chunks of a run in the order of their numbers, without its
// name; each must be there once.
func numbered(t *testing.T, b *streamtest.Bus, id string, n uint32) []*ihcv1.JourneyChunk {
	t.Helper()
	all := make([]*ihcv1.JourneyChunk, n)
	require.NoError(t, b.EachChunk(b.Ctx, id, func(c *ihcv1.JourneyChunk) error {
		require.LessOrEqual(t, c.GetChunk(), n)
		require.Nil(t, all[c.GetChunk()-1], "chunk %d is there twice", c.GetChunk())
		c.RunId = ""
		all[c.GetChunk()-1] = c
		return nil
	}))
	require.NotContains(t, all, (*ihcv1.JourneyChunk)(nil))
	return all
}

// Slices follow from the data and not from who reads them: one extractor or four
// of which some are stopped, and whose connections are ended while they read, the
// snapshot's too, publish the same chunks.
func TestExtractorsShareTheSlicesOfARun(t *testing.T) {
	t.Parallel()
	dsn, conn := served(t, 20_000)
	var want []*ihcv1.JourneyChunk
	var counts *ihcv1.RunExtracted
	for _, c := range []struct {
		extractors int
		befalls    string
	}{{1, ""}, {4, ""}, {4, "stopped"}, {4, "disconnected"}} {
		b := streamtest.New(t)
		var stops []func()
		for range c.extractors {
			stops = append(stops, extractSlices(b, dsn))
		}
		ask(t, b, "run")
		some := func() bool {
			stored, err := b.Stored(b.Ctx, "run")
			return err == nil && len(stored) > 0
		}
		switch c.befalls {
		case "stopped":
			require.Eventually(t, some, deadline, tick)
			for _, stop := range stops[:3] {
				stop()
			}
		case "disconnected":
			require.Eventually(t, some, deadline, tick)
			for range 3 {
				_, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ihc' AND state <> 'idle'`)
				require.NoError(t, err)
			}
		}
		x := b.Await("run", isExtracted).GetExtracted()
		got := numbered(t, b, "run", x.GetChunks())
		b.Idle(stream.Slices)
		b.Idle(stream.Requests)
		if want == nil {
			want, counts = got, x
			require.Greater(t, conversionsOf(t, conn), 10*ofSlice)
		}
		require.True(t, proto.Equal(counts, x), "%v, not %v", x, counts)
		equalChunks(t, want, got)
		for _, stop := range stops {
			stop()
		}
	}
}

func conversionsOf(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM conversions`).Scan(&n))
	return n
}

// lateReader sleeps in the midst of a slice.
type lateReader struct {
	store.Database
	after        int // slices that it reads before
	asleep, wake chan struct{}
	slept        bool
}

func (l *lateReader) Journeys(ctx context.Context, o journey.Options, yield func(journey.Journey) error) error {
	n := 0
	if l.after--; l.after >= 0 {
		n = ofSlice // past the middle
	}
	return l.Database.Journeys(ctx, o, func(j journey.Journey) error {
		if n++; n == ofSlice/2 && !l.slept {
			l.slept = true
			close(l.asleep)
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
		}
		return yield(j)
	})
}

// Whoever reads a slice and is suspended meanwhile changes nothing when it wakes:
// the slice was read by another, the run extracted, the data changed.
func TestReaderOfASliceThatWakesUpLateChangesNothing(t *testing.T) {
	t.Parallel()
	dsn, conn := served(t, 5000)
	b := streamtest.New(t)
	d := deps(b)
	l := &lateReader{Database: open.Database(dsn), asleep: make(chan struct{}), wake: make(chan struct{})}
	defer l.Close()
	late := &extractor{db: l, sliceSize: ofSlice, Deps: d, under: &underWay{runs: map[string]*ihcv1.RunAccepted{}}, ended: d.Bus.WatchEnded(b.Ctx)}
	ctx, stop := context.WithCancel(b.Ctx)
	awake := make(chan error, 1)
	go func() {
		awake <- stream.Consume(ctx, d.Bus, stream.Slices, 1, nil, stream.Proto(func() *ihcv1.Slice { return &ihcv1.Slice{} }), func(ctx context.Context, m stream.Message[*ihcv1.Slice]) error {
			if l.slept { // the others are for others
				return stream.Retry(errors.New("enough"), 0)
			}
			read := make(chan error, 1)
			go func() { read <- late.slice(context.WithoutCancel(ctx), m) }()
			<-l.asleep
			stop()
			go func() { awake <- <-read }()
			return stream.Retry(errors.New("out of sight"), 0)
		})
	}()
	leader := b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error {
		return Run(ctx, Config{Database: dsn, SliceConversions: ofSlice}, d)
	})
	defer leader()
	ask(t, b, "run")
	<-l.asleep
	require.NoError(t, <-awake) // it takes no more
	x := b.Await("run", isExtracted).GetExtracted()
	want := numbered(t, b, "run", x.GetChunks())
	_, err := conn.Exec(t.Context(), `UPDATE session_sources SET channel_name = 'another'`)
	require.NoError(t, err)
	events, err := b.Events(b.Ctx, "*")
	require.NoError(t, err)
	close(l.wake)
	require.NoError(t, <-awake)
	equalChunks(t, want, numbered(t, b, "run", x.GetChunks()))
	now, err := b.Events(b.Ctx, "*")
	require.NoError(t, err)
	require.Len(t, now, len(events))
}

// If the one that leads is gone and the source changes, the run is superseded.
func TestRunWhoseSourceChangesWhileNobodyLeadsIsSuperseded(t *testing.T) {
	t.Parallel()
	dsn, conn := served(t, 20_000)
	b := streamtest.New(t)
	l := &lateReader{Database: open.Database(dsn), after: 1, asleep: make(chan struct{}), wake: make(chan struct{})}
	defer l.Close()
	stop := b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error {
		return runOn(ctx, l, Config{SliceConversions: ofSlice}, d)
	})
	ask(t, b, "run")
	<-l.asleep
	stored, err := b.Stored(b.Ctx, "run")
	require.NoError(t, err)
	require.NotEmpty(t, stored)
	stop()
	_, err = b.Extracted(b.Ctx, "run")
	require.ErrorIs(t, err, stream.ErrNotFound)
	_, err = conn.Exec(t.Context(), fmt.Sprintf(`DELETE FROM conversions WHERE conv_id IN (SELECT conv_id FROM conversions LIMIT %d)`, ofSlice))
	require.NoError(t, err)
	extractSlices(b, dsn)
	require.Equal(t, "run-v2", b.Await("run", isFailed).GetFailed().GetSupersededBy())
	x := b.Await("run-v2", isExtracted).GetExtracted()
	numbered(t, b, "run-v2", x.GetChunks())
	require.EqualValues(t, conversionsOf(t, conn), x.GetCounts().GetInRange())
}
