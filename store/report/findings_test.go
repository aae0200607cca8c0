package report

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/store"
)

// That a channel has 14 % of cost and 14 % of revenue is nothing to begin a
// report with.
func TestFindingsAreWhatStandsOut(t *testing.T) {
	t.Parallel()
	of := func(costs, revenues [2]float64) []string {
		var rows []store.Row
		for i, name := range []string{"SEO", "Ads"} {
			rows = append(rows, store.Row{Channel: name, Date: "2023-08-01", Cost: costs[i], IHC: 1, IHCRevenue: revenues[i]})
		}
		return New(&store.Totals{Rows: rows}, Options{}).findings()
	}
	even := []string{"Every channel's share of revenue is within 2 points of its share of cost."}
	require.Equal(t, even, of([2]float64{50, 50}, [2]float64{51, 49}))
	require.Equal(t, even, of([2]float64{50, 50}, [2]float64{50, 50}))
	require.Equal(t, []string{page.Isolated("Ads") + " has 50 % of cost and 40 % of revenue.", page.Isolated("SEO") + " has 50 % of cost and 60 % of revenue."},
		of([2]float64{50, 50}, [2]float64{60, 40}))
	require.Empty(t, of([2]float64{0, 0}, [2]float64{60, 40}))
}
