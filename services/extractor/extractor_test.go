package extractor

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// For conditions that only the server knows.
const (
	deadline = 30 * time.Second
	tick     = 5 * time.Millisecond
)

// newShop makes a shop's database, the same one for the same size.
func newShop(t *testing.T, sessions int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	_, err := sqlite.GenerateShop(t.Context(), path, shop.Config{Sessions: sessions}, false)
	require.NoError(t, err)
	return path
}

func extract(b *streamtest.Bus, db string) (stop func()) {
	return b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error { return Run(ctx, Config{Database: db}, d) })
}

func change(t *testing.T, db, script string) {
	t.Helper()
	c, err := sql.Open("sqlite3", db)
	require.NoError(t, err)
	_, err = c.Exec(script)
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func number(t *testing.T, db, query string) (n uint64) {
	t.Helper()
	c, err := sql.Open("sqlite3", db)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.QueryRow(query).Scan(&n))
	return n
}

func isAccepted(e *ihcv1.RunEvent) bool { return e.GetAccepted() != nil }

func isExtracted(e *ihcv1.RunEvent) bool { return e.GetExtracted() != nil }
func isFailed(e *ihcv1.RunEvent) bool    { return e.GetFailed() != nil }

// stored returns a run's chunks, without its name, each of which must be there
// once.
func stored(t *testing.T, b *streamtest.Bus, id string) []*ihcv1.JourneyChunk {
	t.Helper()
	var all []*ihcv1.JourneyChunk
	require.NoError(t, b.EachChunk(b.Ctx, id, func(c *ihcv1.JourneyChunk) error {
		require.Equal(t, id, c.GetRunId())
		require.EqualValues(t, len(all)+1, c.GetChunk())
		c.RunId = ""
		all = append(all, c)
		return nil
	}))
	return all
}

func equalChunks(t *testing.T, want, got []*ihcv1.JourneyChunk) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, proto.Equal(want[i], got[i]), "chunk %d differs", i+1)
	}
}

func TestEveryConversionIsInOneChunk(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 5000)
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", MaxSessions: 50, MaxJourneys: 20}))
	extract(b, db)
	x := b.Await("run", isExtracted).GetExtracted()
	seen := map[string]bool{}
	counts := &ihcv1.Counts{}
	chunks := stored(t, b, "run")
	require.Len(t, chunks, int(x.GetChunks()))
	for _, c := range chunks {
		sessions := 0
		for _, j := range c.GetJourneys() {
			require.False(t, seen[j.GetConvId()])
			seen[j.GetConvId()] = true
			sessions += len(j.GetSessionIds())
			kind := ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED
			if j.GetApproximation() != nil {
				kind = ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED
				require.Len(t, j.GetSessionIds(), 50)
			}
			run.Add(counts, kind, 1, uint64(len(j.GetSessionIds())))
		}
		for _, o := range c.GetOutcomes() {
			require.False(t, seen[o.GetConvId()])
			seen[o.GetConvId()] = true
			require.NotEmpty(t, o.GetReason())
			run.Add(counts, o.GetKind(), 1, 0)
		}
		require.LessOrEqual(t, sessions, 50)
		require.LessOrEqual(t, len(c.GetJourneys()), 20)
	}
	require.Len(t, seen, int(number(t, db, `SELECT count(*) FROM conversions`)))
	require.True(t, proto.Equal(counts, x.GetCounts()), "%v, not %v", x.GetCounts(), counts)
	require.NotZero(t, counts.GetWithoutSessions())
	b.Idle(stream.Requests)
}

// Extraction that is stopped again and again gives the chunks of one that is
// not, and each once.
func TestInterruptedExtractionGoesOn(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 20_000)
	ask := func(id string) {
		require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: id, MaxSessions: 20, MaxJourneys: 5}))
	}
	stop := extract(b, db)
	ask("whole")
	b.Await("whole", isExtracted)
	stop()
	want := stored(t, b, "whole")
	require.Greater(t, len(want), 100)

	ask("run")
	for goal := 1; goal < len(want); goal += len(want) / 4 {
		stop := extract(b, db)
		require.Eventually(t, func() bool { return len(stored(t, b, "run")) >= goal }, deadline, tick)
		stop()
	}
	extract(b, db)
	b.Await("run", isExtracted)
	equalChunks(t, want, stored(t, b, "run"))
}

func TestDataThatChangedMeanwhileFailTheRun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 5000)
	req, err := run.Complete(&ihcv1.RunRequest{RunId: "run"})
	require.NoError(t, err)
	// An attempt before this one came to one chunk, of other data.
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: req}}})
	p, err := b.NewChunkPublisher(b.Ctx, "run", true)
	require.NoError(t, err)
	require.NoError(t, p.Publish(b.Ctx, &ihcv1.JourneyChunk{RunId: "run", Chunk: 1}))
	require.NoError(t, p.Flush(b.Ctx))
	require.NoError(t, b.PublishRequest(b.Ctx, req))
	extract(b, db)
	require.Contains(t, b.Await("run", isFailed).GetFailed().GetReason(), "changed while the run was interrupted")
	b.Idle(stream.Requests)
}

func TestRequestsInBothEncodings(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	extract(b, newShop(t, 600))
	for _, data := range [][]byte{[]byte(`{"run_id":"json","start_date":"1999-01-01"}`), {0x0a, 5, 'p', 'r', 'o', 't', 'o'}} {
		_, err := b.JS.Publish(b.Ctx, stream.SubjectRunRequested, data)
		require.NoError(t, err)
	}
	equalOf := func(id string) []*ihcv1.JourneyChunk { b.Await(id, isExtracted); return stored(t, b, id) }
	equalChunks(t, equalOf("json"), equalOf("proto"))

	// Without an id it gets one from its place, and is the same run when it
	// is delivered again.
	ack, err := b.JS.Publish(b.Ctx, stream.SubjectRunRequested, nil)
	require.NoError(t, err)
	requests, err := b.Requests(b.Ctx)
	require.NoError(t, err)
	b.Await(run.NewID(requests[2].Time, ack.Sequence), isExtracted)
}

func TestRequestPublishedTwiceIsOneRun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	for range 3 { // as whoever knows no message ids does
		_, err := b.JS.Publish(b.Ctx, stream.SubjectRunRequested, []byte(`{"run_id":"run"}`))
		require.NoError(t, err)
	}
	extract(b, newShop(t, 600))
	b.Idle(stream.Requests)
	events, err := b.Events(b.Ctx, "run")
	require.NoError(t, err)
	require.Len(t, events, 2)
	stored(t, b, "run")
}

func TestUnreadableRequestIsAFailedRunAndADeadLetter(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	_, err := b.JS.Publish(b.Ctx, stream.SubjectRunRequested, []byte(`{"start":"2023-09-01"}`))
	require.NoError(t, err)
	extract(b, newShop(t, 600))
	d := b.Dead(1)[0]
	require.Equal(t, `{"start":"2023-09-01"}`, string(d.Data))
	events, err := b.Events(b.Ctx, "*")
	require.NoError(t, err)
	require.Len(t, events, 1)
	f := events[0].Event.GetFailed()
	require.Equal(t, ihcv1.Cause_CAUSE_INPUT, f.GetCause())
	require.Contains(t, f.GetReason(), `unknown field "start"`)
}

func TestWhatFailsBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request *ihcv1.RunRequest
		spoil   func(t *testing.T, db string)
		cause   ihcv1.Cause
		says    string
		details int
	}{
		"no database": {spoil: func(t *testing.T, db string) { require.NoError(t, os.Remove(db)) },
			cause: ihcv1.Cause_CAUSE_ENVIRONMENT, says: "no database"},
		"no table": {spoil: func(t *testing.T, db string) { change(t, db, `DROP TABLE session_costs`) },
			cause: ihcv1.Cause_CAUSE_INPUT, says: "session_costs"},
		"unsound data": {spoil: func(t *testing.T, db string) {
			change(t, db, `UPDATE conversions SET conv_date = 'tomorrow' WHERE rowid = 1`)
		},
			cause: ihcv1.Cause_CAUSE_INPUT, says: "no date of the calendar", details: 1},
		"impossible request": {request: &ihcv1.RunRequest{MaxSessions: 1 << 30}, cause: ihcv1.Cause_CAUSE_INPUT, says: "max_sessions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := streamtest.New(t)
			db := newShop(t, 600)
			if c.spoil != nil {
				c.spoil(t, db)
			}
			req := &ihcv1.RunRequest{RunId: "run"}
			if c.request != nil {
				proto.Merge(req, c.request)
			}
			require.NoError(t, b.PublishRequest(b.Ctx, req))
			extract(b, db)
			f := b.Await("run", isFailed).GetFailed()
			require.Equal(t, c.cause, f.GetCause())
			require.Contains(t, f.GetReason(), c.says)
			require.NotContains(t, f.GetReason(), "\n")
			require.GreaterOrEqual(t, len(f.GetDetails()), c.details)
			require.Empty(t, stored(t, b, "run"))
			b.Idle(stream.Requests)
			require.Empty(t, b.Dead(0))
		})
	}
}

func TestCancelledRequestIsNotBegun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run"}))
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	extract(b, newShop(t, 600))
	b.Idle(stream.Requests)
	events, err := b.Events(b.Ctx, "run")
	require.NoError(t, err)
	require.Len(t, events, 1)
}

// Anybody can publish an end, or the wish that a run go on, under a name that
// never was. The run of that name that is asked for later knows nothing of it.
func TestWhatWasSaidBeforeARunIsAskedForChangesNothing(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 600)
	stop := extract(b, db)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Reason: "no"}}})
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: 1}}})
	b.Idle(stream.Requests)
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", MaxRequests: 70}))
	b.Await("run", isExtracted)
	b.Idle(stream.Requests)
	require.Empty(t, b.Dead(0))
	left, err := b.Remaining(b.Ctx, "run", 70)
	require.NoError(t, err)
	require.EqualValues(t, 70, left)
	over, err := b.Over(b.Ctx, "run")
	require.NoError(t, err)
	require.Nil(t, over)

	// One that begins afterwards sees it so, too.
	stop()
	extract(b, db)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: 5}}})
	require.Eventually(t, func() bool {
		left, err := b.Remaining(b.Ctx, "run", 70)
		return err == nil && left == 5
	}, deadline, tick)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{Reason: "enough"}}})
	over, err = b.Over(b.Ctx, "run")
	require.NoError(t, err)
	require.Equal(t, "enough", over.GetCancelled().GetReason())
}

func TestWarningsReachTheAcceptedRun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run", RedistributionParameter: &ihcv1.RedistributionParameter{
		Holder: &ihcv1.RedistributionRule{Direction: "any_session", RedistributionChannelLabels: []string{"No such channel"}}}}))
	extract(b, newShop(t, 600))
	a := b.Await("run", func(e *ihcv1.RunEvent) bool { return e.GetAccepted() != nil }).GetAccepted()
	require.Contains(t, fmt.Sprint(a.GetWarnings()), `"No such channel" matches no channel`)
	require.EqualValues(t, run.DefaultMaxSessions, a.GetRequest().GetMaxSessions(), "defaults are filled in")
}

func TestReplays(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 5000)
	extract(b, db)
	ask := func(r *ihcv1.RunRequest) { require.NoError(t, b.PublishRequest(b.Ctx, r)) }
	ask(&ihcv1.RunRequest{RunId: "origin", MaxSessions: 50, EndDate: "2030-01-01", Model: run.ModelAPI})
	origin := b.Await("origin", isExtracted).GetExtracted()
	require.NoError(t, os.Remove(db), "a replay has no need of it")

	ask(&ihcv1.RunRequest{RunId: "again", ReplayOf: "origin", ReplayFrom: run.FromJourneys, Model: run.ModelBuiltin})
	require.True(t, proto.Equal(origin, b.Await("again", isExtracted).GetExtracted()))
	equalChunks(t, stored(t, b, "origin"), stored(t, b, "again"))
	a, err := b.Accepted(b.Ctx, "again")
	require.NoError(t, err)
	require.Equal(t, []any{"origin", run.FromJourneys, run.ModelBuiltin, "2030-01-01", uint32(50), ""}, []any{a.GetRequest().GetReplayOf(), a.GetRequest().GetReplayFrom(),
		a.GetRequest().GetModel(), a.GetRequest().GetEndDate(), a.GetRequest().GetMaxSessions(), a.GetResultsRun()})

	ask(&ihcv1.RunRequest{RunId: "results", ReplayOf: "origin", ReplayFrom: run.FromResults})
	require.True(t, proto.Equal(origin, b.Await("results", isExtracted).GetExtracted()))
	require.Empty(t, stored(t, b, "results"))
	// A replay of a replay finds the messages where they are.
	ask(&ihcv1.RunRequest{RunId: "results2", ReplayOf: "results", ReplayFrom: run.FromResults})
	b.Await("results2", isExtracted)
	a, err = b.Accepted(b.Ctx, "results2")
	require.NoError(t, err)
	require.Equal(t, "origin", a.GetResultsRun())
	ask(&ihcv1.RunRequest{RunId: "journeys2", ReplayOf: "results2", ReplayFrom: run.FromJourneys})
	b.Await("journeys2", isExtracted)
	equalChunks(t, stored(t, b, "origin"), stored(t, b, "journeys2"))

	for id, says := range map[string]string{"nobody": "is not known", "stump": "was not extracted to its end", "shortened": "of the 9 chunks of run shortened are still stored"} {
		switch id {
		case "stump":
			b.Event(id, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{}}})
		case "shortened":
			b.Event(id, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{}}})
			b.Event(id, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: 9}}})
		}
		ask(&ihcv1.RunRequest{RunId: "of-" + id, ReplayOf: id, ReplayFrom: run.FromJourneys})
		f := b.Await("of-"+id, isFailed).GetFailed()
		require.Equal(t, ihcv1.Cause_CAUSE_INPUT, f.GetCause())
		require.Contains(t, f.GetReason(), says)
	}
}

// A replay of conversions that are all gone, or have other ids, would show nothing.
func TestReplayWhoseConversionsAreAllGoneIsRefused(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := newShop(t, 5000)
	extract(b, db)
	ask := func(r *ihcv1.RunRequest) { require.NoError(t, b.PublishRequest(b.Ctx, r)) }
	ask(&ihcv1.RunRequest{RunId: "origin"})
	b.Await("origin", isExtracted)
	for _, c := range stored(t, b, "origin") {
		r := &ihcv1.AttributionResult{RunId: "origin", Chunk: c.GetChunk(), Outcomes: c.GetOutcomes()}
		for _, j := range c.GetJourneys() {
			r.Attributions = append(r.Attributions, &ihcv1.Attribution{ConvId: j.GetConvId(), SessionIds: []string{"s"}, Ihc: []uint32{10_000}})
		}
		require.NoError(t, b.PublishResult(b.Ctx, r))
	}
	change(t, db, `UPDATE conversions SET conv_id = 'new'||conv_id WHERE user_id IN (SELECT user_id FROM session_sources)`)
	for _, from := range []string{run.FromJourneys, run.FromResults} {
		ask(&ihcv1.RunRequest{RunId: "of-" + from, ReplayOf: "origin", ReplayFrom: from})
		f := b.Await("of-"+from, isFailed).GetFailed()
		require.Equal(t, ihcv1.Cause_CAUSE_INPUT, f.GetCause())
		require.Regexp(t, "none of the [0-9,]+ conversions that run origin attributed is in the database any more", f.GetReason())
		_, err := b.Accepted(b.Ctx, "of-"+from)
		require.ErrorIs(t, err, stream.ErrNotFound)
		require.Empty(t, stored(t, b, "of-"+from))
	}

	change(t, db, `UPDATE conversions SET conv_id = substr(conv_id, 4) WHERE conv_id = (SELECT max(conv_id) FROM conversions WHERE conv_id LIKE 'new%')`)
	ask(&ihcv1.RunRequest{RunId: "one-left", ReplayOf: "origin", ReplayFrom: run.FromResults})
	b.Await("one-left", isExtracted)
}

// The event resumed gives the budget and puts the chunks back, however often
// it is delivered.
func TestResumedRunGetsItsChunksBack(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	chunks := []*ihcv1.JourneyChunk{{RunId: "run", Chunk: 1}, {RunId: "run", Chunk: 2}, {RunId: "run", Chunk: 3}}
	b.Publish(&ihcv1.RunRequest{RunId: "run", MaxRequests: 1}, nil, chunks...)
	require.NoError(t, b.PublishResult(b.Ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 2}))
	_, err := b.Spend(b.Ctx, stream.Delivery{Run: "run", Sequence: 1}, 1)
	require.NoError(t, err)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{}}})
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: 2}}})
	extract(b, newShop(t, 600))
	b.Idle(stream.Requests)
	times := map[uint32]int{}
	require.NoError(t, b.EachChunk(b.Ctx, "run", func(c *ihcv1.JourneyChunk) error { times[c.GetChunk()]++; return nil }))
	require.Equal(t, map[uint32]int{1: 2, 2: 1, 3: 2}, times)
	spend := func(sequence uint64) error {
		_, err := b.Spend(b.Ctx, stream.Delivery{Run: "run", Sequence: sequence}, 1)
		return err
	}
	require.ErrorIs(t, spend(3), stream.ErrVoid)
	require.NoError(t, spend(4))
	require.NoError(t, spend(5))
	require.ErrorIs(t, spend(5), stream.ErrSpent)
}
