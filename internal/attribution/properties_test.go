package attribution

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

var channelNames = []string{"A", "B", "A>B", " A > B ", "Ä, \"x\"", ""}

func drawRows(t *rapid.T) (rows []row) {
	for range rapid.IntRange(0, 12).Draw(t, "rows") {
		r := row{conversions: int64(rapid.IntRange(0, 4).Draw(t, "conversions")), null: int64(rapid.IntRange(0, 4).Draw(t, "null"))}
		for range rapid.IntRange(1, 8).Draw(t, "touches") {
			r.path = append(r.path, rapid.SampledFrom(channelNames).Draw(t, "channel"))
		}
		if r.conversions > 0 {
			r.value = float64(rapid.IntRange(1, 1000).Draw(t, "value"))
		}
		rows = append(rows, r)
	}
	return rows
}

func drawOptions(t *rapid.T) Options {
	return Options{Order: rapid.IntRange(1, 4).Draw(t, "order"), WithoutNulls: rapid.Bool().Draw(t, "without nulls"), SingleApart: rapid.Bool().Draw(t, "apart"),
		HalfLife: rapid.SampledFrom([]float64{0, 0.01, 30}).Draw(t, "half-life"), Direct: []string{"A"},
		Position: rapid.SampledFrom([]Weights{{}, JShaped, {0, 1, 0}}).Draw(t, "position"),
		Collapse: rapid.SampledFrom([]string{"", "exposure", "first"}).Draw(t, "collapse")}
}

// values returns a model's conversions and revenue by channel.
func values(r Result) map[string][2]float64 {
	all := map[string][2]float64{}
	for _, c := range r.Credits {
		all[c.Channel] = [2]float64{c.Conversions.Value, c.Revenue.Value}
	}
	return all
}

func requireSame(t require.TestingT, want, got map[string][2]float64, model string) {
	for channel := range want {
		for i := range 2 {
			require.InDelta(t, want[channel][i], got[channel][i], 1e-9*(1+math.Abs(want[channel][i])), "%s, %q", model, channel)
		}
	}
	require.Len(t, got, len(want), model)
}

func TestCreditSumsToTheTotals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows, o := drawRows(t), drawOptions(t)
		var conversions, value float64
		for _, r := range rows {
			conversions += float64(r.conversions)
			value += r.value
		}
		c := compared(t, rows, o, Names()...)
		for _, m := range c.Models {
			var sum [2]float64
			for _, v := range values(m) {
				require.False(t, math.IsNaN(v[0]) || math.IsNaN(v[1]), m.Model)
				require.GreaterOrEqual(t, v[0], 0.0, m.Model)
				sum[0] += v[0]
				sum[1] += v[1]
			}
			if !m.Coverage {
				require.InDelta(t, conversions, sum[0], 1e-9, m.Model)
				require.InDelta(t, value, sum[1], 1e-6, m.Model)
			}
		}
	})
}

func TestSharesOfAJourneySumToOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o, err := drawOptions(t).Complete()
		require.NoError(t, err)
		j := Journey{Channels: channelNames}
		at := int64(0)
		for range rapid.IntRange(1, 50).Draw(t, "touches") {
			at += rapid.OneOf(rapid.Int64Range(0, 100*dayMicros), rapid.Just(int64(3650*dayMicros))).Draw(t, "gap")
			j.Touches = append(j.Touches, Touch{Channel: int32(rapid.IntRange(0, len(channelNames)-1).Draw(t, "channel")),
				Engaged: unit.Engagement(rapid.IntRange(0, 7).Draw(t, "engaged")), Time: at})
		}
		shift := rapid.Int64Range(0, 3650*dayMicros).Draw(t, "shift")
		later := Journey{j.Channels, slices.Clone(j.Touches)}
		for k := range later.Touches {
			later.Touches[k].Time += shift
		}
		for _, name := range append(RuleNames(), IHC) {
			rule, err := NewRule(name, o)
			require.NoError(t, err)
			shares, shifted := make([]float64, len(j.Touches)), make([]float64, len(j.Touches))
			rule.Shares(j, shares)
			sum := 0.0
			for _, s := range shares {
				require.GreaterOrEqual(t, s, 0.0)
				sum += s
			}
			require.InDelta(t, 1, sum, 1e-12, name)
			rule.Shares(later, shifted)
			require.Equal(t, shares, shifted, "%s: only the times between the sessions count", name)
		}
	})
}

func TestOrderMergingAndMultiplesDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows, o := drawRows(t), drawOptions(t)
		names := Names()
		want := compared(t, rows, o, names...)
		times := float64(rapid.IntRange(2, 3).Draw(t, "times"))
		other := rapid.Permutation(rows).Draw(t, "order")
		var split, many []row
		for _, r := range other {
			half := r
			half.conversions, half.null, half.value = 0, r.null, 0
			r.null = 0
			split = append(split, r, half)
			r.null, r.conversions, r.value = half.null*int64(times), r.conversions*int64(times), r.value*times
			many = append(many, r)
		}
		for i, m := range compared(t, split, o, names...).Models {
			requireSame(t, values(want.Models[i]), values(m), m.Label)
		}
		for i, m := range compared(t, many, o, names...).Models {
			got := values(m)
			for channel, v := range got {
				got[channel] = [2]float64{v[0] / times, v[1] / times}
			}
			requireSame(t, values(want.Models[i]), got, m.Label)
		}
	})
}

func TestNamesOfChannelsDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		var renamed []row
		for _, r := range rows {
			path := make([]string, len(r.path))
			for k, c := range r.path {
				path[k] = "renamed " + c
			}
			r.path = path
			renamed = append(renamed, r)
		}
		o := Options{Order: rapid.IntRange(1, 4).Draw(t, "order")}
		names := []string{First, Last, Linear, Position, WShaped, TimeDecay, Markov, Shapley, Participation}
		want, got := compared(t, rows, o, names...), compared(t, renamed, o, names...)
		for i := range want.Models {
			back := map[string][2]float64{}
			for channel, v := range values(got.Models[i]) {
				back[strings.TrimPrefix(channel, "renamed ")] = v
			}
			require.Equal(t, values(want.Models[i]), back)
		}
	})
}

func TestRepeatsInARowChangeOnlySomeModels(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		names := []string{First, Last, Shapley, Markov}
		want, got := compared(t, rows, Options{}, names...), compared(t, rows, Options{Collapse: CollapseExposure}, names...)
		for i := range want.Models {
			requireSame(t, values(want.Models[i]), values(got.Models[i]), want.Models[i].Model)
		}
	})
}

// Two ways to the removal effects: the matrix, and pushing journeys on.
func TestTheMatrixAndThePushingAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := NewChain(1)
		for _, r := range drawRows(t) {
			p := Path{Conversions: r.conversions, Null: r.null, Value: r.value}
			for _, name := range r.path {
				p.Channels = append(p.Channels, int32(slices.Index(channelNames, name)))
			}
			if p.Conversions+p.Null > 0 {
				require.NoError(t, c.Add(p))
			}
		}
		dense, err := c.Effects(len(channelNames))
		require.NoError(t, err)
		wide := *c
		wide.order = 2 // of which the states are of order 1
		pushed, err := wide.Effects(len(channelNames))
		require.NoError(t, err)
		require.InDelta(t, dense.Base, pushed.Base, 1e-12)
		for i := range channelNames {
			require.InDelta(t, dense.Removal[i], pushed.Removal[i], 1e-12)
			require.InDelta(t, dense.RemovalValue[i], pushed.RemovalValue[i], 1e-12)
		}
	})
}

func TestTheBaseRateIsThatOfTheJourneys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		var conversions, all float64
		longest := 0
		part, ends := map[string]float64{}, map[string]float64{} // conversions that a channel is in, and that it ends
		for _, r := range rows {
			conversions += float64(r.conversions)
			all += float64(r.conversions + r.null)
			longest = max(longest, len(r.path))
			ends[r.path[len(r.path)-1]] += float64(r.conversions)
			path := slices.Clone(r.path)
			slices.Sort(path)
			for _, c := range slices.Compact(path) {
				part[c] += float64(r.conversions)
			}
		}
		if conversions == 0 {
			return
		}
		for order := 1; order <= MaxOrder; order++ {
			m := compared(t, rows, Options{Order: order}, Markov).Models[0]
			require.InDelta(t, conversions/all, m.Base, 1e-12)
			for channel, c := range credits(m) {
				if ends[channel] == conversions {
					require.InDelta(t, 1, c.Removal, 1e-12, "a channel that ends every conversion")
				}
				if order >= longest {
					// States are whole journeys: 0 for a channel of null journeys alone.
					require.InDelta(t, part[channel]/conversions, c.Removal, 1e-12)
				}
			}
		}
	})
}

func TestNoConversionsAreNoCredit(t *testing.T) {
	t.Parallel()
	for _, rows := range [][]row{nil, {{path: []string{"A", "B"}, null: 3}}} {
		for _, m := range compared(t, rows, Options{}, Names()...).Models {
			for channel, v := range values(m) {
				require.Equal(t, [2]float64{}, v, "%s %s", m.Model, channel)
			}
		}
	}
	for _, m := range compared(t, []row{{path: []string{"A", "A"}, conversions: 2, value: 6, null: 1}}, Options{}, Names()...).Models {
		require.InDelta(t, 2, values(m)["A"][0], 1e-12, m.Model)
		require.InDelta(t, 6, values(m)["A"][1], 1e-12, m.Model)
	}
}

func TestAThousandTouchesToAndFro(t *testing.T) {
	t.Parallel()
	path := slices.Repeat([]string{"A", "B"}, 500)
	for order := 1; order <= MaxOrder; order++ {
		m := compared(t, []row{{path: path, conversions: 1, value: 1, null: 0}, {path: path[:7], null: 2}}, Options{Order: order}, Markov).Models[0]
		require.InDelta(t, 0.5, credits(m)["A"].Conversions.Value, 1e-9)
		require.InDelta(t, 1./3, m.Base, 1e-9)
	}
}

func TestConversionsWithoutSessionsAreUnattributed(t *testing.T) {
	t.Parallel()
	users := func(_ context.Context, yield func(*journey.History) error) error {
		return yield(&journey.History{User: "u", Conversions: []journey.Converted{{ID: "c", Revenue: 5}}})
	}
	c, err := Compare(t.Context(), Names(), Options{}, ByMonth, users)
	require.NoError(t, err)
	for _, m := range append(c.Models, c.Periods[0].Models...) {
		require.Equal(t, map[string][2]float64{Unattributed: {1, 5}}, values(m), m.Model)
	}
}

// The same to the last bit, whatever works at the same time.
func TestTheResultDoesNotDependOnHowManyWork(t *testing.T) { //nolint:paralleltest // sets how many work
	rows := simulatedRows(rand.New(rand.NewPCG(1, 2)), 4000)
	was := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(was)
	want := compared(t, rows, Options{Order: 2}, Names()...)
	runtime.GOMAXPROCS(8)
	require.Equal(t, want, compared(t, rows, Options{Order: 2}, Names()...))
}

func TestPeriodsHaveTheirOwnConversions(t *testing.T) {
	t.Parallel()
	day := func(n int64) int64 { return n * dayMicros }
	users := func(_ context.Context, yield func(*journey.History) error) error {
		h := &journey.History{User: "u", Rest: 2, Sessions: []journey.Session{{ID: "a", Channel: "A", Time: day(1)}, {ID: "b", Channel: "B", Time: day(40)}}}
		h.Conversions = []journey.Converted{{ID: "c", Time: day(3), Revenue: 1, To: 1}, {ID: "d", Time: day(41), Revenue: 2, To: 2}}
		return yield(h)
	}
	c, err := Compare(t.Context(), []string{Last, Markov}, Options{}, ByMonth, users)
	require.NoError(t, err)
	require.Len(t, c.Periods, 2)
	require.Equal(t, []string{"1970-01", "1970-02"}, []string{c.Periods[0].Period, c.Periods[1].Period})
	for _, m := range c.Periods[0].Models {
		require.Equal(t, [2]float64{1, 1}, values(m)["A"])
	}
	require.Equal(t, [2]float64{1, 2}, values(c.Periods[1].Models[0])["B"])
	require.Equal(t, "1969-12-29", ByWeek.name(ByWeek.of(0)), "1970-01-01 was a Thursday")
	require.Equal(t, "1969-12-22", ByWeek.name(ByWeek.of(day(-4))))
	require.Equal(t, "2023-09-04", ByWeek.Of("2023-09-10"))
	require.Equal(t, "2023-09-11", ByWeek.Of("2023-09-11"))
}

func TestTheIHCModelIsTheBuiltInOne(t *testing.T) {
	t.Parallel()
	o, err := Options{}.Complete()
	require.NoError(t, err)
	rule, err := NewRule(IHC, o)
	require.NoError(t, err)
	j := Journey{Channels: []string{"A", "B"}, Touches: []Touch{{Channel: 0, Engaged: 3}, {Channel: 1, Engaged: 3, Time: 3_600_000_000}, {Channel: 0, Engaged: 3, Time: 9_000_000_000}}}
	shares := make([]float64, 3)
	rule.Shares(j, shares)
	for k, s := range o.IHC.Scorer(nil).Score([]ihcmodel.Session{{Channel: "A", Holder: true, Closer: true},
		{TimeMicros: 3_600_000_000, Channel: "B", Holder: true, Closer: true}, {TimeMicros: 9_000_000_000, Channel: "A", Holder: true, Closer: true}}, nil) {
		require.Equal(t, s.IHC.Float(), shares[k])
	}
}
