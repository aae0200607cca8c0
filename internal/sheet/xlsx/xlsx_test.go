package xlsx

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/sheet"
)

func opened(t require.TestingT, sheets ...*sheet.Sheet) *excelize.File {
	var b, again bytes.Buffer
	about := [][2]string{{"Time zone", "UTC"}}
	require.NoError(t, Write(&b, about, sheets...))
	require.NoError(t, Write(&again, about, sheets...))
	require.Equal(t, b.Bytes(), again.Bytes(), "the same sheets give the same bytes")
	f, err := excelize.OpenReader(&b)
	require.NoError(t, err)
	return f
}

func sample() *sheet.Sheet {
	d := decimal.RequireFromString
	return &sheet.Sheet{Name: "channel", Title: "Channels, sessions of May", Notes: []string{"=a note"},
		Columns: []sheet.Column{{Name: "channel", Title: "channel"}, {Name: "day", Title: "day", Kind: sheet.Date}, {Name: "n", Title: "orders", Kind: sheet.Count}, {Name: "cost", Title: "cost", Kind: sheet.Amount}, {Name: "share", Title: "share", Kind: sheet.Percent}},
		Rows: [][]sheet.Cell{{sheet.T("=cmd|' /C calc'!A0"), sheet.T("2023-05-01"), sheet.I(1940), sheet.N(d("104301.6149")), sheet.N(d("0.23449"))},
			{sheet.T("-1"), sheet.T("1899-01-01"), sheet.I(0), sheet.None("nothing was spent"), sheet.N(d("-0.00001"))}},
		Total: []sheet.Cell{sheet.T("total"), sheet.T(""), sheet.I(1940), sheet.N(d("104301.6149")), sheet.None("")}}
}

func TestWorkbookHasNumbersDatesAndText(t *testing.T) {
	t.Parallel()
	f := opened(t, sample())
	require.Equal(t, []string{"Channel", "About"}, f.GetSheetList())
	raw, err := f.GetRows("Channel", excelize.Options{RawCellValue: true})
	require.NoError(t, err)
	require.Equal(t, [][]string{{"Channel", "Day", "Orders", "Cost", "Share"}, {"=cmd|' /C calc'!A0", "45047", "1940", "104301.6149", "0.23449"},
		{"-1", "1899-01-01", "0", "", "-0.00001"}, {"total", "", "1940", "104301.6149"}}, raw)
	shown, err := f.GetRows("Channel")
	require.NoError(t, err)
	require.Equal(t, []string{"=cmd|' /C calc'!A0", "2023-05-01", "1,940", "104,301.61", "23.4%"}, shown[1])
	for cell, want := range map[string]excelize.CellType{"A2": excelize.CellTypeInlineString, "A3": excelize.CellTypeInlineString, "B2": excelize.CellTypeUnset, "C2": excelize.CellTypeUnset, "D2": excelize.CellTypeUnset} {
		kind, err := f.GetCellType("Channel", cell)
		require.NoError(t, err)
		require.Equal(t, want, kind, cell)
		formula, err := f.GetCellFormula("Channel", cell)
		require.NoError(t, err)
		require.Empty(t, formula, cell)
	}
	panes, err := f.GetPanes("Channel")
	require.NoError(t, err)
	require.True(t, panes.Freeze && panes.YSplit == 1, "the header stays in sight")
	about, err := f.GetRows("About")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"Of", "What"}, {"Time zone", "UTC"}, {"Channel", "Channels, sessions of May"}, {"Channel", "=a note"}}, about)
}

// Whatever a sheet holds, a spreadsheet reads the same numbers, and texts as
// they were, but for characters that have no place in such a file.
func TestWorkbookReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &sheet.Sheet{Name: rapid.String().Draw(t, "name"), Columns: []sheet.Column{{Title: "a"}, {Title: "b", Kind: sheet.Amount}}}
		var want []string
		for range rapid.IntRange(0, 20).Draw(t, "rows") {
			text := rapid.StringMatching(`[=+@\-'"<&a-zäß😀 ]{1,12}`).Draw(t, "text")
			n := decimal.New(rapid.Int64Range(-1e14, 1e14).Draw(t, "number"), -6)
			want = append(want, fmt.Sprint(text, "|", n))
			s.Rows = append(s.Rows, []sheet.Cell{sheet.T(text), sheet.N(n)})
		}
		var b bytes.Buffer
		require.NoError(t, Write(&b, nil, s))
		f, err := excelize.OpenReader(&b)
		require.NoError(t, err)
		rows, err := f.GetRows(f.GetSheetList()[0], excelize.Options{RawCellValue: true})
		require.NoError(t, err)
		var got []string
		for _, row := range rows[1:] {
			got = append(got, row[0]+"|"+decimal.RequireFromString(row[1]).String())
		}
		require.Equal(t, want, got)
	})
}

func TestHostileTextStaysText(t *testing.T) {
	t.Parallel()
	names := []string{"\x00\x1b[2J\xff", "</t></is></c>", strings.Repeat("ü", 40_000), "_x000D_", "\u202eevil", "  "}
	s := &sheet.Sheet{Name: "[:*?/\\']" + strings.Repeat("x", 60), Columns: []sheet.Column{{Title: "a"}}}
	for _, n := range names {
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(n)})
	}
	f := opened(t, s, s, &sheet.Sheet{Name: "history"}, &sheet.Sheet{Name: "ABOUT"})
	list := f.GetSheetList()
	require.Len(t, list, 5)
	for _, name := range list {
		require.LessOrEqual(t, len(name), 31)
	}
	rows, err := f.GetRows(list[0])
	require.NoError(t, err)
	require.Len(t, rows, 1+len(names))
	require.Equal(t, "</t></is></c>", rows[2][0])
	require.Equal(t, "_x000D_", rows[4][0])
	require.Equal(t, "  ", rows[6][0])
}

func TestMoreRowsThanASpreadsheetTakesAreRefused(t *testing.T) {
	t.Parallel()
	err := Write(&bytes.Buffer{}, nil, &sheet.Sheet{Name: "day", Rows: make([][]sheet.Cell, excelize.TotalRows)})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, "--format csv")
}
