package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var ledgerTests = map[string]func(*testing.T, Backend){
	"StoringTwiceIsStoringOnce":                 storingTwiceIsStoringOnce,
	"ResultsAreStoredTogetherOrNotAtAll":        resultsAreStoredTogetherOrNotAtAll,
	"LaterRevisionReplacesTheEarlier":           laterRevisionReplacesTheEarlier,
	"LaterRunWinsWholeConversions":              laterRunWinsWholeConversions,
	"RunIsCompleteWhenEverythingIsAccountedFor": runIsCompleteWhenEverythingIsAccountedFor,
	"TwoLedgersOnOneDatabase":                   twoLedgersOnOneDatabase,
	"AnyOrderGivesTheSameTables":                anyOrderGivesTheSameTables,
}

func storingTwiceIsStoringOnce(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b", "c")
	r := &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Model: "api", Requests: 1,
		Attributions: []*ihcv1.Attribution{attributed("a", 2500, 7500), attributed("b", 10_000)}, Outcomes: []*ihcv1.Outcome{unscored("c", "why")}}
	f.expect("run", 1, 3)
	for range 3 {
		require.NoError(t, f.Store(t.Context(), []*ihcv1.AttributionResult{r, r}))
		s := f.finish("run")
		require.True(t, proto.Equal(&ihcv1.Counts{InRange: 3, Attributed: 2, Failed: 1, Touchpoints: 3}, s.Counts), s.Counts)
		require.Equal(t, "api", s.Model)
		require.EqualValues(t, 1, s.Requests)
		require.Zero(t, s.Revision)
		require.Equal(t, []string{"a|a-s0|0.25", "a|a-s1|0.75", "b|b-s0|1"}, f.shown())
		require.Equal(t, []string{"run|a", "run|b"}, f.journal())
		require.Equal(t, []string{"run|c|1|failed|why|3"},
			f.rows(`SELECT r.run_id, o.conv_id, o.chunk, o.outcome, o.reason, o.sessions FROM pipeline_outcomes o JOIN pipeline_runs r ON r.run = o.run`))
		reasons := f.rebuilt(&ihcv1.RunRequest{RunId: "run"}).Reasons
		require.Len(t, reasons, 1)
		require.True(t, proto.Equal(&ihcv1.ReasonCount{Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, Reason: "why", Conversions: 1, ExampleConvId: "c", Revenue: "1"}, reasons[0]), reasons)
	}
}

// A transaction that fails leaves nothing, and the reason names the chunk, or
// the first of several, which the caller then stores one by one.
func resultsAreStoredTogetherOrNotAtAll(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b")
	twice := attributed("b", 5000, 5000)
	twice.SessionIds[1] = twice.SessionIds[0]
	short := attributed("b", 5000, 5000)
	short.Ihc = short.Ihc[1:]
	for _, bad := range []*ihcv1.Attribution{twice, short} {
		err := f.Store(t.Context(), []*ihcv1.AttributionResult{result("run", 1, attributed("a", 10_000)), result("run", 2, bad)})
		require.ErrorContains(t, err, "store 2 results, from chunk 1 of run run on")
		require.Equal(t, errkind.Run, errkind.KindOf(err), "it lies in the result, not in the environment")
		require.Equal(t, []string{"empty"}, f.rows(`SELECT run_id FROM pipeline_runs`))
		require.Empty(t, f.journal())
		err = f.Store(t.Context(), []*ihcv1.AttributionResult{result("run", 2, bad)})
		require.ErrorContains(t, err, "store chunk 2 of run run")
	}
	f.ran("run", result("run", 1, attributed("a", 10_000)))
	require.Len(t, f.shown(), 1)
}

func laterRevisionReplacesTheEarlier(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b")
	first := &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Requests: 2, Model: "api",
		Attributions: []*ihcv1.Attribution{attributed("a", 2500, 7500)}, Outcomes: []*ihcv1.Outcome{unscored("b", "poison")}}
	second := &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Revision: 2, Requests: 1, Model: "api",
		Attributions: []*ihcv1.Attribution{attributed("a", 6000, 4000), attributed("b", 10_000)}}
	f.expect("run", 1, 2)
	require.NoError(t, f.Store(t.Context(), []*ihcv1.AttributionResult{first, second, first}))
	s := f.finish("run")
	require.True(t, proto.Equal(&ihcv1.Counts{InRange: 2, Attributed: 2, Touchpoints: 3}, s.Counts), s.Counts)
	require.EqualValues(t, 1, s.Requests)
	require.EqualValues(t, 1, s.Revision)
	require.Equal(t, []string{"a|a-s0|0.6", "a|a-s1|0.4", "b|b-s0|1"}, f.shown())
	require.Empty(t, f.rows(`SELECT * FROM pipeline_outcomes`))
}

func laterRunWinsWholeConversions(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b", "c")
	old := result("one", 1, attributed("a", 2000, 3000, 5000), attributed("b", 10_000), attributed("c", 10_000))
	now := result("two", 1, attributed("a", 4000, 6000))
	now.Outcomes = []*ihcv1.Outcome{unscored("b", "gone")}
	f.ran("one", old)
	f.ran("two", now)
	want := []string{"a|a-s0|0.4", "a|a-s1|0.6", "c|c-s0|1"}
	require.Equal(t, want, f.shown())
	f.store(old) // delivered again
	f.finish("one")
	require.Equal(t, want, f.shown())
}

func runIsCompleteWhenEverythingIsAccountedFor(t *testing.T, b Backend) {
	f := b.fresh(t)
	ctx := t.Context()
	one := func(id string, n uint32) *ihcv1.AttributionResult {
		return result(id, n, attributed(fmt.Sprintf("%s-%d", id, n), 10_000))
	}
	complete := func(id string) bool {
		s, err := f.Finish(ctx, id)
		require.NoError(t, err)
		return s.Complete
	}
	require.False(t, complete("unknown"))
	f.store(one("run", 2))
	require.False(t, complete("run"), "nobody knows yet how many there are")
	require.NoError(t, f.Accept(ctx, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run", StartDate: "2023-09-01"}}))
	f.expect("run", 2, 2)
	require.False(t, complete("run"))
	f.store(one("run", 1))
	require.True(t, complete("run"))
	require.NoError(t, f.End(ctx, "run", store.Failed))
	require.True(t, complete("run"), "what is written stays so")

	f.expect("wrong", 1, 7)
	f.store(one("wrong", 1))
	s, err := f.Finish(ctx, "wrong")
	require.NoError(t, err)
	require.True(t, s.Complete)
	require.Contains(t, s.Wrong, "the extractor read 7 conversions, the results hold 1")

	f.expect("over", 1, 1)
	require.NoError(t, f.End(ctx, "over", store.Cancelled))
	f.store(one("over", 1))
	require.False(t, complete("over"))
	require.NoError(t, f.End(ctx, "never-accepted", store.Failed))
	require.False(t, complete("never-accepted"))

	require.NoError(t, f.Expect(ctx, "none", &ihcv1.RunExtracted{}))
	require.True(t, complete("none"), "a run without conversions")
}

// Two writers started by mistake: each result is stored by whoever is first.
func twoLedgersOnOneDatabase(t *testing.T, b Backend) {
	f := b.fresh(t)
	const chunks = 60
	var results []*ihcv1.AttributionResult
	for n := range uint32(chunks) {
		f.sell(fmt.Sprintf("c%d", n), fmt.Sprintf("x%d", n))
		r := result("run", n+1, attributed(fmt.Sprintf("c%d", n), 2500, 7500))
		r.Requests, r.Outcomes = 1, []*ihcv1.Outcome{unscored(fmt.Sprintf("x%d", n), "")}
		results = append(results, r)
	}
	var group errgroup.Group
	for i := range uint64(2) {
		l := f.another()
		mine := slices.Clone(results)
		rand.New(rand.NewPCG(i, 1)).Shuffle(chunks, func(a, b int) { mine[a], mine[b] = mine[b], mine[a] })
		group.Go(func() error {
			err := l.Expect(t.Context(), "run", &ihcv1.RunExtracted{Chunks: chunks, Counts: &ihcv1.Counts{InRange: 2 * chunks}})
			for batch := range slices.Chunk(mine, 7) {
				err = errors.Join(err, l.Store(t.Context(), batch))
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.EqualValues(t, chunks, f.finish("run").Requests)
	require.Len(t, f.shown(), 2*chunks)
}

// Whatever comes in whatever order, as often as it likes: the tables are those
// of a model that is too simple to be wrong.
func anyOrderGivesTheSameTables(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f := b.fresh(t)
		for chunk := range 3 {
			for i := range 3 {
				f.sell(fmt.Sprintf("c%d-%d", chunk+1, i))
			}
		}
		stored := map[string]map[uint32]*ihcv1.AttributionResult{"r1": {}, "r2": {}} // what counts
		// A chunk's conversions are its own in each run; runs share them.
		for range rapid.IntRange(1, 12).Draw(t, "batches") {
			var batch []*ihcv1.AttributionResult
			for range rapid.IntRange(1, 4).Draw(t, "size") {
				r := drawResult(t)
				batch = append(batch, r)
				if was := stored[r.GetRunId()][r.GetChunk()]; was == nil || was.GetRevision() < r.GetRevision() {
					stored[r.GetRunId()][r.GetChunk()] = r
				}
			}
			require.NoError(t, f.Store(context.Background(), batch))
			require.Empty(t, f.shown())
		}
		for id, chunks := range stored { // a run's chunks are numbered without gaps
			for n := uint32(1); len(chunks) > 0 && n < slices.Max(slices.Collect(maps.Keys(chunks))); n++ {
				if chunks[n] == nil {
					chunks[n] = &ihcv1.AttributionResult{RunId: id, Chunk: n, Requests: 1}
					require.NoError(t, f.Store(context.Background(), []*ihcv1.AttributionResult{chunks[n]}))
				}
			}
		}
		holds := map[string][]string{} // conversion → rows
		for _, id := range []string{"r1", "r2"} {
			counts := &ihcv1.Counts{}
			for _, r := range stored[id] {
				for _, a := range r.GetAttributions() {
					run.Add(counts, ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED, 1, uint64(len(a.GetIhc())))
					holds[a.GetConvId()] = rowsOf(a)
				}
				run.Add(counts, ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, uint64(len(r.GetOutcomes())), 0)
				for _, o := range r.GetOutcomes() {
					delete(holds, o.GetConvId())
				}
			}
			chunks := len(stored[id])
			f.expect(id, uint32(chunks), counts.GetInRange())
			s := f.finish(id)
			require.True(t, proto.Equal(counts, s.Counts), "%v, not %v", s.Counts, counts)
			require.EqualValues(t, chunks, s.Requests)
			require.Equal(t, sorted(holds), f.shown())
		}
	})
}

func drawResult(t *rapid.T) *ihcv1.AttributionResult {
	r := &ihcv1.AttributionResult{RunId: rapid.SampledFrom([]string{"r1", "r2"}).Draw(t, "run"),
		Chunk: rapid.Uint32Range(1, 3).Draw(t, "chunk"), Revision: rapid.Uint32Range(0, 2).Draw(t, "revision"), Requests: 1}
	for i := range rapid.IntRange(0, 3).Draw(t, "conversions") {
		conv := fmt.Sprintf("c%d-%d", r.GetChunk(), i)
		if rapid.Bool().Draw(t, "scored") {
			r.Attributions = append(r.Attributions, attributed(conv, slices.Repeat([]uint32{5000}, rapid.IntRange(1, 3).Draw(t, "sessions"))...))
		} else {
			r.Outcomes = append(r.Outcomes, unscored(conv, "why"))
		}
	}
	return r
}

// rowsOf is what the users' table shows of an attribution.
func rowsOf(a *ihcv1.Attribution) (rows []string) {
	for i, s := range a.GetSessionIds() {
		rows = append(rows, fmt.Sprintf("%s|%s|%v", a.GetConvId(), s, float64(a.GetIhc()[i])/10_000))
	}
	return rows
}

// sorted is all rows as [fixture.rows] gives them.
func sorted(by map[string][]string) (all []string) {
	for rows := range maps.Values(by) {
		all = append(all, rows...)
	}
	slices.Sort(all)
	return all
}
