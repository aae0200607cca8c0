package ihcmodel

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// engaged makes journeys of two sessions, that many hours apart, the first
// closer engaged.
func engaged(gaps ...float64) (all [][]Session) {
	for _, gap := range gaps {
		all = append(all, []Session{{Channel: "A", Closer: true}, {TimeMicros: int64(gap * microsPerHour), Channel: "B", Closer: true}})
	}
	return all
}

// spread returns n gaps, evenly from above 0 up to end.
func spread(n int, end float64) (gaps []float64) {
	for i := range n {
		gaps = append(gaps, end*float64(i+1)/float64(n))
	}
	return gaps
}

func TestTheCloserCurveIsWhatIsLeftOfTheMedians(t *testing.T) {
	t.Parallel()
	trained := train(t, engaged(spread(1000, 100)...))
	c := trained.Params.CloserCurve
	require.Len(t, c, 1+81)
	require.InDelta(t, 90, trained.Cut, 0.1)
	// The tenth of longest gaps cuts its journeys: no median is longer.
	require.InDelta(t, 9, c[1].Hours, 0.2)
	require.Equal(t, 1.0, c[1].Value)
	require.InDelta(t, 81, c[81].Hours, 0.2)
	require.Zero(t, c[81].Value)
	require.InDelta(t, 0.5, c.At(45), 0.01)
	require.Equal(t, 900, trained.Closers, "those that are cut tell nothing")
	require.InDelta(t, 81, trained.CloserEnd.At, 0.2)
	require.Less(t, trained.CloserEnd.Low, 80.0)
	require.Greater(t, trained.CloserEnd.High, 82.0)
}

func TestTheInitializerCurveOfEvenGapsIsTheRamp(t *testing.T) {
	t.Parallel()
	journeys := engaged(spread(10_000, 100)...)
	bent := train(t, journeys).Params.InitializerCurve
	straight, err := Train("ramp", "", TrainOptions{Ramp: true}, slices.Values(journeys))
	require.NoError(t, err)
	require.Len(t, straight.Params.InitializerCurve, 2)
	require.InDelta(t, 49.3, bent[0].Hours, 0.02)
	require.InDelta(t, 89.2, bent[len(bent)-1].Hours, 0.02)
	for h := 40.0; h < 95; h++ {
		require.InDelta(t, straight.Params.InitializerCurve.At(h), bent.At(h), 0.002, "at %v h", h)
	}
}

// Where gaps are frequent f is flatter, and only the end cuts.
func TestTheInitializerCurveIsFlatWhereGapsAreFrequent(t *testing.T) {
	t.Parallel()
	gaps := spread(1000, 10)
	for range 700 {
		gaps = append(gaps, 24)
	}
	gaps = append(gaps, spread(330, 100)...)
	trained := train(t, engaged(gaps...))
	c := trained.Params.InitializerCurve
	slope := func(a, b float64) float64 { return (c.At(b) - c.At(a)) / (b - a) }
	require.Greater(t, slope(12, 22), 0.0)
	for _, k := range c[:len(c)-1] {
		require.LessOrEqual(t, k.Value, almostOne)
	}
	require.InDelta(t, trained.InitializerEnd.At, c[len(c)-1].Hours, 1e-4)
}

func TestTooLittleTeachesTheDefaultCurves(t *testing.T) {
	t.Parallel()
	for name, journeys := range map[string][][]Session{
		"few":   engaged(spread(99, 100)...),
		"alike": engaged(slices.Repeat([]float64{24}, 500)...),
	} {
		trained := train(t, journeys)
		require.True(t, trained.DefaultInitializer, name)
		require.Equal(t, defaultInitializer, trained.Params.InitializerCurve, name)
		require.Contains(t, trained.Report(), "the default one")
	}
	require.Equal(t, defaultCloser, train(t, engaged(spread(99, 100)...)).Params.CloserCurve)
}

// Many medians of 0: the curve falls right behind 0, where it is 1.
func TestClosersAtTheTimeOfTheLastAreAsCloseAsItIs(t *testing.T) {
	t.Parallel()
	gaps := append(slices.Repeat([]float64{0}, 300), spread(700, 100)...)
	c := train(t, engaged(gaps...)).Params.CloserCurve
	require.Equal(t, 1.0, c.At(0))
	require.Less(t, c.At(0.001), 0.8)
}

func TestGivenScoresAreKept(t *testing.T) {
	t.Parallel()
	scores, err := ParseScores([]byte(`{"A": {"initializer": 0.61, "holder": 0.99, "closer": 1.28}}`))
	require.NoError(t, err)
	trained, err := Train("x", "", TrainOptions{Scores: scores}, slices.Values(engaged(1)))
	require.NoError(t, err)
	require.Equal(t, 0.61, trained.Params.ChannelScores["A"].Initializer)
	require.Contains(t, trained.Report(), "your own, of 1 channels")
	_, err = ParseScores([]byte(`{"A": {"initializer": 0, "holder": 0.99, "closer": 1.28}}`))
	require.ErrorContains(t, err, "0 is not within")
	_, err = ParseScores([]byte(`{"A": {"initializer": 1}}`))
	require.Error(t, err)
	require.Empty(t, train(t, engaged(1, 2)).Params.ChannelScores)
}

func TestQuantileRangesHoldTheQuantile(t *testing.T) {
	t.Parallel()
	s := newSample()
	for i := range 10_001 {
		s.add(float64(i))
	}
	low, high := s.quantileRange(0.9)
	require.InDelta(t, 9000-1.96*math.Sqrt(0.09*10_001), low, 1)
	require.InDelta(t, 9000+1.96*math.Sqrt(0.09*10_001), high, 1)
}
