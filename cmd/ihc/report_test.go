package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/store/report"
)

// attributedShop is the demonstration's shop with the files of its run.
func attributedShop(t *testing.T) (db, out string) {
	t.Helper()
	out = t.TempDir()
	_, err := command(t, newDemoCmd(), "--out", out)
	require.NoError(t, err)
	return filepath.Join(out, "shop.db"), out
}

func TestReportWithoutARunIsThatOfTheRun(t *testing.T) {
	t.Parallel()
	db, out := attributedShop(t)
	report := func(args ...string) string {
		text, err := command(t, newReportCmd(), append([]string{"--db", db}, args...)...)
		require.NoError(t, err)
		return text
	}
	data, err := os.ReadFile(filepath.Join(out, reporter.ReconciliationFile))
	require.NoError(t, err)
	of := decoded[run.Result](t, string(data))
	var doc struct {
		Tables []struct {
			Rows  []run.ResultChannel
			Total run.ResultChannel
		}
	}
	require.NoError(t, json.Unmarshal([]byte(report("--format", "json")), &doc))
	require.Equal(t, of.Channels, doc.Tables[0].Rows)
	of.Total.Channel = "total"
	require.Equal(t, *of.Total, doc.Tables[0].Total)

	// What a run's file has by channel and day sums to what is printed by day,
	// week and month.
	rows := readCSV(t, filepath.Join(out, reporter.CSVFile))
	for _, by := range []string{"channel", "day", "week", "month"} {
		shown, err := csv.NewReader(strings.NewReader(report("--by", by, "--format", "csv"))).ReadAll()
		require.NoError(t, err)
		require.Equal(t, columnSum(t, rows[1:], 2), columnSum(t, shown[1:], 1), by)
		require.Equal(t, columnSum(t, rows[1:], 4), columnSum(t, shown[1:], 3), by)
	}

	page, err := os.ReadFile(filepath.Join(out, reporter.PageFile))
	require.NoError(t, err)
	plain := strings.ReplaceAll(report("--format", "html"), "<dt>Run that scored it</dt>", "<dt>Run</dt>")
	require.Equal(t, string(page), plain, "one page, whoever writes it")

	file := filepath.Join(out, "again.csv")
	require.Empty(t, report("--format", "csv", "--out", file))
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, report("--format", "csv"), string(written))
}

func readCSV(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	return rows
}

func columnSum(t *testing.T, rows [][]string, column int) string {
	t.Helper()
	sum := decimal.Zero
	for _, row := range rows {
		d, err := decimal.NewFromString(row[column])
		require.NoError(t, err)
		sum = sum.Add(d)
	}
	return sum.StringFixed(6)
}

func TestReportSaysWhatIsWrongWithWhatItIsAsked(t *testing.T) {
	t.Parallel()
	db, _ := attributedShop(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--db", db, "--by", "campaign"}, "session_sources has no column \"campaign\""},
		{[]string{"--db", db, "--channel", "nobody's"}, "no session has it"},
		{[]string{"--db", db, "--format", "pdf"}, "use table, csv, json, md or html, or xlsx or parquet for a file"},
		{[]string{"--db", db, "--compare", "yesterday"}, "use previous, year, or two dates"},
		{[]string{"--db", db, "--compare", "2023-08-02..2023-08-01"}, "swap them"},
		{[]string{"--db", db, "--start-date", "2023-13-01"}, "no date"},
		{[]string{"--db", db, "--phases", "--format", "csv"}, "one table"},
		{[]string{"--db", sampleShop(t, "SELECT 1")}, "ihc run --db"},
		{nil, "--db FILE"},
	} {
		_, err := command(t, newReportCmd(), c.args...)
		require.Equal(t, errkind.Input, errkind.KindOf(err), c.args)
		require.ErrorContains(t, err, c.says)
	}
	_, err := command(t, newReportCmd(), "--db", filepath.Join(t.TempDir(), "none.db"))
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
}

func TestReportOfOneChannelComparedAndInAllItsParts(t *testing.T) {
	t.Parallel()
	db, _ := attributedShop(t)
	text, err := command(t, newReportCmd(), "--db", db, "--channel", "Email", "--start-date", "2023-07-01", "--end-date", "2023-07-31", "--compare", "previous", "--phases", "--paths", "--unattributed")
	require.NoError(t, err)
	for _, part := range []string{"Channels, sessions of Email from 2023-07-01 to 2023-07-31", "Before: sessions from 2023-05-31 to 2023-06-30", "Who starts, holds, closes", "Paths: ", "Length of journeys", "Days until the conversion", "attributed or not"} {
		require.Contains(t, text, part)
	}
	md, err := command(t, newReportCmd(), "--db", db, "--by", "week", "--format", "md")
	require.NoError(t, err)
	require.Contains(t, md, "| 2023-06-05 |")
}

func TestExplanationAddsUpToTheOrderAndToTheCell(t *testing.T) {
	t.Parallel()
	db, out := attributedShop(t)
	rows := readCSV(t, filepath.Join(out, reporter.CSVFile))
	most := rows[1]
	for _, row := range rows[1:] {
		if row[3] > most[3] && len(row[3]) >= len(most[3]) {
			most = row
		}
	}
	text, err := command(t, newExplainCmd(), "--db", db, "--json", "--cell", most[0], most[1])
	require.NoError(t, err)
	var cell struct {
		Rows []struct {
			Conv       string          `json:"conv_id"`
			IHC        decimal.Decimal `json:"ihc"`
			IHCRevenue decimal.Decimal `json:"ihc_revenue"`
		}
		Total struct {
			IHC json.Number `json:"ihc"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &cell))
	require.Equal(t, most[3], cell.Total.IHC.String())

	text, err = command(t, newExplainCmd(), "--db", db, "--json", cell.Rows[0].Conv)
	require.NoError(t, err)
	e := decoded[report.Explanation](t, text)
	ihc, revenue := decimal.Zero, decimal.Zero
	for _, s := range e.Sessions {
		require.NotEmpty(t, s.Why)
		ihc, revenue = ihc.Add(s.IHC.Decimal), revenue.Add(s.IHCRevenue.Decimal)
	}
	require.Equal(t, "1", ihc.String())
	require.True(t, revenue.Equal(e.Revenue.Decimal))

	text, err = command(t, newExplainCmd(), "--db", db, cell.Rows[0].Conv)
	require.NoError(t, err)
	require.Contains(t, text, "ihc 1.0000 in all\n")
	for _, args := range [][]string{{"--db", db, "nobody's"}, {"--db", db}, {"--db", db, "--cell", "Email"}, {"--db", db, "--cell", "Email", "yesterday"}, {"--db", db, "--cell", "Email", "1999-01-01"}} {
		_, err := command(t, newExplainCmd(), args...)
		require.Equal(t, errkind.Input, errkind.KindOf(err), args)
	}
}

// The file with what was sent is found where it was kept.
func TestExplanationNamesTheRequestThatWasKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := filepath.Join(dir, "run", "chunk-000003-part-2.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(kept), 0o755))
	require.NoError(t, os.WriteFile(kept, []byte(`{"conversion_id":"c1"}`), 0o600))
	e := &report.Explanation{ConvID: "c1", RunID: "run", Chunk: 3}
	require.Equal(t, kept, payloadOf(dir, e))
	e.ConvID = "c2"
	require.Empty(t, payloadOf(dir, e))
	require.Empty(t, payloadOf("", e))
	// An id is as a request has it, and no name of a channel is taken for one.
	for _, id := range []string{`"><b>`, "\u202eabc", "a\x00b", "\\n", "ключ", strings.Repeat("c", 2000)} {
		session := ihcapi.Session{ConversionID: id, SessionID: "s", Channel: "c2"}
		require.NoError(t, os.WriteFile(kept, ihcapi.AppendRequest(nil, []ihcapi.Session{session}, nil), 0o600))
		e.ConvID = id
		require.Equal(t, kept, payloadOf(dir, e), "%q", id)
		e.ConvID = "c2"
		require.Empty(t, payloadOf(dir, e))
	}
}
