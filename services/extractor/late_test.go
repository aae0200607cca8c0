package extractor

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// sleeper is a database of an extractor that is suspended at some point: once
// it has validated the data, or given so many of the journeys it has read.
type sleeper struct {
	store.Database
	after        int // -1: of validation
	asleep, wake chan struct{}
}

func (s *sleeper) sleep() {
	close(s.asleep)
	<-s.wake
	s.after = -2
}

func (s *sleeper) Validate(ctx context.Context, o findings.Options) (*findings.Findings, error) {
	f, err := s.Database.Validate(ctx, o)
	if s.after == -1 {
		s.sleep()
	}
	return f, err
}

func (s *sleeper) Journeys(ctx context.Context, o journey.Options, yield func(journey.Journey) error) error {
	var all []journey.Journey
	if err := s.Database.Journeys(ctx, o, func(j journey.Journey) error { all = append(all, j); return nil }); err != nil {
		return err
	}
	for n, j := range all {
		if n == s.after {
			s.sleep()
		}
		if err := yield(j); err != nil {
			return err
		}
	}
	return nil
}

// deps returns what a process of the extractor has.
func deps(b *streamtest.Bus) service.Deps {
	got := make(chan service.Deps, 1)
	b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error {
		got <- d
		<-ctx.Done()
		return nil
	})
	return <-got
}

const deleteOrders = `DELETE FROM conversions WHERE conv_id IN (SELECT conv_id FROM conversions ORDER BY conv_id LIMIT 40)`

// An extractor that was suspended wakes when another has taken its run to the
// end, over data that have changed before or since. Nothing becomes of what it
// does then.
func TestExtractorThatWakesUpLateChangesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after          int
		before, behind string // what happens to the data, before and after the other's work
	}{
		"validated":                             {after: -1},
		"validated data that change":            {after: -1, before: deleteOrders},
		"validated data that change afterwards": {after: -1, behind: deleteOrders},
		"read before anything is published":     {after: 0, behind: deleteOrders},
		"in the midst":                          {after: 300},
		"in the midst of data that change":      {after: 300, behind: deleteOrders},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := streamtest.New(t)
			db := newShop(t, 5000)
			d := deps(b)
			s := &sleeper{Database: open.Database(db), after: c.after, asleep: make(chan struct{}), wake: make(chan struct{})}
			defer s.Close()
			late := &extractor{db: s, Deps: d, under: &underWay{runs: map[string]*ihcv1.RunAccepted{}}, ended: d.Bus.WatchEnded(b.Ctx)}
			req := &ihcv1.RunRequest{RunId: "run", MaxSessions: 20, MaxJourneys: 5}
			awake := make(chan error, 1)
			go func() {
				awake <- late.handle(b.Ctx, stream.Message[request]{Delivery: stream.Delivery{Time: time.Now(), Sequence: 1, Tries: 1}, Body: request{RunRequest: req}})
			}()
			<-s.asleep
			if c.before != "" {
				change(t, db, c.before)
			}
			require.NoError(t, b.PublishRequest(b.Ctx, req))
			extract(b, db)
			b.Await("run", isExtracted)
			if c.behind != "" {
				change(t, db, c.behind)
			}
			chunks := stored(t, b, "run")
			events, err := b.Events(b.Ctx, "*")
			require.NoError(t, err)
			close(s.wake)
			err = <-awake
			if _, poison, settled := stream.Settled(err); settled {
				require.False(t, poison)
			}
			equalChunks(t, chunks, stored(t, b, "run"))
			now, err := b.Events(b.Ctx, "*")
			require.NoError(t, err)
			require.Len(t, now, len(events))
		})
	}
}

// acknowledged lets every chunk there is be acknowledged without a result.
func acknowledged(b *streamtest.Bus) {
	b.Service(stream.StageAttributor, func(ctx context.Context, d service.Deps) error {
		return stream.Consume(ctx, d.Bus, stream.Chunks, 1, nil, stream.Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} }),
			func(context.Context, stream.Message[*ihcv1.JourneyChunk]) error { return nil })
	})
}

// lookingAfter runs an extractor that looks after its runs all the time.
func lookingAfter(b *streamtest.Bus, db string) {
	b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error {
		d.LookEvery = 10 * time.Millisecond
		return Run(ctx, Config{Database: db}, d)
	})
}

func removed(t *testing.T, b *streamtest.Bus, name string, sequences ...uint64) {
	t.Helper()
	s, err := b.JS.Stream(b.Ctx, name)
	require.NoError(t, err)
	for _, at := range sequences {
		require.NoError(t, s.DeleteMsg(b.Ctx, at))
	}
}

// Chunks without a result that are in no stream any more come again, from the
// source; those that are still there come again as they are; those that have
// their result do not.
func TestLostChunksArePublishedAgain(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]string{"from the source": "run", "of a replay": "again"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := streamtest.New(t)
			db := newShop(t, 1500)
			stop := extract(b, db)
			require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", MaxSessions: 20, MaxJourneys: 5}))
			b.Await("run", isExtracted)
			if from != "run" {
				require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: from, ReplayOf: "run", ReplayFrom: "journeys"}))
				b.Await(from, isExtracted)
				b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
			}
			stop()
			want := stored(t, b, from)
			require.Greater(t, len(want), 10)
			places, err := b.Stored(b.Ctx, from)
			require.NoError(t, err)
			for n := range uint32(len(want)) {
				if n+1 != 3 && n+1 != 5 && n+1 != 7 {
					require.NoError(t, b.PublishResult(b.Ctx, &ihcv1.AttributionResult{RunId: from, Chunk: n + 1}))
				}
			}
			acknowledged(b)
			b.Idle(stream.Chunks)
			removed(t, b, stream.Journeys, places[3], places[4], places[5])
			lookingAfter(b, db)
			times := func() map[uint32]int {
				all := map[uint32]int{}
				require.NoError(t, b.EachChunk(b.Ctx, from, func(c *ihcv1.JourneyChunk) error { all[c.GetChunk()]++; return nil }))
				return all
			}
			require.Eventually(t, func() bool { n := times(); return n[3] > 0 && n[5] > 0 && n[7] > 1 }, deadline, tick)
			now := times()
			require.Equal(t, []int{1, 0, 1, 0}, []int{now[1], now[4], now[6], now[uint32(len(want)+1)]})
			require.NoError(t, b.EachChunk(b.Ctx, from, func(c *ihcv1.JourneyChunk) error {
				c.RunId = ""
				equalChunks(t, want[c.GetChunk()-1:c.GetChunk()], []*ihcv1.JourneyChunk{c})
				return nil
			}))
		})
	}
}

func TestRunWhoseLostChunksCannotBeReadAgainIsSuperseded(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 1500)
	lookingAfter(b, db)
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", MaxSessions: 20, MaxJourneys: 5}))
	b.Await("run", isExtracted)
	places, err := b.Stored(b.Ctx, "run")
	require.NoError(t, err)
	change(t, db, deleteOrders)
	removed(t, b, stream.Journeys, places[3])
	require.Equal(t, "run-v2", b.Await("run", isFailed).GetFailed().GetSupersededBy())
	x := b.Await("run-v2", isExtracted).GetExtracted()
	require.Equal(t, number(t, db, `SELECT count(*) FROM conversions`), x.GetCounts().GetInRange())
}

// While a run was paused, chunks that nobody has scored may age out of the
// stream. They are back when it is resumed.
func TestResumedRunGetsChunksBackThatAgedOut(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 1500)
	extract(b, db)
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", MaxSessions: 20, MaxJourneys: 5, MaxRequests: 1}))
	b.Await("run", isExtracted)
	want := stored(t, b, "run")
	acknowledged(b)
	b.Idle(stream.Chunks)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{}}})
	places, err := b.Stored(b.Ctx, "run")
	require.NoError(t, err)
	removed(t, b, stream.Journeys, places[1], places[2])
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{}}})
	back := map[uint32]int{1: 1, 2: 1} // from the source; the others from the stream, where they are twice then
	for chunk := uint32(3); int(chunk) <= len(want); chunk++ {
		back[chunk] = 2
	}
	require.Eventually(t, func() bool {
		times := map[uint32]int{}
		err := b.EachChunk(b.Ctx, "run", func(c *ihcv1.JourneyChunk) error { times[c.GetChunk()]++; return nil })
		return err == nil && maps.Equal(back, times)
	}, 50*time.Second, 10*time.Millisecond)
}

// The source changed while a run was paused: what takes its place has the budget
// that the run is resumed with, whoever hears of that first.
func TestSuccessorOfAPausedRunHasTheBudgetItIsResumedWith(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ more, has uint64 }{"so many more": {7, 7}, "any number": {0, 0}} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, extractor up: %t", name, running), func(t *testing.T) {
				t.Parallel()
				b := streamtest.New(t)
				db := newShop(t, 600)
				stop := extract(b, db)
				require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", MaxRequests: 1}))
				b.Await("run", isExtracted)
				_, err := b.Spend(b.Ctx, stream.Delivery{Run: "run", Sequence: 1}, 1)
				require.NoError(t, err)
				b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{}}})
				change(t, db, deleteOrders)
				if !running {
					stop()
				}
				b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: c.more}}})
				if !running {
					extract(b, db)
				}
				require.Equal(t, c.has, b.Await("run-v2", isAccepted).GetAccepted().GetRequest().GetMaxRequests())
			})
		}
	}
}

// A replay that is refused has not begun: nobody has accepted it.
func TestRefusedReplayHasNotBegun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	extract(b, newShop(t, 1500))
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", MaxSessions: 20, MaxJourneys: 5}))
	b.Await("run", isExtracted)
	places, err := b.Stored(b.Ctx, "run")
	require.NoError(t, err)
	removed(t, b, stream.Journeys, places[2])
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "again", ReplayOf: "run", ReplayFrom: "journeys"}))
	require.Contains(t, b.Await("again", isFailed).GetFailed().GetReason(), "chunks of run run are still stored")
	_, err = b.Accepted(b.Ctx, "again")
	require.ErrorIs(t, err, stream.ErrNotFound)
	require.Empty(t, stored(t, b, "again"))
}

// Somebody empties the stream of runs while one is scored: that is said at once, and
// the run ends with the reason.
func TestRunWhoseStreamIsEmptiedEndsWithTheReason(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 600)
	said := make(chan string, 1000)
	b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error {
		d.Ready = func(err error) {
			if err != nil {
				said <- err.Error()
			}
		}
		return Run(ctx, Config{Database: db}, d)
	})
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run"}))
	b.Await("run", isExtracted)
	b.Idle(stream.Requests)
	s, err := b.JS.Stream(b.Ctx, stream.Runs)
	require.NoError(t, err)
	require.NoError(t, s.Purge(b.Ctx))
	f := b.Await("run", isFailed).GetFailed()
	require.Contains(t, f.GetReason(), "was the stream IHC_RUNS emptied")
	require.Equal(t, f.GetReason(), <-said)
	require.Empty(t, b.Dead(0))
}

// To let a run go on that there never was changes nothing; it is no fault of the
// program, which dead letters are for.
func TestResumedRunThatNeverWasChangesNothing(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	extract(b, newShop(t, 600))
	b.Event("never", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: 2}}})
	b.Idle(stream.Requests)
	require.Empty(t, b.Dead(0))
	_, err := b.Failed(b.Ctx, "never")
	require.ErrorIs(t, err, stream.ErrNotFound)
}
