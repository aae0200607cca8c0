package report

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/store"
)

// modelsOf is a comparison of all models on these channels, with as many digits
// as real ones have.
func modelsOf(names []string) *Models {
	names = slices.Sorted(slices.Values(names))
	m := &Models{Comparison: &attribution.Comparison{}}
	m.Conversions, m.Revenue = 1000, 100_000
	for i, model := range attribution.Names() {
		result := attribution.Result{Model: model, Label: model, Coverage: model == attribution.Participation}
		for k, name := range names {
			v := float64(100*(k%11)+i*(k%7)) / 7
			e := attribution.Estimate{Value: v, Low: v * 0.9012345678901, High: v * 1.101234567890, Known: true}
			result.Credits = append(result.Credits, attribution.Credit{Channel: name, Conversions: e, Revenue: e, TooFew: v < attribution.TooFew})
		}
		m.Models = append(m.Models, result)
	}
	return m
}

func TestModelsStandSideBySide(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("<b>channel %d", i))
	}
	r := New(&store.Totals{Rows: rowsOf("2023-08-01", 5, names...)}, Options{Models: modelsOf(names)})
	section, there := r.modelSection()
	require.True(t, there)
	require.Contains(t, section.Lead, NotCause)
	figure := section.Figures[0]
	require.Len(t, figure.Rows.Rows, mostSpread)
	require.Contains(t, figure.Note, "too few to rank: fewer than 30 conversions by ihc")

	// The tables have the numbers of the command's, to the digit.
	long := map[[2]string][]string{}
	for _, row := range r.Models.Sheet().Rows {
		long[[2]string{row[0].Text, row[1].Text}] = []string{row[2].Number.String(), row[3].Number.String(), row[4].Number.String()}
	}
	for _, row := range figure.Sheet.Rows {
		for i, model := range attribution.Names() {
			require.Equal(t, long[[2]string{model, row[0].Text}][0], row[1+i].Number.String())
		}
		n := len(attribution.Names())
		require.Equal(t, []string{row[n+1].Number.String(), row[n+2].Number.String()}, long[[2]string{attribution.IHC, row[0].Text}][1:])
	}
	var once, again bytes.Buffer
	require.NoError(t, r.Page().Write(&once))
	require.NoError(t, r.Page().Write(&again))
	require.Equal(t, once.String(), again.String())
	require.NotContains(t, once.String(), "<b>channel")
}

func TestPageWithoutModelsSaysWhichCommandComparesThem(t *testing.T) {
	t.Parallel()
	totals := &store.Totals{Rows: rowsOf("2023-08-01", 5, "SEO")}
	section, there := New(totals, Options{}).modelSection()
	require.True(t, there)
	require.Contains(t, section.Lead, "`ihc models`")
	_, there = New(totals, Options{Channel: "SEO"}).modelSection()
	require.False(t, there, "one channel is not divided among")
	section, _ = New(totals, Options{Models: NoModels()}).modelSection()
	require.Contains(t, section.Lead, "no conversions")
}
