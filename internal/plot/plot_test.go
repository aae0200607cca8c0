package plot

import (
	"encoding/xml"
	"errors"
	"flag"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the pictures anew")

var none = math.NaN()

// pictures are one of each kind, and what is odd about their numbers.
var pictures = map[string]template.HTML{
	"bar":             Bar(0.4321, 0.1, "c1", `43 % of "all" <b>`),
	"bar-too-long":    Bar(7, -1, "c1", ""),
	"dots":            Dots([]float64{0.25, 3}, "c2", "index 0.5"),
	"dumbbell":        Dumbbell(0.08, 0.23, "c3", "8 % of cost, 23 % of revenue"),
	"interval":        Interval(0.5, 0.4, 1.3, []Named{{"linear <b>", 0.2}, {"last", 0.7}}, "c3", "0.5, from 0.4 to 1.3"),
	"interval-unsure": Interval(0.5, none, none, nil, "c3", ""),
	"line":            Line{Values: []float64{0, 3, none, 2, 4, 1}, Class: "c0", Hatched: 4, Column: 3, Alt: "by day"}.SVG(),
	"line-negative":   Line{Values: []float64{1, -1}, Class: "c0", Hatched: 2}.SVG(),
	"line-of-one":     Line{Values: []float64{3}, Class: "c0", Hatched: 1}.SVG(),
	"line-of-nothing": Line{Class: "c0"}.SVG(),
	"steps":           Line{Values: []float64{0.2, 0.5, 1}, Top: 1, Steps: true, Class: "c0", Hatched: 3, Marks: []Named{{"half: 1 day", 1}, {"<90 %>", 2}}}.SVG(),
	"line-with-words": Line{Values: []float64{0, 150, 380, 200}, Class: "m", Hatched: 4, Grid: []Named{{"200", 200}}, Below: []Named{{"2023-07-01", 0}, {"<b>", 1}, {"2023-07-03", 2}, {"2023-07-04", 3}}}.SVG(),
	"heat":            HeatRow([]float64{0, 0.01, 0.01, 0.3, none, 1, 0.5}, 5, 2, "c4", ""),
	"line-before":     Line{Values: []float64{1, 2, 3}, Before: []float64{4, none, 2}, Class: "m", Hatched: 3}.SVG(),
	"heat-below-0":    HeatRow([]float64{-1, -0.5, 0, 0.2, none, -1}, 6, 0, "c4", ""),
	"heat-of-nothing": HeatRow(nil, 0, 0, "c4", ""),
}

func TestPicturesAreTheGoldenOnes(t *testing.T) {
	t.Parallel()
	for name, is := range pictures {
		golden := filepath.Join("testdata", name+".svg")
		if *update {
			require.NoError(t, os.WriteFile(golden, []byte(is+"\n"), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), string(is)+"\n", name)
	}
}

// wellFormed fails unless text is XML without anything that is not a number
// where one should be.
func wellFormed(t require.TestingT, picture template.HTML) {
	d := xml.NewDecoder(strings.NewReader(string(picture)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err, picture)
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				require.NotContains(t, a.Value, "NaN")
				require.NotContains(t, a.Value, "Inf")
				require.NotEqual(t, "style", a.Name.Local, "a page's policy forbids it")
			}
		}
	}
}

func TestWhateverIsDrawnIsWellFormed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{none, math.Inf(1), math.Inf(-1), 0, 1e-300}))
		text := rapid.String()
		values := rapid.SliceOfN(number, 0, 20).Draw(t, "values")
		finite := make([]float64, len(values))
		for i, v := range values {
			if finite[i] = v; math.IsInf(v, 0) {
				finite[i] = none
			}
		}
		hatched := rapid.IntRange(0, len(values)).Draw(t, "hatched")
		for _, p := range []template.HTML{
			Bar(number.Draw(t, "length"), number.Draw(t, "mark"), "c0", text.Draw(t, "alt")),
			Dots(values, "c0", text.Draw(t, "alt")),
			Dumbbell(number.Draw(t, "from"), number.Draw(t, "to"), "c0", text.Draw(t, "alt")),
			HeatRow(values, hatched, 1, "c0", text.Draw(t, "alt")),
			Line{Values: finite, Class: "c0", Hatched: hatched, Steps: rapid.Bool().Draw(t, "steps"), Alt: text.Draw(t, "alt"),
				Grid: []Named{{text.Draw(t, "grid"), 0}}, Marks: []Named{{text.Draw(t, "mark"), 1}}, Below: []Named{{text.Draw(t, "below"), 0}}}.SVG(),
		} {
			wellFormed(t, p)
		}
	})
}

func TestGridIsAtAFewRoundValues(t *testing.T) {
	t.Parallel()
	require.Equal(t, []float64{1000, 2000, 3000, 4000}, Round(0, 4261.38))
	require.Equal(t, []float64{50, 100, 150, 200}, Round(0, 229.54))
	require.Equal(t, []float64{-200, -150, -100, -50}, Round(-220, 0))
	require.Equal(t, []float64{-10, -5, 5, 10}, Round(-10, 12))
	require.Empty(t, Round(0, 0))
	require.Empty(t, Round(0, math.Inf(1)))
	require.Empty(t, Round(none, none))
	rapid.Check(t, func(t *rapid.T) {
		low, high := rapid.Float64Range(-1e12, 0).Draw(t, "low"), rapid.Float64Range(0, 1e12).Draw(t, "high")
		at := Round(low, high)
		require.LessOrEqual(t, len(at), 5)
		for _, v := range at {
			require.NotZero(t, v)
			require.True(t, low <= v && v <= high)
		}
		if high-low > 1e-200 {
			require.NotEmpty(t, at)
		}
	})
}
