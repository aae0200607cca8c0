// Package report makes the CSV of the report.
package report

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"github.com/ihc-pipeline/ihc/store"
)

// Header is the first line of the CSV.
var Header = []string{"channel_name", "date", "cost", "ihc", "ihc_revenue", "CPO", "ROAS"}

// Write writes rows as CSV, in their order. CPO is cost ÷ ihc and ROAS is
// ihc_revenue ÷ cost; where the divisor is 0 the cell is empty. Numbers have
// as many digits as it takes to read back the same double.
func Write(w io.Writer, rows []store.Row) error {
	c := csv.NewWriter(w)
	if err := c.Write(Header); err != nil {
		return err
	}
	for _, r := range rows {
		err := c.Write([]string{cell(r.Channel), r.Date, number64(r.Cost), number64(r.IHC), number64(r.IHCRevenue), ratio(r.Cost, r.IHC), ratio(r.IHCRevenue, r.Cost)})
		if err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// What a spreadsheet takes a cell for a formula by, and what ends a cell, in
// some country or other: OWASP's lists ("CSV Injection"). Some spreadsheets turn
// the full-width forms into the plain ones.
const (
	formula   = "=+-@＝＋－＠"
	blank     = "\t\r\n"
	separator = blank + ",;\""
)

// cell keeps a spreadsheet from taking a channel's name for a formula and
// running it, by putting an apostrophe before it; also within the name, behind
// what may begin another cell.
func cell(s string) string {
	var b strings.Builder
	if s != "" && strings.ContainsRune(blank, rune(s[0])) {
		b.WriteByte('\'')
	}
	begins := true // what a spreadsheet may take for a cell
	rest := s
	for i, r := range s {
		if begins && strings.ContainsRune(formula, r) {
			b.WriteString(s[len(s)-len(rest) : i])
			b.WriteByte('\'')
			rest = s[i:]
		}
		begins = strings.ContainsRune(separator, r)
	}
	return b.String() + rest
}

func number64(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return number64(a / b)
}
