package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A report of what another program made of the shares says so, without a run.
func TestReportTellsOfSharesThatAreNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	h.must("run", db, "--out", h.path("out"))
	report := func(format string) string { return h.must("report", "--db", db, "--format", format).stdout }
	require.NotContains(t, report("table"), "attribution_customer_journey")
	script(t, db, `UPDATE attribution_customer_journey SET ihc = -3 WHERE conv_id = 'c3'`)
	for _, format := range []string{"table", "md", "json", "html"} {
		told := strings.Join(strings.Fields(strings.ReplaceAll(report(format), `\`, "")), " ") // which Markdown and JSON put before some signs
		require.Contains(t, told, "1 row of attribution_customer_journey holds no share of a conversion, 0 to 1; one is conv_id ", format)
		require.Contains(t, told, "1 conversion has shares in attribution_customer_journey that do not sum to 1: conv_id ", format)
	}
}
