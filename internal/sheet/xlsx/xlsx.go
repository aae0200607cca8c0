// Package xlsx writes sheets as a workbook for spreadsheets.
package xlsx

import (
	"archive/zip"
	"bytes"
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/sheet"
)

// Write writes a workbook with a page for each sheet, called by the sheet's
// name: a header that stays in sight, the rows, and the total. Numbers are
// numbers, as doubles, dates are dates, and text is text, whatever it begins
// with. Empty cells are empty. The last page, "About", has what is said of the
// whole, and the notes of the sheets.
//
// The same sheets give the same bytes. A sheet with more rows than spreadsheets
// take is an input error.
func Write(w io.Writer, about [][2]string, sheets ...*sheet.Sheet) error {
	f := excelize.NewFile()
	defer f.Close() //nolint:errcheck // only its own temporary files
	b := book{File: f, names: map[string]bool{}}
	if err := b.addStyles(); err != nil {
		return err
	}
	for _, s := range sheets {
		if err := b.addSheet(s); err != nil {
			return err
		}
	}
	if err := b.addSheet(aboutSheet(about, sheets)); err != nil {
		return err
	}
	f.SetActiveSheet(0)
	zipped, err := f.WriteToBuffer()
	if err != nil {
		return err
	}
	return sorted(w, zipped.Bytes())
}

func aboutSheet(about [][2]string, sheets []*sheet.Sheet) *sheet.Sheet {
	s := &sheet.Sheet{Name: "about", Columns: []sheet.Column{{Title: "of"}, {Title: "what"}}}
	for _, line := range about {
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(line[0]), sheet.T(line[1])})
	}
	for _, of := range sheets {
		for _, text := range append([]string{of.Title}, of.Notes...) {
			s.Rows = append(s.Rows, []sheet.Cell{sheet.T(upper(of.Name)), sheet.T(text)})
		}
	}
	return s
}

// sorted writes the files of a zip in the order of their names: the library
// writes them in any.
func sorted(w io.Writer, zipped []byte) error {
	in, err := zip.NewReader(bytes.NewReader(zipped), int64(len(zipped)))
	if err != nil {
		return err
	}
	slices.SortFunc(in.File, func(a, b *zip.File) int { return cmp.Compare(a.Name, b.Name) })
	out := zip.NewWriter(w)
	for _, file := range in.File {
		if err := out.Copy(file); err != nil {
			return err
		}
	}
	return out.Close()
}

// book is a workbook as it grows.
type book struct {
	*excelize.File
	names       map[string]bool // in lower case
	head        int
	style, bold map[sheet.Kind]int
}

// formats are how spreadsheets show the kinds. Text is said to be text, so that
// a cell which begins like a formula stays one also when somebody edits it.
var formats = map[sheet.Kind]string{sheet.Text: "@", sheet.Date: "yyyy-mm-dd", sheet.Count: "#,##0", sheet.Amount: "#,##0.00", sheet.Percent: "0.0%"}

func (b *book) addStyles() (err error) {
	if b.head, err = b.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}, NumFmt: 49, Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"}}); err != nil {
		return err
	}
	b.style, b.bold = map[sheet.Kind]int{}, map[sheet.Kind]int{}
	for kind := sheet.Text; kind <= sheet.Date; kind++ { // in an order, since styles have numbers
		format := formats[kind]
		if b.style[kind], err = b.NewStyle(&excelize.Style{CustomNumFmt: &format}); err != nil {
			return err
		}
		if b.bold[kind], err = b.NewStyle(&excelize.Style{CustomNumFmt: &format, Font: &excelize.Font{Bold: true}}); err != nil {
			return err
		}
	}
	return nil
}

// addSheet writes a sheet row by row.
func (b *book) addSheet(s *sheet.Sheet) error {
	if n := len(s.Rows) + 2; n > excelize.TotalRows {
		return errkind.Inputf("%d rows are more than a spreadsheet takes: use --format csv or parquet, or fewer dates", len(s.Rows))
	}
	name := b.name(s.Name)
	if len(b.names) == 1 {
		if err := b.SetSheetName("Sheet1", name); err != nil {
			return err
		}
	} else if _, err := b.NewSheet(name); err != nil {
		return err
	}
	out, err := b.NewStreamWriter(name)
	if err != nil {
		return err
	}
	if err := out.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	head := make([]any, len(s.Columns))
	for i, c := range s.Columns {
		head[i] = excelize.Cell{StyleID: b.head, Value: upper(c.Title)}
		if err := out.SetColWidth(i+1, i+1, width(s, i)); err != nil {
			return err
		}
	}
	if err := out.SetRow("A1", head); err != nil {
		return err
	}
	put := func(n int, row []sheet.Cell, styles map[sheet.Kind]int) error {
		at, err := excelize.CoordinatesToCellName(1, n)
		if err != nil {
			return err
		}
		line := make([]any, len(row))
		for i, c := range s.Columns {
			line[i] = excelize.Cell{StyleID: styles[c.Kind], Value: value(c.Kind, row[i])}
		}
		return out.SetRow(at, line)
	}
	for i, row := range s.Rows {
		if err := put(i+2, row, b.style); err != nil {
			return err
		}
	}
	if s.Total != nil {
		if err := put(len(s.Rows)+2, s.Total, b.bold); err != nil {
			return err
		}
	}
	return out.Flush()
}

// firstDate is the first that all spreadsheets count alike, and dayZero the one
// that they count from.
const (
	firstDate = "1900-03-01"
	dayZero   = "1899-12-30"
)

// value is what a cell holds.
func value(kind sheet.Kind, c sheet.Cell) any {
	if kind == sheet.Date && c.Text >= firstDate {
		day, ok := civil.ParseDate(c.Text)
		zero, _ := civil.ParseDate(dayZero)
		if ok {
			return int64(day - zero)
		}
	}
	switch {
	case kind.IsText() && c.Text != "":
		return c.Text
	case kind.IsText() || !c.Is:
		return nil
	default:
		return c.Number.InexactFloat64()
	}
}

// width is how wide a column is, in characters, by its first rows.
func width(s *sheet.Sheet, column int) float64 {
	longest := utf8.RuneCountInString(s.Columns[column].Title)
	rows := s.Rows[:min(len(s.Rows), 1000)]
	if s.Total != nil {
		rows = append(rows[:len(rows):len(rows)], s.Total)
	}
	for _, row := range rows {
		longest = max(longest, utf8.RuneCountInString(s.Columns[column].Kind.People(row[column])))
	}
	return float64(min(max(longest, 8), 60) + 2)
}

// longestName is how long the name of a page may be.
const longestName = 31

// name makes a name for a page that spreadsheets take, and that no other has.
func (b *book) name(of string) string {
	clean := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`[]:*?/\'`, r) || r < ' ' || r == utf8.RuneError || r > 0xffff {
			return '_'
		}
		return r
	}, upper(of))
	if strings.EqualFold(clean, "history") || clean == "" { // which spreadsheets keep for themselves
		clean += "_"
	}
	runes := []rune(clean)
	clean = string(runes[:min(len(runes), longestName)])
	for n := 2; b.names[strings.ToLower(clean)]; n++ {
		suffix := "_" + strconv.Itoa(n)
		clean = string(runes[:min(len(runes), longestName-len(suffix))]) + suffix
	}
	b.names[strings.ToLower(clean)] = true
	return clean
}

func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(string(r)) + s[n:]
}
