package ihcmodel

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// documented is the parameter of the API's documentation.
const documented = `{
	"initializer": {"direction": "earlier_sessions_only", "receive_threshold": 0,   "redistribution_channel_labels": ["Direct"]},
	"holder":      {"direction": "any_session",           "receive_threshold": 0,   "redistribution_channel_labels": ["Direct"]},
	"closer":      {"direction": "later_sessions_only",   "receive_threshold": 0.1, "redistribution_channel_labels": ["SEO - Brand"]}}`

func TestParseRedistribution(t *testing.T) {
	t.Parallel()
	r, err := ParseRedistribution([]byte(documented))
	require.NoError(t, err)
	require.Equal(t, &Redistribution{
		Initializer: &Rule{EarlierSessions, 0, []string{"Direct"}},
		Holder:      &Rule{AnySession, 0, []string{"Direct"}},
		Closer:      &Rule{LaterSessions, 0.1, []string{"SEO - Brand"}},
	}, r)
	require.Equal(t, []string{"Direct", "SEO - Brand"}, r.Labels())
	require.Equal(t, []string{"SEO - Brand"}, r.Unmatched([]string{"Direct", "direct", "SEO"}))
	require.False(t, r.Empty())
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, documented, string(text))
	for _, empty := range []string{`{}`, ` {} `, `{"holder":{"direction":"any_session","receive_threshold":0,"redistribution_channel_labels":[]}}`} {
		r, err = ParseRedistribution([]byte(empty))
		require.NoError(t, err)
		require.True(t, r.Empty())
	}
	require.True(t, (*Redistribution)(nil).Empty())
	require.NoError(t, (*Redistribution)(nil).Validate())
}

func TestParseRedistributionSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		``:                          "not JSON: it ends too early",
		`{`:                         "not JSON: it ends too early",
		`null`:                      "want an object",
		`[]`:                        "want an object",
		`{} x`:                      "something follows",
		`{"closers":{}}`:            `unknown field "closers"; known are initializer, holder, closer`,
		`{"holder":null}`:           "holder: is null",
		`{"holder":{}}`:             `holder: field "direction" is missing`,
		`{"holder":{},"holder":{}}`: `"holder" is given twice`,
		`{"holder":{"direction":"sideways","receive_threshold":0,"redistribution_channel_labels":["A"]}}`:          `holder: direction: "sideways" is none of earlier_sessions_only, any_session, later_sessions_only`,
		`{"holder":{"direction":"any_session","receive_threshold":1.1,"redistribution_channel_labels":["A"]}}`:     "holder: receive_threshold: 1.1 is not within 0 to 1",
		`{"holder":{"direction":"any_session","receive_threshold":-0.1,"redistribution_channel_labels":["A"]}}`:    "holder: receive_threshold: -0.1",
		`{"holder":{"direction":"any_session","receive_threshold":NaN,"redistribution_channel_labels":["A"]}}`:     "not JSON",
		`{"holder":{"direction":"any_session","receive_threshold":"0","redistribution_channel_labels":["A"]}}`:     "holder: receive_threshold: a string where",
		`{"holder":{"direction":"any_session","receive_threshold":0,"redistribution_channel_labels":[""]}}`:        "holder: redistribution_channel_labels: a label is empty",
		`{"holder":{"direction":"any_session","receive_threshold":0,"redistribution_channel_labels":[null]}}`:      "holder: redistribution_channel_labels: a label is empty",
		`{"holder":{"direction":"any_session","receive_threshold":0,"redistribution_channel_labels":"A"}}`:         "holder: redistribution_channel_labels: a string where",
		`{"holder":{"direction":"any_session","receive_threshold":0}}`:                                             `holder: field "redistribution_channel_labels" is missing`,
		`{"holder":{"direction":"any_session","receive_threshold":0,"redistribution_channel_labels":[],"more":1}}`: `holder: unknown field "more"`,
	} {
		_, err := ParseRedistribution([]byte(text))
		require.ErrorContains(t, err, says, text)
		require.NotContains(t, err.Error(), "\n")
	}
	require.Error(t, (&Redistribution{Closer: &Rule{AnySession, math.NaN(), nil}}).Validate())
}

// moved applies a rule to shares of sessions named by channel.
func moved(rule Rule, channels []string, shares ...float64) []float64 {
	rules := (&Redistribution{Initializer: &rule}).compileRules()
	v := slices.Clone(shares)
	rules[0].apply(v, func(k int) string { return channels[k] }, make([]uint8, len(v)), make([]float64, len(v)))
	return v
}

func TestRedistributionByHand(t *testing.T) {
	t.Parallel()
	d := []string{"Direct"}
	aDa := []string{"A", "Direct", "B"}
	for name, tc := range map[string]struct {
		rule     Rule
		channels []string
		shares   []float64
		want     []float64
	}{
		"earlier":                         {Rule{EarlierSessions, 0, d}, aDa, []float64{0.2, 0.5, 0.3}, []float64{0.7, 0, 0.3}},
		"later":                           {Rule{LaterSessions, 0, d}, aDa, []float64{0.2, 0.5, 0.3}, []float64{0.2, 0, 0.8}},
		"any, by own share":               {Rule{AnySession, 0, d}, aDa, []float64{0.2, 0.5, 0.3}, []float64{0.4, 0, 0.6}},
		"below the threshold: nothing":    {Rule{AnySession, 0.25, d}, aDa, []float64{0.2, 0.5, 0.3}, []float64{0.2, 0, 0.8}},
		"at the threshold: receives":      {Rule{AnySession, 0.1 + 0.2, d}, aDa, []float64{0.2, 0.5, 0.3}, []float64{0.2, 0, 0.8}},
		"nobody to give to: keeps":        {Rule{EarlierSessions, 0, d}, []string{"Direct", "A"}, []float64{0.6, 0.4}, []float64{0.6, 0.4}},
		"nobody at the threshold: keeps":  {Rule{AnySession, 0.9, d}, aDa, []float64{0.2, 0.5, 0.3}, []float64{0.2, 0.5, 0.3}},
		"all listed: they keep":           {Rule{AnySession, 0, d}, []string{"Direct", "Direct"}, []float64{0.6, 0.4}, []float64{0.6, 0.4}},
		"own shares all 0: equal parts":   {Rule{AnySession, 0, d}, aDa, []float64{0, 1, 0}, []float64{0.5, 0, 0.5}},
		"own share 0 beside others: none": {Rule{LaterSessions, 0, d}, []string{"Direct", "A", "B"}, []float64{0.5, 0, 0.5}, []float64{0, 0, 1}},
		"several, later": {
			Rule{LaterSessions, 0, d}, []string{"Direct", "A", "Direct", "B", "B"}, []float64{0.2, 0.2, 0.2, 0.2, 0.2},
			[]float64{0, 0.2 + 0.2/3, 0, 0.2 + 0.2/3 + 0.1, 0.2 + 0.2/3 + 0.1},
		},
		"several, earlier": {
			Rule{EarlierSessions, 0, d}, []string{"B", "B", "Direct", "A", "Direct"}, []float64{0.2, 0.2, 0.2, 0.2, 0.2},
			[]float64{0.2 + 0.2/3 + 0.1, 0.2 + 0.2/3 + 0.1, 0, 0.2 + 0.2/3, 0},
		},
		"a label of no channel changes nothing": {Rule{AnySession, 0, []string{"direct"}}, aDa, []float64{0.2, 0.5, 0.3}, []float64{0.2, 0.5, 0.3}},
	} {
		require.InDeltaSlice(t, tc.want, moved(tc.rule, tc.channels, tc.shares...), 1e-12, name)
	}
}

// literally moves shares giver by giver, as the words of the page have it.
func literally(rule Rule, channels []string, own []float64) []float64 {
	out := slices.Clone(own)
	for g := range own {
		if !slices.Contains(rule.Channels, channels[g]) {
			continue
		}
		var to []int
		var sum float64
		for k := range own {
			inDirection := rule.Direction == AnySession && k != g || rule.Direction == EarlierSessions && k < g || rule.Direction == LaterSessions && k > g
			if inDirection && !slices.Contains(rule.Channels, channels[k]) && own[k] >= rule.ReceiveThreshold-atThreshold {
				to = append(to, k)
				sum += own[k]
			}
		}
		for _, k := range to {
			if sum > nothing {
				out[k] += own[g] * own[k] / sum
			} else {
				out[k] += own[g] / float64(len(to))
			}
		}
		if len(to) > 0 {
			out[g] -= own[g]
		}
	}
	return out
}

func anyRule(t *rapid.T) Rule {
	return Rule{
		Direction:        rapid.SampledFrom([]Direction{EarlierSessions, AnySession, LaterSessions}).Draw(t, "direction"),
		ReceiveThreshold: rapid.SampledFrom([]float64{0, 0, 0.05, 0.1, 0.3, 1}).Draw(t, "threshold"),
		Channels:         rapid.SliceOfN(rapid.SampledFrom([]string{"A", "B", "Direct Traffic"}), 1, 3).Draw(t, "labels"),
	}
}

// TestRedistributionConserves: shares move, sums stay; who is not listed loses
// nothing, who is listed gains nothing; and the two sweeps do what the words say.
func TestRedistributionConserves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rule := anyRule(t)
		n := rapid.IntRange(1, 15).Draw(t, "sessions")
		channels := rapid.SliceOfN(rapid.SampledFrom([]string{"A", "B", "C", "Direct Traffic"}), n, n).Draw(t, "channels")
		shares := rapid.SliceOfN(rapid.OneOf(rapid.Just(0.), rapid.Float64Range(0, 1)), n, n).Draw(t, "shares")
		if normalise(shares) == 0 {
			return
		}
		got := moved(rule, channels, shares...)
		var sum float64
		for k := range got {
			sum += got[k]
			if slices.Contains(rule.Channels, channels[k]) {
				require.LessOrEqual(t, got[k], shares[k])
			} else {
				require.GreaterOrEqual(t, got[k], shares[k])
			}
		}
		require.InDelta(t, 1, sum, 1e-9)
		require.InDeltaSlice(t, literally(rule, channels, shares), got, 1e-9)
	})
}

// TestRedistributedScoresAreWhole: also after rounding and combining, with a
// rule in each phase, everything sums to 1.
func TestRedistributedScoresAreWhole(t *testing.T) {
	t.Parallel()
	m := published(t)
	rapid.Check(t, func(t *rapid.T) {
		i, h, c := anyRule(t), anyRule(t), anyRule(t)
		journey := anyJourney(t, "journey")
		requireWhole(t, journey, m.Scorer(&Redistribution{&i, &h, &c}).Score(journey, nil))
	})
}

// TestRedistributionStaysBehindTheCut: what the cut dropped receives nothing.
func TestRedistributionStaysBehindTheCut(t *testing.T) {
	t.Parallel()
	hour := int64(microsPerHour)
	r := &Redistribution{Initializer: &Rule{EarlierSessions, 0, []string{"Direct"}}, Closer: &Rule{EarlierSessions, 0, []string{"Direct"}}}
	got := plain(t).Scorer(r).Score([]Session{
		{TimeMicros: 0, Channel: "A"}, {TimeMicros: 20 * hour, Channel: "Direct"}, {TimeMicros: 21 * hour, Channel: "B"}, {TimeMicros: 21 * hour, Channel: "Direct"},
	}, nil)
	require.Equal(t, []Score{
		{},
		{9091, 0, 0, 4690},    // Direct, but with nobody before it: keeps
		{909, 0, Whole, 5310}, // gets the last session's closer
		{},
	}, got)
}

// FuzzParseRedistribution: no text makes the parser panic; what it takes comes
// back the same, and leaves scores whole.
func FuzzParseRedistribution(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"holder":{"direction":"any_session","receive_threshold":1e-9,"redistribution_channel_labels":["A","A"]}}`))
	m := published(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRedistribution(data)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		text, err := json.Marshal(r)
		require.NoError(t, err)
		again, err := ParseRedistribution(text)
		require.NoError(t, err)
		require.Equal(t, r, again)
		journey := []Session{{TimeMicros: 0, Channel: "Direct", Holder: true}, {TimeMicros: 1, Channel: "A", Holder: true}, {TimeMicros: 2, Channel: "SEO - Brand"}}
		requireWhole(t, journey, m.Scorer(r).Score(journey, nil))
	})
}
