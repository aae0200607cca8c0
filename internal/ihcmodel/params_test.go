package ihcmodel

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// small is a parameter file to be spoiled in tests.
const small = `{"name":"n","phase_weights":{"initializer":0.3,"holder":0.4,"closer":0.3},` +
	`"initializer_curve":[[0,0],[10,1]],"closer_curve":[[0,1],[10,0]],"channel_scores":{"A":{"initializer":1,"holder":1.5,"closer":0.5}}}`

func TestDefaultParams(t *testing.T) {
	t.Parallel()
	p := DefaultParams()
	require.Equal(t, "published-shop", p.Name)
	require.Contains(t, p.Provenance, "Not constants of the method")
	require.Equal(t, Phases{0.323, 0.374, 0.303}, p.PhaseWeights)
	require.Len(t, p.ChannelScores, 13)
	require.Equal(t, ChannelScore{0.61, 0.99, 1.28}, p.ChannelScores["Direct Traffic"])
	require.Equal(t, Knot{52.707, 1}, p.InitializerCurve[len(p.InitializerCurve)-1])
	require.Equal(t, Knot{45.5, 0}, p.CloserCurve[len(p.CloserCurve)-1])
	p.ChannelScores["Direct Traffic"] = ChannelScore{}
	require.NotEqual(t, p, DefaultParams(), "each call gives a copy of its own")
}

func TestParamsComeBackFromTheirFile(t *testing.T) {
	t.Parallel()
	embedded, err := os.ReadFile("published-shop.json")
	require.NoError(t, err)
	require.Equal(t, string(embedded), string(DefaultParams().JSON()))
	p, err := ParseParams([]byte(small))
	require.NoError(t, err)
	p.Name, p.ChannelScores = `<"&`, map[string]ChannelScore{}
	again, err := ParseParams(p.JSON())
	require.NoError(t, err)
	require.Equal(t, p, again)
	p.InitializerCurve, p.PhaseWeights.Holder = nil, math.NaN()
	_, err = ParseParams(p.JSON())
	require.ErrorContains(t, err, "phase_weights: is null")
}

func TestParseParamsSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := ParseParams([]byte(small))
	require.NoError(t, err)
	for _, tc := range []struct{ old, new, says string }{
		{small, ``, "not JSON: it ends too early"},
		{small, `{"name":`, "not JSON: it ends too early"},
		{small, `[]`, "want an object {…}, have []"},
		{small, small + `{}`, "something follows the closing }"},
		{small, "{\"name\":\"\xff\"}", "not UTF-8"},
		{small, `{"name" "x"}`, "not JSON"},
		{`"n",`, `"n","shop":1,`, `unknown field "shop"; known are name, provenance, phase_weights`},
		{`"n",`, `"n","name":"m",`, `"name" is given twice`},
		{`"name":"n",`, ``, `field "name" is missing`},
		{`"n"`, `null`, "name: is null"},
		{`"n"`, `7`, "name: a number where a value of another type belongs (7)"},
		{`"n"`, `" "`, "name is empty"},
		{`"holder":0.4,`, ``, `phase_weights: field "holder" is missing`},
		{`"holder":0.4`, `"holder":0.5`, "phase_weights: they sum to 1.1, not to 1"},
		{`"initializer":0.3,"holder":0.4`, `"initializer":-0.3,"holder":1`, "phase_weights: -0.3 is not within 0 to 1"},
		{`"initializer":0.3,"holder":0.4,"closer":0.3`, `"initializer":0,"holder":1,"closer":0`, "initializer and closer together are below 0.001"},
		{`[[0,0],[10,1]]`, `[]`, "initializer_curve: has no knots"},
		{`[[0,0],[10,1]]`, `[[0,0],[10,1.2]]`, "initializer_curve: knot 2: value 1.2 is not within 0 to 1"},
		{`[[0,0],[10,1]]`, `[[-1,0],[10,1]]`, "initializer_curve: knot 1: hours -1 are not a number from 0 up"},
		{`[[0,0],[10,1]]`, `[[10,0],[0,1]]`, "initializer_curve: knot 2: hours 0 after 10"},
		{`[[0,0],[10,1]]`, `[[0,0.5],[10,0.4]]`, "initializer_curve: knot 2: value falls from 0.5 to 0.4"},
		{`[[0,0],[10,1]]`, `[[1,0],[1,0.5],[1,1]]`, "initializer_curve: knot 3: a third knot at 1 hours"},
		{`[[0,0],[10,1]]`, `[[0,0,0]]`, "initializer_curve: want a knot [hours, value], have [0,0,0]"},
		{`[[0,0],[10,1]]`, `[[0,null]]`, "initializer_curve: want a knot"},
		{`[[0,0],[10,1]]`, `7`, "initializer_curve: a number where"},
		{`[[0,0],[10,1]]`, `[` + strings.Repeat("[0,0],", maxKnots) + `[0,0]]`, "initializer_curve: has 100001 knots"},
		{`[[0,1],[10,0]]`, `[[0,0.9],[10,0]]`, "closer_curve: is 0.9 at 0 hours, not 1"},
		{`[[0,1],[10,0]]`, `[[0,1],[0,0]]`, "closer_curve: is 0 at 0 hours, not 1"},
		{`[[0,1],[10,0]]`, `[[0,0.9],[10,1]]`, "closer_curve: knot 2: value rises from 0.9 to 1"},
		{`1.5`, `0`, `channel_scores: "A": 0 is not within 0.001 to 1000`},
		{`1.5`, `1e400`, `channel_scores: "A": holder: a number 1e400 where`},
		{`{"A":`, `{"A":null,"B":`, `channel_scores: "A": is null`},
		{`{"A":`, `{"A":{},"B":`, `channel_scores: "A": field "initializer" is missing`},
		{`{"A":{"initializer":1,"holder":1.5,"closer":0.5}}`, `[]`, "channel_scores: want an object"},
	} {
		spoiled := strings.Replace(small, tc.old, tc.new, 1)
		require.NotEqual(t, small, spoiled)
		_, err := ParseParams([]byte(spoiled))
		require.ErrorContains(t, err, tc.says, "%.200s", spoiled)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestValidateRefusesWhatJSONCannotHold(t *testing.T) {
	t.Parallel()
	for _, spoil := range []func(p *Params){
		func(p *Params) { p.PhaseWeights.Closer = math.NaN() },
		func(p *Params) { p.CloserCurve[1].Value = math.NaN() },
		func(p *Params) { p.CloserCurve[1].Hours = math.Inf(1) },
		func(p *Params) { p.ChannelScores["A"] = ChannelScore{1, math.NaN(), 1} },
	} {
		p, err := ParseParams([]byte(small))
		require.NoError(t, err)
		spoil(p)
		_, err = New(p)
		require.Error(t, err)
	}
}

// FuzzParseParams: no file makes the parser panic, and what it takes is a
// model that scores, and comes back from its own file.
func FuzzParseParams(f *testing.F) {
	f.Add([]byte(small))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseParams(data)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		again, err := ParseParams(p.JSON())
		require.NoError(t, err)
		require.Equal(t, p, again)
		m, err := New(p)
		require.NoError(t, err)
		journey := []Session{
			{TimeMicros: 0, Channel: "A", Holder: true}, {TimeMicros: microsPerHour, Channel: "B", Closer: true},
			{TimeMicros: 5 * microsPerHour, Channel: "A", Holder: true}, {TimeMicros: 300 * microsPerHour, Holder: true}, {TimeMicros: 300 * microsPerHour},
		}
		requireWhole(t, journey, m.Scorer(nil).Score(journey, nil))
	})
}
