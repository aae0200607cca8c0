package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// What a spreadsheet is given is what is printed, to the digit.
func TestReportForSpreadsheetsIsTheReport(t *testing.T) {
	t.Parallel()
	db, _ := attributedShop(t)
	file := filepath.Join(t.TempDir(), "report.xlsx")
	run := func(args ...string) string {
		text, err := command(t, newReportCmd(), append([]string{"--db", db}, args...)...)
		require.NoError(t, err)
		return text
	}
	require.Empty(t, run("--format", "xlsx", "--phases", "--out", file))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(data), run("--format", "xlsx", "--phases"), "the same bytes each time")
	book, err := excelize.OpenReader(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, []string{"Channel", "Phases", "Pairs", "Day", "Proof", "Unattributed", "About"}, book.GetSheetList())

	for _, by := range []string{"channel", "day"} {
		shown, err := csv.NewReader(strings.NewReader(run("--by", by, "--format", "csv"))).ReadAll()
		require.NoError(t, err)
		in, err := book.GetRows(strings.ToUpper(by[:1])+by[1:], excelize.Options{RawCellValue: true})
		require.NoError(t, err)
		require.Len(t, in, len(shown)+1, "and the total")
		for i := 1; i < len(shown); i++ {
			for column, cell := range shown[i] {
				if column > 0 && column < len(in[i]) && cell != "" {
					want, got := decimal.RequireFromString(cell).InexactFloat64(), decimal.RequireFromString(in[i][column]).InexactFloat64()
					require.Equal(t, want, got)
				}
			}
		}
	}
	proof, err := book.GetRows("Proof", excelize.Options{RawCellValue: true})
	require.NoError(t, err)
	require.Len(t, proof, 4)
	for _, line := range proof[1:] {
		require.Equal(t, "yes", line[5])
	}
	about, err := book.GetRows("About")
	require.NoError(t, err)
	require.Contains(t, about, []string{"Time zone", "UTC"})
}

func TestReportAsParquetIsTheCSV(t *testing.T) {
	t.Parallel()
	db, _ := attributedShop(t)
	shown, err := command(t, newReportCmd(), "--db", db, "--by", "week", "--format", "csv")
	require.NoError(t, err)
	data, err := command(t, newReportCmd(), "--db", db, "--by", "week", "--format", "parquet")
	require.NoError(t, err)
	f, err := parquet.OpenFile(strings.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	lines, err := csv.NewReader(strings.NewReader(shown)).ReadAll()
	require.NoError(t, err)
	var names []string
	for _, field := range f.Schema().Fields() {
		names = append(names, field.Name())
	}
	require.Equal(t, lines[0], names)
	require.EqualValues(t, len(lines)-1, f.NumRows())
	in := parquet.NewReader(f)
	row := make([]parquet.Row, 1)
	for _, line := range lines[1:] {
		n, err := in.ReadRows(row)
		require.Equal(t, 1, n)
		if !errors.Is(err, io.EOF) {
			require.NoError(t, err)
		}
		require.Equal(t, line[0], civil.Date(row[0][0].Int32()).String())
	}
}

// Days of another zone have other sums, and all of them together the same.
func TestReportInAZoneSumsToThatInUTC(t *testing.T) {
	t.Parallel()
	db, _ := attributedShop(t)
	type table struct {
		Title string
		Rows  []map[string]any
		Total struct{ Cost, IHC, IHCRevenue json.Number }
		Notes []string
	}
	type document struct {
		Timezone  string
		StartDate string `json:"start_date"`
		Tables    []table
	}
	run := func(args ...string) document {
		text, err := command(t, newReportCmd(), append([]string{"--db", db, "--by", "day", "--format", "json"}, args...)...)
		require.NoError(t, err)
		var d document
		require.NoError(t, json.Unmarshal([]byte(text), &d))
		return d
	}
	utc := run()
	require.Equal(t, "UTC", utc.Timezone)
	for _, zone := range []string{"Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati"} {
		local := run("--timezone", zone)
		require.Equal(t, zone, local.Timezone)
		require.Equal(t, utc.Tables[0].Total, local.Tables[0].Total)
		require.NotEqual(t, utc.Tables[0].Rows, local.Tables[0].Rows)
		require.Contains(t, local.Tables[0].Title, zone)
		require.Contains(t, local.Tables[0].Notes[0], zone)
	}
	month := run("--timezone", "America/Los_Angeles", "--start-date", "2023-07", "--end-date", "2023-07")
	require.Equal(t, []any{"2023-07-01", 31}, []any{month.StartDate, len(month.Tables[0].Rows)}, "of local days")

	page, err := command(t, newReportCmd(), "--db", db, "--timezone", "Europe/Berlin", "--format", "html")
	require.NoError(t, err)
	require.Contains(t, page, "2023-09-01, Europe/Berlin.")
	require.Contains(t, page, "Nothing is lost")
	require.NotContains(t, page, "UTC.</p>")
	_, err = command(t, newReportCmd(), "--db", db, "--timezone", "Middle/Earth")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, `--timezone "Middle/Earth" is not known`)
}

func TestCSVOfOtherCountries(t *testing.T) {
	t.Parallel()
	db, _ := attributedShop(t)
	german, err := command(t, newReportCmd(), "--db", db, "--format", "csv", "--decimal", ",", "--bom")
	require.NoError(t, err)
	plain, err := command(t, newReportCmd(), "--db", db, "--format", "csv")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(german, "\ufeffchannel;cost;"), german[:20])
	require.Equal(t, plain, strings.NewReplacer(",", ".", ";", ",").Replace(strings.TrimPrefix(german, "\ufeff")))
	models, err := command(t, newModelsCmd(), "--db", db, "--models", "last", "--csv", "--delimiter", "tab")
	require.NoError(t, err)
	require.Contains(t, strings.SplitN(models, "\n", 2)[0], "\t")
	for _, args := range [][]string{{"--format", "csv", "--decimal", ",", "--delimiter", ","}, {"--format", "csv", "--delimiter", "|"}, {"--bom"}, {"--format", "parquet", "--phases"}, {"--decimal", ",", "--format", "json"}} {
		_, err := command(t, newReportCmd(), append([]string{"--db", db}, args...)...)
		require.Equal(t, errkind.Input, errkind.KindOf(err), args)
	}
}

// What a configuration says of CSV files is for them alone.
func TestSpellingInAConfigurationIsForCSVAlone(t *testing.T) {
	t.Parallel()
	db, _ := attributedShop(t)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(db), configName), []byte("decimal: \",\"\ntimezone: Europe/Berlin\n"), 0o600))
	run := func(format string) string {
		cmd := newReportCmd()
		cmd.SetContext(t.Context())
		var out bytes.Buffer
		cmd.SetOut(&out)
		require.NoError(t, cmd.ParseFlags([]string{"--db", db, "--format", format}))
		require.NoError(t, configure(cmd))
		require.NoError(t, cmd.RunE(cmd, nil))
		return out.String()
	}
	require.Contains(t, run("json"), `"timezone": "Europe/Berlin"`)
	require.True(t, strings.HasPrefix(run("csv"), "channel;"))
}
