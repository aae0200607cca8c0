package human

import "strings"

// What a spreadsheet takes a cell for a formula by, and what ends a cell, in
// some country or other: OWASP's lists ("CSV Injection"). Some spreadsheets turn
// the full-width forms into the plain ones.
const (
	formula   = "=+-@＝＋－＠"
	blank     = "\t\r\n"
	separator = blank + ",;\""
)

// CSVCell keeps a spreadsheet from taking a name for a formula and
// running it, by putting an apostrophe before it; also within the name, behind
// what may begin another cell.
func CSVCell(s string) string {
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
