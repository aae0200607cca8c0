package attribution

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// simulatedRows draws users: each walks from channel to channel and may buy.
func simulatedRows(random *rand.Rand, users int) []row {
	channels := []string{"A", "B", "C", "D", "E"}
	rows := make([]row, users)
	for i := range rows {
		r := row{null: 1}
		buys := 0.15
		for {
			k := min(random.IntN(3)+random.IntN(3), 4)
			r.path = append(r.path, channels[k])
			buys += []float64{0.1, 0.02, 0.05, 0.2, 0.3}[k] / 4
			if random.Float64() < 0.45 {
				break
			}
		}
		if random.Float64() < buys {
			r.conversions, r.null, r.value = 1, 0, math.Round(20*math.Exp(0.6*random.NormFloat64()))
		}
		rows[i] = r
	}
	return rows
}

// Intervals of 95 % hold the truth, which is what very many users come to, about
// 95 times in 100.
func TestIntervalsHoldTheTruthAsOftenAsTheySay(t *testing.T) {
	t.Parallel()
	const trials, users, many = 400, 2500, 1_000_000
	names := []string{Last, Linear, TimeDecay, Shapley, Markov, IHC}
	truth := compared(t, simulatedRows(rand.New(rand.NewPCG(7, 7)), many), Options{}, names...)
	random := rand.New(rand.NewPCG(3, 1))
	type count struct{ held, heldRevenue, of int }
	counts := map[string]*count{}
	for range trials {
		// How many users come is chance, too.
		n := users + int(math.Round(random.NormFloat64()*math.Sqrt(users)))
		c := compared(t, simulatedRows(random, n), Options{}, names...)
		for i, m := range c.Models {
			for k, credit := range m.Credits {
				want := truth.Models[i].Credits[k]
				require.Equal(t, want.Channel, credit.Channel)
				if want.Conversions.Value*users/many < 100 {
					continue
				}
				n := counts[m.Model]
				if n == nil {
					n = &count{}
					counts[m.Model] = n
				}
				n.of++
				n.held += holds(credit.Conversions, want.Conversions.Value*users/many)
				n.heldRevenue += holds(credit.Revenue, want.Revenue.Value*users/many)
			}
		}
	}
	require.Len(t, counts, len(names))
	for model, n := range counts {
		held, revenue := 100*float64(n.held)/float64(n.of), 100*float64(n.heldRevenue)/float64(n.of)
		t.Logf("%s: %.1f %% of conversions, %.1f %% of revenue, of %d", model, held, revenue, n.of)
		require.InDelta(t, 95, held, 2, model)
		require.InDelta(t, 95, revenue, 2, model)
	}
}

func holds(e Estimate, v float64) int {
	if e.Low <= v && v <= e.High {
		return 1
	}
	return 0
}
