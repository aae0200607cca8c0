package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// With refunds subtracted, JSON and CSV have the one of the small shop as a
// conversion less; the tables are the same.
func TestRefundsAreToldAsTheRunAsks(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	script(t, db, setting("conversions", "revenue", "c3", "-9.99"), `INSERT INTO session_costs VALUES ('s4', 2)`)
	csv := func() []string { return strings.Split(read(t, h.path("out", "channel_reporting.csv")), "\n") }
	run := func(more ...string) outcome {
		return parse(t, h.must(append([]string{"run", "--db", db, "--out", h.path("out"), "--model", "builtin", "--json"}, more...)...).stdout)
	}
	counted := run()
	require.Equal(t, "3", counted.IHC.String())
	require.Contains(t, csv(), "Email,2023-09-03,2,1,-9.99,2,-4.995")
	before := tables(t, db)
	require.Equal(t, counted.IHC, run("--refunds", "count").IHC)

	subtracted := run("--refunds", "subtract")
	require.Equal(t, []string{"1", "completed"}, []string{subtracted.IHC.String(), subtracted.Status})
	require.Equal(t, counted.IHCRevenue, subtracted.IHCRevenue)
	require.Contains(t, csv(), "Email,2023-09-03,2,-1,-9.99,-2,-4.995")
	require.Empty(t, before.Only(results).Diff(tables(t, db).Only(results)))
	for _, e := range subtracted.Reconciliation {
		require.True(t, e.Holds, e.Description)
	}
}
