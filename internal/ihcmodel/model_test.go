package ihcmodel

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// plain is a model without channel scores, and with easy curves: f rises from
// 0 at 0 h to 1 at 10 h, g falls from 1 at 0 h to 0 at 10 h.
func plain(tb testing.TB) *Model {
	m, err := New(&Params{
		Name:             "plain",
		PhaseWeights:     Phases{0.323, 0.374, 0.303},
		InitializerCurve: Curve{{0, 0}, {10, 1}},
		CloserCurve:      Curve{{0, 1}, {10, 0}},
	})
	require.NoError(tb, err)
	return m
}

// TestEdgeCases goes through the table of docs/ihc-model.md, in its order.
func TestEdgeCases(t *testing.T) {
	t.Parallel()
	hour := int64(microsPerHour)
	for name, tc := range map[string]struct {
		sessions []Session
		want     []Score
	}{
		"one session, also if holder engaged": {
			[]Session{{Holder: true, Closer: true}},
			[]Score{{Whole, 0, Whole, Whole}},
		},
		"the last counts as closer engaged": {
			[]Session{{TimeMicros: 0, Closer: true}, {TimeMicros: hour}}, // closer 0.9 : 1
			[]Score{{9091, 0, 4737, 6984}, {909, 0, 5263, 3016}},
		},
		"nobody closer or holder engaged: the two other weights of 0.626": {
			[]Session{{TimeMicros: 0}, {TimeMicros: 1}},
			[]Score{{Whole, 0, 0, 5160}, {0, 0, Whole, 4840}},
		},
		"the cut leaves one, which keeps its holder": {
			[]Session{{TimeMicros: 0, Holder: true}, {TimeMicros: 10 * hour, Holder: true}},
			[]Score{{}, {Whole, Whole, Whole, Whole}},
		},
		"a gap a microsecond short of the cut does not cut": {
			[]Session{{TimeMicros: 0, Holder: true}, {TimeMicros: 10*hour - 1}},
			[]Score{{5000, Whole, 0, 5355}, {5000, 0, Whole, 4645}},
		},
		"the last of several long gaps cuts": {
			[]Session{{TimeMicros: 0}, {TimeMicros: 20 * hour}, {TimeMicros: 40 * hour}},
			[]Score{{}, {}, {Whole, 0, Whole, Whole}},
		},
		// Three full memberships count in the base shares: i = 1/3 for the
		// last two, 0 for none; c = 1 for the last. W = (a+b)/4 + ab/(a+b):
		// session 3: a = 2/3, b = 1: 0.41667 + 0.4; session 4: a = 1, b = 0: 0.25.
		"dropped sessions count in the base shares": {
			[]Session{{TimeMicros: 0}, {TimeMicros: 20 * hour}, {TimeMicros: 40 * hour, Holder: true}, {TimeMicros: 40 * hour, Holder: true}},
			[]Score{{}, {}, {Whole, 7656, 0, 6093}, {0, 2344, Whole, 3907}},
		},
		"at equal times the first given is the initializer": {
			[]Session{{TimeMicros: hour, Closer: true}, {TimeMicros: hour}},
			[]Score{{Whole, 0, 5000, 7580}, {0, 0, 5000, 2420}},
		},
		"given out of order, the scores stay with their sessions": {
			[]Session{{TimeMicros: 1}, {TimeMicros: 0}},
			[]Score{{0, 0, Whole, 4840}, {Whole, 0, 0, 5160}},
		},
		"impressions change nothing": {
			[]Session{{TimeMicros: 0, Impression: true}, {TimeMicros: 1, Impression: true}},
			[]Score{{Whole, 0, 0, 5160}, {0, 0, Whole, 4840}},
		},
		"no session": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := plain(t).Scorer(nil).Score(tc.sessions, nil)
			require.Equal(t, tc.want, slices.Clip(got))
		})
	}
}

func TestChannelScores(t *testing.T) {
	t.Parallel()
	p := *plain(t).Params()
	p.ChannelScores = map[string]ChannelScore{"twice": {2, 2, 2}}
	m, err := New(&p)
	require.NoError(t, err)
	p.ChannelScores["twice"] = ChannelScore{9, 9, 9} // the model has a copy of its own
	sessions := []Session{
		{TimeMicros: 0, Channel: "twice", Holder: true, Closer: true},
		{TimeMicros: 0, Channel: "Twice", Holder: true, Closer: true},
	}
	// Memberships before scores are closer 1 : 1; a name is its letters.
	got := m.Scorer(nil).Score(sessions, nil)
	require.Equal(t, Share(6667), got[0].Closer)
	// In one channel they cancel.
	sessions[1].Channel = "twice"
	require.Equal(t, plain(t).Scorer(nil).Score(sessions, nil), m.Scorer(nil).Score(sessions, nil))
	require.Equal(t, "plain", m.Name())
}

// TestScoresAreWhole: whatever the journey, ihc and each phase sum to exactly
// 1, holder alone to 0 or 1; no share is negative; sessions before the cut
// have none; out is reused.
func TestScoresAreWhole(t *testing.T) {
	t.Parallel()
	scorer := published(t).Scorer(nil)
	var out []Score
	rapid.Check(t, func(t *rapid.T) {
		journey := anyJourney(t, "journey")
		out = scorer.Score(journey, out)
		requireWhole(t, journey, out)
	})
}

func requireWhole(t require.TestingT, journey []Session, scores []Score) {
	var sum Score
	require.Len(t, scores, len(journey))
	for _, s := range scores {
		for _, v := range []Share{s.Initializer, s.Holder, s.Closer, s.IHC} {
			require.True(t, v >= 0 && v <= Whole, "%+v", s)
		}
		sum.Initializer += s.Initializer
		sum.Holder += s.Holder
		sum.Closer += s.Closer
		sum.IHC += s.IHC
	}
	require.Equal(t, Whole, sum.Initializer)
	require.Equal(t, Whole, sum.Closer)
	require.Equal(t, Whole, sum.IHC)
	require.Contains(t, []Share{0, Whole}, sum.Holder)
}

// TestScoreDependsOnTheJourneyAlone: not on when it took place, on the order
// given (times being distinct), or on what the scorer scored before.
func TestScoreDependsOnTheJourneyAlone(t *testing.T) {
	t.Parallel()
	m := published(t)
	used := m.Scorer(nil)
	rapid.Check(t, func(t *rapid.T) {
		journey := anyJourney(t, "journey")
		for i := range journey { // distinct, and not so far that a shift overflows
			journey[i].TimeMicros = journey[i].TimeMicros%(1000*microsPerHour)*16 + int64(i)
		}
		want := m.Scorer(nil).Score(journey, nil)
		require.Equal(t, want, used.Score(journey, nil))
		order := rapid.Permutation(indices(len(journey))).Draw(t, "order")
		shift := rapid.Int64Range(-1e15, 1e15).Draw(t, "shift")
		moved := make([]Session, len(journey))
		for at, i := range order {
			moved[at] = journey[i]
			moved[at].TimeMicros += shift
		}
		got := used.Score(moved, nil)
		for at, i := range order {
			require.Equal(t, want[i], got[at])
		}
	})
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TestLongJourneys: far beyond what the API takes, shares still sum to 1 and
// none is negative, also where each alone would round to nothing.
func TestLongJourneys(t *testing.T) {
	t.Parallel()
	for _, n := range []int{141, 2857, 3000, 15_000, 20_001, 60_000} {
		for _, engaged := range []bool{false, true} {
			journey := make([]Session, n)
			for i := range journey {
				journey[i] = Session{TimeMicros: int64(i) * 6 * microsPerHour, Holder: engaged, Closer: engaged}
				if engaged {
					journey[i].TimeMicros = int64(i)
				}
			}
			requireWhole(t, journey, published(t).Scorer(nil).Score(journey, nil))
		}
	}
	// Initializers and closers apart from each other, so that no session's
	// combination of the two reaches half a ten-thousandth.
	journey := make([]Session, 60_000)
	for i := range journey {
		journey[i] = Session{TimeMicros: int64(i) * 40 * microsPerHour}
		if i >= len(journey)/2 {
			journey[i] = Session{TimeMicros: journey[len(journey)/2-1].TimeMicros + int64(i), Closer: true}
		}
	}
	requireWhole(t, journey, published(t).Scorer(nil).Score(journey, nil))
}

func TestFix(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		shares []float64
		want   []Share
	}{
		{[]float64{1}, []Share{10000}},
		{[]float64{1. / 3, 1. / 3, 1. / 3}, []Share{3334, 3333, 3333}}, // the first of equals
		{[]float64{1. / 6, 2. / 3, 1. / 6}, []Share{1667, 6666, 1667}}, // too much comes off the largest
		{[]float64{0.5 + 0.00005, 0.5 - 0.00005}, []Share{5000, 5000}}, // ties to even
	} {
		got := make([]Share, len(tc.shares))
		fix(tc.shares, got)
		require.Equal(t, tc.want, got)
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 300).Draw(t, "shares")
		if normalise(v) == 0 {
			return
		}
		got := make([]Share, len(v))
		fix(v, got)
		var sum Share
		for k := range v {
			sum += got[k]
			require.GreaterOrEqual(t, got[k], Share(0))
			if len(v) < 20 {
				require.InDelta(t, v[k], got[k].Float(), 0.00005*float64(len(v)+1))
			}
		}
		require.Equal(t, Whole, sum)
	})
}

func TestCurve(t *testing.T) {
	t.Parallel()
	c := Curve{{1, 0}, {2, 0.5}, {2, 0.75}, {4, 1}}
	for h, want := range map[float64]float64{0: 0, 1: 0, 1.5: 0.25, 2: 0.75, math.Nextafter(2, 0): 0.5, 3: 0.875, 4: 1, 100: 1} {
		require.InDelta(t, want, c.At(h), 1e-12, "at %v", h)
	}
	at, ok := c.reachesOne()
	require.True(t, ok)
	require.EqualValues(t, 4*microsPerHour, at)
	_, ok = Curve{{0, 0.5}}.reachesOne()
	require.False(t, ok)
	_, ok = Curve{{1e300, 1}}.reachesOne()
	require.False(t, ok)
	at, ok = DefaultParams().InitializerCurve.reachesOne()
	require.True(t, ok)
	require.EqualValues(t, 189_745_200_000, at, "52.707 h is 52 h 42 min 25.2 s")
}

// TestNoCut: an initializer curve that stays below 1 never cuts.
func TestNoCut(t *testing.T) {
	t.Parallel()
	p := *plain(t).Params()
	p.InitializerCurve = Curve{{0, 0}, {10, 0.5}}
	m, err := New(&p)
	require.NoError(t, err)
	got := m.Scorer(nil).Score([]Session{{TimeMicros: 0}, {TimeMicros: 1e6 * microsPerHour}}, nil)
	require.Equal(t, []Share{6667, 3333}, []Share{got[0].Initializer, got[1].Initializer})
}
