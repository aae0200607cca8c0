package ihcmodel

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// simulated makes journeys whose gaps are log-normal and whose channels take
// the roles evenly, but for the bias: how much likelier a channel is to open a
// journey and to be holder engaged.
func simulated(seed uint64, count int, bias map[string]float64) [][]Session {
	random := rand.New(rand.NewPCG(seed, 7))
	channels := []string{"A", "B", "C", "D"}
	journeys := make([][]Session, count)
	for i := range journeys {
		names := make([]string, 2+random.IntN(4))
		for k := range names {
			names[k] = channels[random.IntN(len(channels))]
		}
		weight := func(name string) float64 {
			if b, ok := bias[name]; ok {
				return b
			}
			return 1
		}
		// Who opens is drawn by weight; the rest stay in their order.
		var sum float64
		for _, n := range names {
			sum += weight(n)
		}
		at, first := random.Float64()*sum, 0
		for k, n := range names {
			if at -= weight(n); at <= 0 {
				first = k
				break
			}
		}
		names[0], names[first] = names[first], names[0]
		t := int64(1_600_000_000_000_000)
		for _, n := range names {
			t += int64(math.Exp(random.NormFloat64()*1.5) * microsPerHour)
			journeys[i] = append(journeys[i], Session{
				TimeMicros: t, Channel: n,
				Holder: random.Float64() < min(0.4*weight(n), 1),
				Closer: random.Float64() < 0.3,
			})
		}
	}
	return journeys
}

func train(t require.TestingT, journeys [][]Session) *Trained {
	return trainWith(t, TrainOptions{}, journeys)
}

func trainWith(t require.TestingT, o TrainOptions, journeys [][]Session) *Trained {
	trained, err := Train("test", "simulated", o, slices.Values(journeys))
	require.NoError(t, err)
	return trained
}

var guess = TrainOptions{GuessScores: true}

func TestTrainNeedsJourneysOfTwo(t *testing.T) {
	t.Parallel()
	for _, journeys := range [][][]Session{nil, {{}}, {{{Channel: "A"}}, {{Channel: "B"}}}} {
		_, err := Train("x", "", TrainOptions{}, slices.Values(journeys))
		require.ErrorIs(t, err, ErrNothingToLearn)
	}
}

func TestTrainFindsTheGaps(t *testing.T) {
	t.Parallel()
	trained := train(t, simulated(1, 20_000, nil))
	// Gaps are log-normal around an hour: quantile q is at exp(1.5 z(q)), where
	// z(0.493) = -0.018 and z(0.892) = 1.237.
	require.InDelta(t, math.Exp(1.5*-0.018), trained.Params.InitializerCurve[0].Hours, 0.05)
	require.InDelta(t, math.Exp(1.5*1.237), trained.InitializerEnd.At, 0.3)
	require.Equal(t, trained.Sessions-trained.Several, trained.Gaps)
}

func TestTrainWithLittleStaysNearThePublished(t *testing.T) {
	t.Parallel()
	prior := DefaultParams()
	trained := trainWith(t, guess, [][]Session{{{TimeMicros: 0, Channel: "A", Closer: true}, {TimeMicros: 3600_000_000, Channel: "B"}}})
	p := trained.Params
	require.InEpsilon(t, prior.InitializerCurve[0].Hours, p.InitializerCurve[0].Hours, 0.05)
	require.InEpsilon(t, 52.707, p.InitializerCurve[1].Hours, 0.05)
	for _, h := range []float64{0, 0.05, 0.15, 0.35, 1, 10, 30, 44} {
		require.InDelta(t, prior.CloserCurve.At(h), p.CloserCurve.At(h), 0.05, "at %v h", h)
	}
	require.InDelta(t, 1, p.ChannelScores["A"].Initializer, 0.01)
	require.InDelta(t, 1, p.ChannelScores["B"].Closer, 0.01)
	require.Contains(t, trained.Report(), "The vendor advises 10000")
}

// TestScoresOfChannelsThatDoNotDiffer: where channels take the roles by
// chance, the scores are near 1, the nearer the more sessions there are.
func TestScoresOfChannelsThatDoNotDiffer(t *testing.T) {
	t.Parallel()
	for count, tolerance := range map[int]float64{20: 0.12, 500: 0.15, 20_000: 0.05} {
		for seed := range uint64(5) {
			for _, c := range trainWith(t, guess, simulated(seed, count, nil)).Channels {
				for _, s := range []float64{c.Score.Initializer, c.Score.Holder, c.Score.Closer} {
					require.InDelta(t, 1, s, tolerance, "%d journeys, seed %d, channel %s", count, seed, c.Name)
				}
			}
		}
	}
}

// TestScoresFindWhoOpens: a channel that opens more journeys gets a higher
// initializer score, and one engaged more often a higher holder score; the
// more data, the clearer.
func TestScoresFindWhoOpens(t *testing.T) {
	t.Parallel()
	before := 1.0
	for _, count := range []int{30, 300, 3000, 30_000} {
		scores := trainWith(t, guess, simulated(3, count, map[string]float64{"A": 2, "B": 0.5})).Params.ChannelScores
		require.Greater(t, scores["A"].Initializer, before, "%d journeys", count)
		before = scores["A"].Initializer
		if count >= 3000 {
			require.Less(t, scores["B"].Initializer, 0.9)
			require.Less(t, scores["B"].Holder, 0.9)
			require.Greater(t, scores["A"].Holder, 1.2)
			require.InDelta(t, scores["C"].Initializer, scores["D"].Initializer, 0.1, "C and D are treated alike")
		}
	}
	require.Greater(t, before, 1.2)
}

func TestScoresKnowOnlyMixedJourneys(t *testing.T) {
	t.Parallel()
	trained := trainWith(t, guess, [][]Session{
		{{TimeMicros: 0, Channel: "A"}, {TimeMicros: 1, Channel: "A", Holder: true}},
		// Cut by the gap; what is left is of one channel.
		{{TimeMicros: 0, Channel: "B"}, {TimeMicros: 1000 * microsPerHour, Channel: "A"}, {TimeMicros: 1000*microsPerHour + 1, Channel: "A"}},
	})
	require.Equal(t, 2, trained.Several)
	require.Zero(t, trained.Mixed)
	require.Empty(t, trained.Params.ChannelScores)
	require.Contains(t, trained.Report(), "none, all are 1")
}

func anyJourney(t *rapid.T, label string) []Session {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Session {
		return Session{
			TimeMicros: rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 3*52*microsPerHour)).Draw(t, "time"),
			Channel:    rapid.SampledFrom([]string{"A", "B", "Direct Traffic", "Performance Max"}).Draw(t, "channel"),
			Holder:     rapid.Bool().Draw(t, "holder"),
			Closer:     rapid.Bool().Draw(t, "closer"),
		}
	}), 1, 12).Draw(t, label)
}

// TestTrainGivesValidParams: whatever the journeys, the parameters are valid,
// the same each time, and come back from their file.
func TestTrainGivesValidParams(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		journeys := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []Session { return anyJourney(t, "journey") }), 1, 20).Draw(t, "journeys")
		o := TrainOptions{Ramp: rapid.Bool().Draw(t, "ramp"), GuessScores: rapid.Bool().Draw(t, "guess")}
		journeys = slices.Repeat(journeys, rapid.SampledFrom([]int{1, 200}).Draw(t, "times"))
		trained, err := Train("any", "", o, slices.Values(journeys))
		if errors.Is(err, ErrNothingToLearn) {
			return
		}
		require.NoError(t, err)
		again, err := Train("any", "", o, slices.Values(journeys))
		require.NoError(t, err)
		require.Equal(t, trained, again)
		read, err := ParseParams(trained.Params.JSON())
		require.NoError(t, err)
		require.Equal(t, trained.Params, read)
		require.NotContains(t, trained.Report(), "NaN")
	})
}

func TestSampleOfManyIsFair(t *testing.T) {
	t.Parallel()
	s := newSample()
	const n = 3 * sampleSize
	for i := range n {
		s.add(float64(i))
	}
	require.Len(t, s.values, sampleSize)
	require.InEpsilon(t, 0.5*n, s.quantile(0.5), 0.01)
	require.InEpsilon(t, 0.1*n, s.quantile(0.1), 0.02)
	require.Equal(t, 300, s.scaled(100))
	require.Zero(t, newSample().quantile(0.5))
}

// TestRampIsNearThePublishedCurve measures what the form of the trained
// initializer curve costs, given the right ends: the published curve is
// replaced by a ramp between its own. docs/ihc-model.md shows the table.
func TestRampIsNearThePublishedCurve(t *testing.T) {
	t.Parallel()
	journeys := readReference(t)
	p := DefaultParams()
	p.InitializerCurve = Curve{p.InitializerCurve[0], p.InitializerCurve[len(p.InitializerCurve)-1]}
	m, err := New(p)
	require.NoError(t, err)
	table := compare(m, journeys)
	require.Less(t, table["2 and more"].ihcSum/float64(table["2 and more"].sessions), 0.004)
	t.Log("\n" + table.String())
}

func TestPlotsAreSVG(t *testing.T) {
	t.Parallel()
	p := DefaultParams()
	p.Name = "a <shop> & \"more\"\x01\xff"
	for _, plot := range []Plot{p.InitializerPlot(nil), p.CloserPlot(DefaultParams()), {Curve: Curve{{0, 1}}}} {
		var b strings.Builder
		require.NoError(t, plot.WriteSVG(&b))
		dec := xml.NewDecoder(strings.NewReader(b.String()))
		lines := 0
		for {
			token, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if start, ok := token.(xml.StartElement); ok && start.Name.Local == "polyline" {
				lines++
			}
		}
		require.Equal(t, 1+min(len(plot.Other), 1), lines)
		require.NotContains(t, b.String(), "NaN")
	}
	require.Error(t, p.CloserPlot(nil).WriteSVG(fullDisk{}))
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, fmt.Errorf("disk full") }
