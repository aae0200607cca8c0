package storetest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var sweepTests = map[string]func(*testing.T, Backend){
	"NothingShowsBeforeARunIsWhole":                 nothingShowsBeforeARunIsWhole,
	"EndedRunLeavesNothing":                         endedRunLeavesNothing,
	"RunThatDoesNotAddUpShowsNothing":               runThatDoesNotAddUpShowsNothing,
	"SweepRemovesWhatHasNoAttributionAnyMore":       sweepRemovesWhatHasNoAttributionAnyMore,
	"SecondRunOverTheSameDataChangesNothing":        secondRunOverTheSameDataChangesNothing,
	"RevisionAfterTheEndIsShownByTheNext":           revisionAfterTheEndIsShownByTheNext,
	"RevisionOfAnEarlierRunLeavesTheRestToTheLater": revisionOfAnEarlierRunLeavesTheRestToTheLater,
	"TwoRunsInterleaved":                            twoRunsInterleaved,
	"TablesAreThoseOfTheModel":                      tablesAreThoseOfTheModel,
	"SweepTellsHowFarItIs":                          sweepTellsHowFarItIs,
}

// before is what an earlier run left, in a database of four conversions.
func before(t *testing.T, b Backend) (*fixture, []string) {
	f := b.fresh(t)
	f.sell("a", "b", "c", "d")
	f.ran("before", result("before", 1, attributed("a", 2500, 7500), attributed("b", 10_000)))
	shown := f.shown()
	require.Equal(t, []string{"a|a-s0|0.25", "a|a-s1|0.75", "b|b-s0|1"}, shown)
	return f, shown
}

func ofRun(f *fixture, run string) []string {
	return f.rows(`SELECT j.conv_id FROM pipeline_journeys j JOIN pipeline_runs r ON r.run = j.run WHERE r.run_id = $1`, run)
}

// How far a sweep is is told from 0 to most of it, of an empty table and of one with
// rows.
func sweepTellsHowFarItIs(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b")
	for _, r := range []*ihcv1.AttributionResult{
		result("one", 1, attributed("a", 2500, 7500), attributed("b", 10_000)),
		result("two", 1, attributed("a", 10_000), attributed("b", 5000, 5000)),
	} {
		f.expect(r.GetRunId(), 1, 2)
		f.store(r)
		ctx, told := Listen(t.Context())
		s, err := f.Finish(ctx, r.GetRunId())
		require.NoError(t, err)
		require.True(t, s.Complete)
		RequireMostTold(t, told())
	}
}

// Listen returns a context of [store.OnStep], and a function for what was told by it so
// far, which two connections may have told at once.
func Listen(ctx context.Context) (listening context.Context, told func() []float64) {
	var mu sync.Mutex
	var all []float64
	listening = store.OnStep(ctx, func(done float64) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, done)
	})
	return listening, func() []float64 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// RequireMostTold checks that 0 was told first, and most of all there is by the end.
func RequireMostTold(t *testing.T, told []float64) {
	t.Helper()
	require.NotEmpty(t, told)
	require.Zero(t, told[0])
	require.Greater(t, slices.Max(told), 0.6)
	require.LessOrEqual(t, slices.Max(told), 1.0)
}

// Invariant 9, while results come in.
func nothingShowsBeforeARunIsWhole(t *testing.T, b Backend) {
	f, was := before(t, b)
	one := result("now", 1, attributed("a", 10_000), attributed("c", 6000, 4000))
	two := result("now", 2, attributed("d", 10_000))
	two.Outcomes = []*ihcv1.Outcome{unscored("b", "gone")}
	f.store(one)
	require.Equal(t, was, f.shown())
	f.expect("now", 2, 4)
	s, err := f.Finish(t.Context(), "now")
	require.NoError(t, err)
	require.False(t, s.Complete)
	require.Equal(t, was, f.shown(), "half of it is there")
	f.store(two)
	require.Equal(t, was, f.shown())
	f.finish("now")
	require.Equal(t, []string{"a|a-s0|1", "c|c-s0|0.6", "c|c-s1|0.4", "d|d-s0|1"}, f.shown())
}

// Invariant 9, where a run comes to nothing.
func endedRunLeavesNothing(t *testing.T, b Backend) {
	f, was := before(t, b)
	journal, latest := f.journal(), f.latest()
	for run, c := range map[string]struct {
		status store.Status
		stored int
	}{"failed-early": {store.Failed, 1}, "cancelled-late": {store.Cancelled, 2}} {
		results := []*ihcv1.AttributionResult{result(run, 1, attributed("a", 10_000)), result(run, 2, attributed("c", 6000, 4000))}
		results[1].Outcomes = []*ihcv1.Outcome{unscored("b", "gone")}
		f.expect(run, 2, 3)
		f.store(results[:c.stored]...)
		require.NotEmpty(t, ofRun(f, run))
		for range 2 {
			require.NoError(t, f.End(t.Context(), run, c.status))
			f.store(results...) // too late
			s, err := f.Finish(t.Context(), run)
			require.NoError(t, err)
			require.False(t, s.Complete)
			require.Equal(t, was, f.shown())
			require.Equal(t, journal, f.journal())
			require.Equal(t, latest, f.latest())
		}
	}
	f.ran("next", result("next", 1, attributed("c", 10_000)))
	require.Equal(t, append(was, "c|c-s0|1"), f.shown())
}

func runThatDoesNotAddUpShowsNothing(t *testing.T, b Backend) {
	f, was := before(t, b)
	f.expect("wrong", 1, 9)
	f.store(result("wrong", 1, attributed("a", 10_000)))
	for range 2 {
		s, err := f.Finish(t.Context(), "wrong")
		require.NoError(t, err)
		require.NotEmpty(t, s.Wrong)
		require.Equal(t, was, f.shown())
	}
	require.NoError(t, f.End(t.Context(), "wrong", store.Failed))
	require.Equal(t, was, f.shown())
	require.Empty(t, ofRun(f, "wrong"))
}

func sweepRemovesWhatHasNoAttributionAnyMore(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("deleted", "excluded", "failed", "lonely", "kept", "shorter", "another's")
	one := result("one", 1)
	for _, conv := range []string{"deleted", "excluded", "failed", "lonely", "kept", "shorter"} {
		one.Attributions = append(one.Attributions, attributed(conv, 2000, 8000))
	}
	f.ran("one", one)
	f.exec(`INSERT INTO attribution_customer_journey VALUES ('another''s', 'x', 0.5), ('another''s', 'y', 0.5), ('never sold', 'x', 1), ('soon gone', 'x', 1)`)
	f.exec(`DELETE FROM conversions WHERE conv_id = 'deleted'`)
	two := result("two", 1, attributed("shorter", 10_000), attributed("soon gone", 10_000))
	for conv, kind := range map[string]ihcv1.OutcomeKind{"excluded": ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED,
		"failed": ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, "lonely": ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS} {
		two.Outcomes = append(two.Outcomes, &ihcv1.Outcome{ConvId: conv, Kind: kind})
	}
	f.ran("two", two)
	require.Equal(t, []string{"another's|x|0.5", "another's|y|0.5", "kept|kept-s0|0.2", "kept|kept-s1|0.8", "shorter|shorter-s0|1"}, f.shown())
	require.Equal(t, []string{"one|kept", "two|shorter"}, f.journal(), "what is shown no more is not kept")
	require.Equal(t, []string{"kept|one", "shorter|two"}, f.latest())
}

func secondRunOverTheSameDataChangesNothing(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b", "c")
	over := func(run string) {
		r := result(run, 1, attributed("b", 10_000), attributed("a", 3333, 3333, 3334))
		r.Outcomes = []*ihcv1.Outcome{unscored("c", "why")}
		slices.Reverse(r.GetAttributions()[1].GetSessionIds()) // by time, not by id
		f.ran(run, r)
	}
	over("one")
	shown, journal := f.shown(), f.journal()
	require.Equal(t, []string{"a|a-s0|0.3334", "a|a-s1|0.3333", "a|a-s2|0.3333", "b|b-s0|1"}, shown)
	rebuilt := func(run string) *store.Totals {
		report := f.rebuilt(&ihcv1.RunRequest{})
		require.Len(t, report.Journeys.Runs, 1)
		require.Equal(t, run, report.Journeys.Runs[0].RunID, "the last one scored it")
		report.Journeys.Runs = nil
		return report
	}
	report := rebuilt("one")
	for _, run := range []string{"two", "three", "four"} {
		over(run)
		require.Equal(t, shown, f.shown())
		require.Len(t, f.journal(), len(journal))
		require.Equal(t, []string{run + "|a", run + "|b"}, f.journal())
		require.Equal(t, report, rebuilt(run))
	}
}

// A dead letter is put back when its run is long written.
func revisionAfterTheEndIsShownByTheNext(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b", "c")
	poor := result("run", 2)
	poor.Outcomes = []*ihcv1.Outcome{unscored("b", "poison"), unscored("c", "poison")}
	f.ran("run", result("run", 1, attributed("a", 10_000)), poor)
	require.Equal(t, []string{"a|a-s0|1"}, f.shown())
	for i, shares := range [][]uint32{{2500, 7500}, {6000, 4000}, {10_000}} {
		better := result("run", 2, attributed("b", shares...), attributed("c", shares...))
		better.Revision = uint32(i + 1)
		was := f.shown()
		f.store(better)
		require.Equal(t, was, f.shown())
		require.EqualValues(t, i+1, f.finish("run").Revision)
		want := slices.Concat([]string{"a|a-s0|1"}, rowsOf(better.GetAttributions()[0]), rowsOf(better.GetAttributions()[1]))
		require.Equal(t, want, f.shown())
		require.Equal(t, []string{"run|a", "run|b", "run|c"}, f.journal())
		require.Equal(t, []string{"a|run", "b|run", "c|run"}, f.latest())
	}
}

// What an earlier run did not score anew is as the later run left it.
func revisionOfAnEarlierRunLeavesTheRestToTheLater(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b", "c")
	poor := result("early", 2)
	poor.Outcomes = []*ihcv1.Outcome{unscored("b", "poison")}
	f.ran("early", result("early", 1, attributed("a", 10_000)), poor, result("early", 3, attributed("c", 10_000)))
	f.ran("late", result("late", 1, attributed("a", 4000, 6000), attributed("b", 4000, 6000), attributed("c", 4000, 6000)))
	anew := result("early", 1, attributed("a", 5000, 5000))
	anew.Revision = 1
	f.store(anew)
	f.finish("early")
	require.Equal(t, []string{"a|a-s0|0.5", "a|a-s1|0.5", "b|b-s0|0.4", "b|b-s1|0.6", "c|c-s0|0.4", "c|c-s1|0.6"}, f.shown())
}

func twoRunsInterleaved(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b", "c", "d")
	f.expect("one", 2, 3)
	f.expect("two", 2, 3)
	f.store(result("one", 1, attributed("a", 1000, 9000)), result("two", 2, attributed("c", 2000, 8000), attributed("d", 10_000)),
		result("one", 2, attributed("b", 10_000), attributed("c", 1000, 9000)))
	f.finish("one")
	require.Equal(t, []string{"a|a-s0|0.1", "a|a-s1|0.9", "b|b-s0|1", "c|c-s0|0.1", "c|c-s1|0.9"}, f.shown(), "of the other nothing")
	f.store(result("two", 1, attributed("a", 2000, 8000)))
	f.finish("one")
	require.Len(t, f.shown(), 5)
	f.finish("two")
	want := []string{"a|a-s0|0.2", "a|a-s1|0.8", "b|b-s0|1", "c|c-s0|0.2", "c|c-s1|0.8", "d|d-s0|1"}
	require.Equal(t, want, f.shown())
	f.finish("one")
	require.Equal(t, want, f.shown(), "all of it was shown before")
	require.Equal(t, []string{"one|b", "two|a", "two|c", "two|d"}, f.journal())
}
