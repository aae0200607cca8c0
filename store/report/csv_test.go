package report

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store"
)

func TestCSV(t *testing.T) {
	t.Parallel()
	names := []string{"SEO", `say "hi", now`, "=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "\rx", "ünï😀", "two\nlines", "", " ", "'quoted"}
	var rows []store.Row
	third := 0.1
	third += 0.2 // not what 0.3 is as a double
	for i, name := range names {
		rows = append(rows, store.Row{Channel: name, Date: "2023-01-01", Cost: float64(i), IHC: 0.5, IHCRevenue: third})
	}
	rows = append(rows, store.Row{Channel: "zero", Date: "2023-01-02"}, store.Row{Channel: "small", Date: "2023-01-02", Cost: 1e-7, IHC: 1e21, IHCRevenue: 3})
	var b bytes.Buffer
	require.NoError(t, WriteCSV(&b, rows, ""))
	require.True(t, strings.HasPrefix(b.String(), "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS\nSEO,2023-01-01,0,0.5,0.30000000000000004,0,\n"), b.String())
	read, err := csv.NewReader(&b).ReadAll()
	require.NoError(t, err)
	require.Len(t, read, 1+len(rows))
	for i, name := range names {
		got := read[i+1][0]
		require.NotContains(t, "=+-@\t\r", string(append([]byte(got), ' ')[0]), "a spreadsheet would run it")
		require.Equal(t, name, strings.ReplaceAll(strings.TrimPrefix(got, neutral(name)), "\r\n", "\n"))
	}
	require.Equal(t, []string{"zero", "2023-01-02", "0", "0", "0", "", ""}, read[len(read)-2])
	require.Equal(t, []string{"small", "2023-01-02", "0.0000001", "1000000000000000000000", "3", "0.0000000000000000000000000001", "30000000"}, read[len(read)-1])
}

// The columns are the users' contract: that of the run is one more, and the last.
func TestCSVNamesItsRunWhereItIsAskedTo(t *testing.T) {
	t.Parallel()
	rows := []store.Row{{Channel: "SEO", Date: "2023-01-01", Cost: 2, IHC: 1, IHCRevenue: 10}, {Channel: "Zero", Date: "2023-01-02"}}
	var bare, named bytes.Buffer
	require.NoError(t, WriteCSV(&bare, rows, ""))
	require.NoError(t, WriteCSV(&named, rows, "20230901-120128-abc"))
	require.Equal(t, "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS\nSEO,2023-01-01,2,1,10,2,5\nZero,2023-01-02,0,0,0,,\n", bare.String())
	require.Equal(t, "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS,run_id\nSEO,2023-01-01,2,1,10,2,5,20230901-120128-abc\nZero,2023-01-02,0,0,0,,,20230901-120128-abc\n", named.String())
	require.Len(t, Header, 7)
}

// neutral is what stands before a name that looks like a formula.
func neutral(name string) string {
	if name != "" && strings.ContainsRune("=+-@\t\r", rune(name[0])) {
		return "'"
	}
	return ""
}
