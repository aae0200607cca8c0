package attribution

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

// The known numbers are not part of this repository. Where they are: beside it,
// or where IHC_SHARED_DATA says.
func knownFile(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("IHC_SHARED_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	path := filepath.Join(dir, "models", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the known numbers are not at hand: %v; IHC_SHARED_DATA may name their folder", err)
	}
	return path
}

// row is paths that are alike, as the known data have them.
type row struct {
	path              []string
	conversions, null int64
	value             float64
}

func readRows(t *testing.T, name string) (all []row) {
	t.Helper()
	file, err := os.Open(knownFile(t, name))
	require.NoError(t, err)
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	for _, line := range lines[1:] {
		all = append(all, row{strings.Split(line[0], " > "), int64(number(t, line[1])), int64(number(t, line[3])), number(t, line[2])})
	}
	return all
}

func number(t require.TestingT, text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return n
}

// shop makes users of rows, each journey a user's: touches a day apart, the
// conversion a second after the last one.
func shop(rows []row) func(context.Context, func(*journey.History) error) error {
	return func(_ context.Context, yield func(*journey.History) error) error {
		users := 0
		for _, r := range rows {
			var h journey.History
			for k, channel := range r.path {
				h.Sessions = append(h.Sessions, journey.Session{ID: fmt.Sprint(k), Channel: channel, Time: int64(k) * dayMicros})
			}
			n := len(h.Sessions)
			for i := range r.conversions + r.null {
				h.User, h.Conversions, h.Rest = fmt.Sprint("u", users), nil, 0
				users++
				if i < r.conversions {
					end := int64(n-1)*dayMicros + 1_000_000
					h.Conversions = []journey.Converted{{ID: fmt.Sprint(users), Time: end, Revenue: r.value / float64(r.conversions), To: n}}
					h.Rest = n
				}
				if err := yield(&h); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func compared(t require.TestingT, rows []row, o Options, names ...string) *Comparison {
	c, err := Compare(context.Background(), names, o, ByNothing, shop(rows))
	require.NoError(t, err)
	return c
}

func credits(r Result) map[string]Credit {
	all := map[string]Credit{}
	for _, c := range r.Credits {
		all[c.Channel] = c
	}
	return all
}

// known is an entry of the expected numbers.
type known struct {
	Tolerance          float64
	Conversions, Value map[string]float64
	Base               float64            `json:"base_conversion_rate"`
	Removal            map[string]float64 `json:"removal_effect"`
	RemovalValue       map[string]float64 `json:"removal_effect_value"`
}

func TestTheModelsGiveTheKnownNumbers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(knownFile(t, "expected.json"))
	require.NoError(t, err)
	var expected struct {
		Datasets map[string]struct{ Models map[string]known }
	}
	require.NoError(t, json.Unmarshal(data, &expected))
	rows := readRows(t, "pathdata.csv")
	models := map[string]struct {
		name string
		o    Options
	}{
		"first": {First, Options{}}, "last": {Last, Options{}}, "linear": {Linear, Options{}}, "shapley_additive": {Shapley, Options{}},
		"position_40_20_40": {Position, Options{}}, "position_j_20_20_60": {Position, Options{Position: JShaped}},
		"time_decay_hl7_step1": {TimeDecay, Options{}}, "markov_order1": {Markov, Options{}},
		"markov_order1_no_null": {Markov, Options{WithoutNulls: true}},
	}
	for name, want := range expected.Datasets["pathdata"].Models {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, ok := models[name]
			require.True(t, ok, "there is a model for it")
			r := compared(t, rows, m.o, m.name).Models[0]
			got := credits(r)
			for channel, n := range want.Conversions {
				require.InDelta(t, n, got[channel].Conversions.Value, want.Tolerance, channel)
				require.InDelta(t, want.Value[channel], got[channel].Revenue.Value, want.Tolerance, channel)
				if want.Removal != nil {
					require.InDelta(t, want.Removal[channel], got[channel].Removal, want.Tolerance, channel)
					require.InDelta(t, want.RemovalValue[channel], got[channel].RemovalRevenue, want.Tolerance, channel)
				}
			}
			if want.Base != 0 {
				require.InDelta(t, want.Base, r.Base, 1e-12)
			}
		})
	}
}

// Numbers that the page of definitions tells beside the tables.
func TestHigherOrdersAndSingleChannelsApartGiveTheKnownNumbers(t *testing.T) {
	t.Parallel()
	rows := readRows(t, "pathdata.csv")
	got := credits(compared(t, rows, Options{Order: 2}, Markov).Models[0])
	for channel, want := range map[string]float64{"alpha": 5617.454, "beta": 2439.649, "delta": 5.159, "epsilon": 614.374, "eta": 3391.858, "gamma": 171.918,
		"iota": 3810.511, "kappa": 266.027, "lambda": 1189.472, "mi": 2.073, "theta": 1902.474, "zeta": 374.031} {
		require.InDelta(t, want, got[channel].Conversions.Value, 0.0005, channel)
	}
	got = credits(compared(t, rows, Options{SingleApart: true}, Markov).Models[0])
	require.InDelta(t, 7416.37, got["alpha"].Conversions.Value, 0.005)

	got = credits(compared(t, rows, Options{}, Markov).Models[0])
	for channel, percent := range map[string]float64{"alpha": 1.7, "zeta": 4.8, "delta": 52, "mi": 80} {
		c := got[channel]
		half := 100 * (c.Conversions.High - c.Conversions.Low) / 2 / c.Conversions.Value
		t.Logf("%s ±%.2f %%", channel, half)
		require.InEpsilon(t, percent, half, 0.2, channel)
		require.Equal(t, c.Conversions.Value < TooFew, c.TooFew)
	}
}

// example is a small case with its source.
type example struct {
	ID, Model, Path, File string
	Rows                  []json.RawMessage
	Params                struct {
		UseNull  *bool `json:"use_null"`
		Output   string
		W        []float64
		Rule     string
		Total    float64
		HalfLife float64 `json:"half_life"`
		Direct   string
		Name     string
		Channel  string
	}
	Ages      []float64
	Game      map[string]float64
	Expected  json.RawMessage
	Tolerance float64
}

func TestTheModelsGiveTheSmallCases(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(knownFile(t, "examples.json"))
	require.NoError(t, err)
	var all struct{ Examples []example }
	require.NoError(t, json.Unmarshal(data, &all))
	require.NotEmpty(t, all.Examples)
	for _, e := range all.Examples {
		t.Run(e.ID, func(t *testing.T) {
			t.Parallel()
			e.check(t)
		})
	}
}

func (e example) check(t *testing.T) {
	switch e.Model {
	case "weights":
		e.checkWeights(t)
	case "transform":
		e.checkTransform(t)
	case "shapley_game":
		requireChannels(t, e, shapleyOfGame(e.Game))
	case "fractribution":
		requireChannels(t, e, leaveOneOut(e.rows(t)))
	default:
		e.checkModel(t)
	}
}

func (e example) rows(t *testing.T) (all []row) {
	if e.File != "" {
		return readRows(t, e.File)
	}
	for _, raw := range e.Rows {
		var path string
		var r row
		require.NoError(t, json.Unmarshal(raw, &[]any{&path, &r.conversions, &r.value, &r.null}))
		r.path = strings.Split(path, " > ")
		all = append(all, r)
	}
	return all
}

func requireChannels(t *testing.T, e example, got map[string]float64) {
	var want map[string]float64
	require.NoError(t, json.Unmarshal(e.Expected, &want))
	for channel, n := range want {
		require.InDelta(t, n, got[channel], max(e.Tolerance, 1e-12), channel)
	}
}

func (e example) checkModel(t *testing.T) {
	var o Options
	o.WithoutNulls = e.Params.UseNull != nil && !*e.Params.UseNull
	if w := e.Params.W; w != nil {
		o.Position = Weights{w[0], w[1], w[2]}
	}
	r := compared(t, e.rows(t), o, strings.TrimSuffix(e.Model, "_additive")).Models[0]
	if e.Params.Output == "base" {
		require.InDelta(t, number(t, string(e.Expected)), r.Base, e.Tolerance)
		return
	}
	got := map[string]float64{}
	for channel, c := range credits(r) {
		switch e.Params.Output {
		case "removal_effect":
			got[channel] = c.Removal
		case "value":
			got[channel] = c.Revenue.Value
		default:
			got[channel] = c.Conversions.Value
		}
	}
	requireChannels(t, e, got)
}

func (e example) checkWeights(t *testing.T) {
	o := Options{HalfLife: e.Params.HalfLife}
	if e.Params.Direct != "" {
		o.Direct = []string{e.Params.Direct}
	}
	if w := e.Params.W; w != nil {
		o.Position = Weights{w[0], w[1], w[2]}
	}
	o, err := o.Complete()
	require.NoError(t, err)
	rule, err := NewRule(strings.ReplaceAll(e.Params.Rule, "_", "-"), o)
	require.NoError(t, err)
	j := numbered(strings.Split(e.Path, " > "))
	for k, age := range e.Ages {
		j.Touches[k].Time = -int64(age * dayMicros)
	}
	shares := make([]float64, len(j.Touches))
	rule.Shares(j, shares)
	var want []float64
	require.NoError(t, json.Unmarshal(e.Expected, &want))
	for k := range want {
		require.InDelta(t, want[k], shares[k]*max(e.Params.Total, 1), e.Tolerance)
	}
}

func numbered(path []string) (j Journey) {
	for _, name := range path {
		at := slices.Index(j.Channels, name)
		if at < 0 {
			at = len(j.Channels)
			j.Channels = append(j.Channels, name)
		}
		j.Touches = append(j.Touches, Touch{Channel: int32(at)})
	}
	return j
}

// Two of the transforms are options of the product. The others, which pass over
// a channel, are what last-non-direct is for, and are left out.
func (e example) checkTransform(t *testing.T) {
	j := numbered(strings.Split(e.Path, " > "))
	var got []string
	switch e.Params.Name {
	case CollapseExposure, CollapseFirst:
		for _, touch := range collapse(e.Params.Name, j.Touches, nil, map[int32]bool{}) {
			got = append(got, j.Channels[touch.Channel])
		}
	default:
		last := e.Params.Name == "remove_if_last_and_not_all"
		for k, touch := range j.Touches {
			rest := j.Touches[k:]
			others := func(in []Touch) bool {
				return slices.ContainsFunc(in, func(t Touch) bool { return j.Channels[t.Channel] != e.Params.Channel })
			}
			if j.Channels[touch.Channel] != e.Params.Channel || !others(j.Touches) || last && others(rest) {
				got = append(got, j.Channels[touch.Channel])
			}
		}
	}
	var want string
	require.NoError(t, json.Unmarshal(e.Expected, &want))
	require.Equal(t, want, strings.Join(got, " > "))
}

// shapleyOfGame is the textbook: the mean of what a player adds over all orders.
func shapleyOfGame(game map[string]float64) map[string]float64 {
	worth := map[string]float64{}
	var players []string
	key := func(of []string) string { of = slices.Clone(of); slices.Sort(of); return strings.Join(of, "|") }
	for coalition, v := range game {
		of := strings.Split(coalition, "|")
		worth[key(of)] = v
		if len(of) == 1 && coalition != "" {
			players = append(players, coalition)
		}
	}
	values := map[string]float64{}
	orders := 0
	var enter func(in []string)
	enter = func(in []string) {
		if len(in) == len(players) {
			orders++
			for i, p := range in {
				values[p] += worth[key(in[:i+1])] - worth[key(in[:i])]
			}
			return
		}
		for _, p := range players {
			if !slices.Contains(in, p) {
				enter(append(slices.Clone(in), p))
			}
		}
	}
	enter(nil)
	for p := range values {
		values[p] /= float64(orders)
	}
	return values
}

// leaveOneOut is what some call shapley: a touch's gain is the rate of the path
// less that of the path without it.
func leaveOneOut(rows []row) map[string]float64 {
	rates := map[string]float64{}
	for _, r := range rows {
		rates[strings.Join(r.path, "\x00")] = float64(r.conversions) / float64(r.conversions+r.null)
	}
	values := map[string]float64{}
	for _, r := range rows {
		gains, sum := make([]float64, len(r.path)), 0.0
		for k := range r.path {
			without := slices.Delete(slices.Clone(r.path), k, k+1)
			gains[k] = max(0, rates[strings.Join(r.path, "\x00")]-rates[strings.Join(without, "\x00")])
			sum += gains[k]
		}
		if sum == 0 {
			gains[len(gains)-1], sum = 1, 1
		}
		for k, channel := range r.path {
			values[channel] += float64(r.conversions) * gains[k] / sum
		}
	}
	return values
}
