package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var identityTests = map[string]func(*testing.T, Backend){
	"DatabaseHasOneIdentity":                databaseHasOneIdentity,
	"RunOfAnotherDatabaseIsRefused":         runOfAnotherDatabaseIsRefused,
	"NameThatIsUsedAgainBeginsAnew":         nameThatIsUsedAgainBeginsAnew,
	"NameOfAnotherRequestIsRefused":         nameOfAnotherRequestIsRefused,
	"ReplayIsEnteredWhereItsOriginIs":       replayIsEnteredWhereItsOriginIs,
	"ResultScoredOtherwiseIsRefused":        resultScoredOtherwiseIsRefused,
	"FirstResultSettlesWhatScoresTheOthers": firstResultSettlesWhatScoresTheOthers,
}

func asked(id, at string) *ihcv1.RunAccepted {
	return &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}, Asked: at}
}

// entered enters a run and returns what is announced of it.
func (f *fixture) entered(a *ihcv1.RunAccepted, again bool) *ihcv1.RunAccepted {
	f.t.Helper()
	database, was, err := f.Enter(f.t.Context(), a)
	require.NoError(f.t, err)
	require.NotEmpty(f.t, database)
	require.Equal(f.t, again, was)
	a.Database = database
	require.NoError(f.t, f.Accept(f.t.Context(), a))
	require.NoError(f.t, f.Confirm(f.t.Context(), a))
	return a
}

func refused(t *testing.T, err error, says string) {
	t.Helper()
	require.ErrorIs(t, err, store.ErrRefused)
	require.ErrorContains(t, err, says)
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}

func databaseHasOneIdentity(t *testing.T, b Backend) {
	f, other := b.fresh(t), b.fresh(t)
	one := f.entered(asked("one", "1"), false).GetDatabase()
	require.Equal(t, one, f.entered(asked("one", "1"), false).GetDatabase(), "delivered again")
	require.Equal(t, one, f.entered(asked("two", "2"), false).GetDatabase())
	require.NotEqual(t, one, other.entered(asked("one", "1"), false).GetDatabase())
}

func runOfAnotherDatabaseIsRefused(t *testing.T, b Backend) {
	f, other := b.fresh(t), b.fresh(t)
	a := f.entered(asked("run", "1"), false)
	refused(t, other.Confirm(t.Context(), a), "was replaced")
	refused(t, other.Accept(t.Context(), a), "was replaced")
	other.entered(asked("run", "2"), false)
	refused(t, other.Confirm(t.Context(), a), "was replaced")
	refused(t, f.Confirm(t.Context(), &ihcv1.RunAccepted{Request: a.GetRequest(), Asked: "2", Database: a.GetDatabase()}), "was replaced")
	refused(t, f.Accept(t.Context(), &ihcv1.RunAccepted{Request: a.GetRequest(), Asked: "2", Database: a.GetDatabase()}), "at another time")

	// What is accepted and not known any more: a copy from before the run.
	f.exec(`DELETE FROM pipeline_runs WHERE run_id = 'run'`)
	refused(t, f.Confirm(t.Context(), a), "was replaced")
	refused(t, f.Store(t.Context(), []*ihcv1.AttributionResult{result("run", 1, attributed("a", 10_000))}), "was replaced")
	refused(t, f.Expect(t.Context(), "run", &ihcv1.RunExtracted{}), "was replaced")
	_, err := f.Finish(t.Context(), "run")
	refused(t, err, "was replaced")
	require.Empty(t, f.journal())
}

// After the streams were emptied the same name is another run, and what the
// first one gave stays until the second has its own.
func nameThatIsUsedAgainBeginsAnew(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b")
	f.entered(asked("run", "1"), false)
	f.ran("run", result("run", 1, attributed("a", 10_000)), result("run", 2, attributed("b", 10_000)))
	first := f.shown()
	f.entered(asked("run", "2"), true)
	require.Equal(t, first, f.shown())
	s, err := f.Finish(t.Context(), "run")
	require.NoError(t, err)
	require.False(t, s.Complete, "nothing of the new run is stored")
	f.ran("run", result("run", 1, attributed("a", 2500, 7500)), result("run", 2, attributed("b", 5000, 5000)))
	require.Equal(t, []string{"a|a-s0|0.25", "a|a-s1|0.75", "b|b-s0|0.5", "b|b-s1|0.5"}, f.shown())
	require.Equal(t, []string{"a|run", "b|run"}, f.latest())

	// One that never ended leaves nothing.
	f.entered(asked("cut", "3"), false)
	f.store(result("cut", 1, attributed("a", 10_000)))
	f.entered(asked("cut", "4"), true)
	require.NotContains(t, f.journal(), "cut|a")
}

func nameOfAnotherRequestIsRefused(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.entered(asked("run", "1"), false)
	was := f.rows(`SELECT * FROM pipeline_runs`)
	other := asked("run", "2")
	other.Request.StartDate = "2023-09-01"
	_, _, err := f.Enter(t.Context(), other)
	refused(t, err, "run id run was used on this database for another request (all conversions)")
	require.Equal(t, was, f.rows(`SELECT * FROM pipeline_runs`))
}

func replayIsEnteredWhereItsOriginIs(t *testing.T, b Backend) {
	f, other := b.fresh(t), b.fresh(t)
	replay := asked("again", "2")
	replay.Request.ReplayOf, replay.Request.ReplayFrom = "run", run.FromResults
	replay.Database = f.entered(asked("run", "1"), false).GetDatabase()
	require.NoError(t, f.Accept(t.Context(), replay))
	require.NoError(t, f.Confirm(t.Context(), replay))
	other.entered(asked("run", "1"), false)
	refused(t, other.Accept(t.Context(), replay), "is not the one that run run began on, which run again replays")
	refused(t, b.fresh(t).Accept(t.Context(), replay), "is not the one that run run began on, which run again replays")
}

func resultScoredOtherwiseIsRefused(t *testing.T, b Backend) {
	f := b.fresh(t)
	a := asked("run", "1")
	a.Scoring = &ihcv1.Scoring{Model: "api", ConvTypeId: "type"}
	f.entered(a, false)
	right, wrong, silent := result("run", 1, attributed("a", 10_000)), result("run", 2, attributed("b", 10_000)), result("run", 3, attributed("c", 10_000))
	right.Scoring = run.ScoringDigest(a.GetScoring())
	wrong.Scoring = run.ScoringDigest(&ihcv1.Scoring{Model: "builtin"})
	require.NoError(t, f.Store(t.Context(), []*ihcv1.AttributionResult{right}))
	refused(t, f.Store(t.Context(), []*ihcv1.AttributionResult{wrong}), "scored by something else")
	refused(t, f.Store(t.Context(), []*ihcv1.AttributionResult{silent}), "scored by something else")
	require.Equal(t, []string{"run|a"}, f.journal())
}

func firstResultSettlesWhatScoresTheOthers(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.entered(asked("run", "1"), false)
	one, two, other := result("run", 1, attributed("a", 10_000)), result("run", 2, attributed("b", 10_000)), result("run", 3, attributed("c", 10_000))
	one.Scoring, two.Scoring, other.Scoring = []byte("this"), []byte("this"), []byte("that")
	require.NoError(t, f.Store(t.Context(), []*ihcv1.AttributionResult{one, two}))
	refused(t, f.Store(t.Context(), []*ihcv1.AttributionResult{other}), "scored by something else")
	require.Equal(t, []string{"run|a", "run|b"}, f.journal())
}
