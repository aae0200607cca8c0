package cli

import (
	"encoding/json"
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

	// A report without a run says the same, and how it counts.
	for how, told := range map[string]struct{ ihc, does string }{"count": {"3", "is a conversion more (ihc)"}, "subtract": {"1", "is a conversion less (ihc) in this report"}} {
		table := strings.Join(strings.Fields(h.must("report", "--db", db, "--refunds", how).stdout), " ")
		require.Contains(t, table, "1 conversion in range with a negative revenue, -9.99 together: each such refund "+told.does)
		var d struct {
			Refunds struct {
				Conversions int
				Revenue     json.Number
				Subtracted  bool
			}
		}
		require.NoError(t, json.Unmarshal([]byte(h.must("report", "--db", db, "--refunds", how, "--format", "json").stdout), &d))
		require.Equal(t, 1, d.Refunds.Conversions)
		require.Equal(t, "-9.99", d.Refunds.Revenue.String())
		require.Equal(t, how == "subtract", d.Refunds.Subtracted)
		require.Contains(t, table, "total 3.75 "+told.ihc+".00 ")
	}
	require.NotContains(t, h.must("report", "--db", db, "--end-date", "2023-09-02").stdout, "negative revenue")
	wrong := h.run("report", "--db", db, "--refunds", "maybe")
	require.Equal(t, 2, wrong.code)
	require.Equal(t, `ihc: --refunds "maybe": use count or subtract`, wrong.complaint(t))
}
