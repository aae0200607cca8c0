package extractor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// How much of a run was scored before is told by its days that were last reported by a
// run that made and scored its journeys likewise.
func TestWhatWasScoredBefore(t *testing.T) {
	t.Parallel()
	const builtin, other = `{"model":"builtin","modelParams":"{}"}`, `{"model":"linear"}`
	run := func(request, scoredBy string) store.KnownRun {
		return store.KnownRun{RunRecord: store.RunRecord{ID: "before", Request: request, ScoredBy: scoredBy}, Report: 1}
	}
	for name, c := range map[string]struct {
		asks  *ihcv1.RunRequest
		known []store.KnownRun
		want  float64
	}{
		"none":             {&ihcv1.RunRequest{}, nil, 0},
		"all":              {&ihcv1.RunRequest{}, []store.KnownRun{run(`{}`, builtin)}, 1},
		"days of all":      {&ihcv1.RunRequest{StartDate: "2023-09-03", EndDate: "2023-09-04"}, []store.KnownRun{run(`{}`, builtin)}, 1},
		"all, after days":  {&ihcv1.RunRequest{}, []store.KnownRun{run(`{"start_date":"2023-09-03","end_date":"2023-09-07"}`, builtin)}, 0.5},
		"a day later":      {&ihcv1.RunRequest{StartDate: "2023-09-02", EndDate: "2023-09-05"}, []store.KnownRun{run(`{"startDate":"2023-09-01","endDate":"2023-09-04"}`, builtin)}, 0.75},
		"by several":       {&ihcv1.RunRequest{}, []store.KnownRun{run(`{"end_date":"2023-09-04"}`, builtin), run(`{"start_date":"2023-09-03","end_date":"2023-09-06"}`, builtin)}, 0.6},
		"scored anew":      {&ihcv1.RunRequest{}, []store.KnownRun{run(`{}`, builtin), run(`{}`, other)}, 0},
		"some of it anew":  {&ihcv1.RunRequest{}, []store.KnownRun{run(`{}`, builtin), run(`{"start_date":"2023-09-08"}`, other)}, 0.7},
		"and again":        {&ihcv1.RunRequest{}, []store.KnownRun{run(`{}`, other), run(`{}`, builtin)}, 1},
		"no day in common": {&ihcv1.RunRequest{StartDate: "2023-09-06"}, []store.KnownRun{run(`{"end_date":"2023-09-05"}`, builtin)}, 0},
		"no conversions":   {&ihcv1.RunRequest{StartDate: "2024-01-01"}, []store.KnownRun{run(`{}`, builtin)}, 0},
		"another model":    {&ihcv1.RunRequest{}, []store.KnownRun{run(`{}`, other), run(`{}`, ``), run(`{`, builtin)}, 0},
		"other journeys":   {&ihcv1.RunRequest{LookbackDays: 7}, []store.KnownRun{run(`{}`, builtin)}, 0},
		"itself":           {&ihcv1.RunRequest{RunId: "before"}, []store.KnownRun{run(`{}`, builtin)}, 0},
		"never reported":   {&ihcv1.RunRequest{}, []store.KnownRun{{RunRecord: store.RunRecord{Request: `{}`, ScoredBy: builtin}}}, 0},
	} {
		accepted := &ihcv1.RunAccepted{Request: c.asks, Scoring: &ihcv1.Scoring{Model: "builtin", ModelParams: "{}"}}
		require.InDelta(t, c.want, scoredBefore(accepted, c.known, "2023-09-01", "2023-09-10"), 1e-9, name)
	}
}

// The first journeys that are read say little, and all of them all.
func TestTouchpointsOfAConversion(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 60, mean(0, 60, 1, 100_000), 1e-9)
	require.InDelta(t, 40, mean(40, 60, 1, 100_000), 0.1)
	require.InDelta(t, 50, mean(40, 60, toldByCheck, 1e9), 0.1)
	require.InDelta(t, 60, mean(40, 60, 100_000, 100_000), 1e-9)
	require.InDelta(t, 60, mean(40, 60, 7, 7), 1e-9)
}

func TestScoringIsUnderWayFromTheFirstSliceOn(t *testing.T) {
	t.Parallel()
	steps := func(sort, score int64) *ihcv1.Progress {
		return &ihcv1.Progress{Steps: []*ihcv1.Step{{Name: run.StepSort, Begun: sort}, {Name: run.StepScore, Begun: score}}}
	}
	require.False(t, scoringUnderWay(nil))
	require.False(t, scoringUnderWay(steps(5, 0)))
	require.True(t, scoringUnderWay(steps(5, 6)))
	require.True(t, scoringUnderWay(steps(0, 6)))  // of whoever reads slices only
	require.False(t, scoringUnderWay(steps(9, 6))) // what a killed process told
}

// A run that scores all again reuses nothing and looks nothing up; what is scored as it
// was before gets the shares that it has.
func TestWhatIsScoredLikewiseIsReusedOrTheSame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attributed   int64
		likewise     *float64
		reused, same float64 // of a usual run, and of one that scores all again
	}{
		"first run":   {0, nil, 0, 0},
		"not settled": {10, nil, 1, 1},
		"settled":     {10, new(0.4), 0.4, 0.4},
		"other model": {10, new(0.0), 0, 0},
	} {
		usual := store.Work{Size: store.Size{Attributed: c.attributed}}
		seen{likewise: c.likewise}.scored(&usual, false)
		require.InDelta(t, c.reused, usual.Reused, 1e-9, name)
		require.Zero(t, usual.Same, name)
		require.False(t, usual.Full, name)
		full := store.Work{Size: store.Size{Attributed: c.attributed}}
		seen{likewise: c.likewise}.scored(&full, true)
		require.InDelta(t, c.same, full.Same, 1e-9, name)
		require.Zero(t, full.Reused, name)
		require.True(t, full.Full, name)
	}
}
