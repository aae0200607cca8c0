package sheet

import (
	"encoding/csv"
	"io"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Dialect is how a CSV is spelled. The zero value is for programs: commas
// between values, points in numbers.
type Dialect struct {
	// Comma stands between values: a comma, where it is 0, a semicolon or a tab.
	Comma rune
	// DecimalComma: numbers have a comma where others have a point.
	DecimalComma bool
	// Mark: a byte order mark comes first, by which spreadsheets know UTF-8.
	Mark bool
}

// ParseDialect reads a delimiter (",", ";", "tab", "\t" or the tab itself) and a
// decimal mark ("." or ","). An empty mark is a point, an empty delimiter a
// comma, or a semicolon where the comma is in the numbers. Anything else is an
// input error.
func ParseDialect(delimiter, decimal string, mark bool) (Dialect, error) {
	d := Dialect{Mark: mark}
	switch decimal {
	case "", ".":
	case ",":
		d.DecimalComma = true
	default:
		return d, errkind.Inputf("--decimal %.20q: use . or ,", decimal)
	}
	switch {
	case delimiter == ";" || delimiter == "" && d.DecimalComma:
		d.Comma = ';'
	case delimiter == "tab" || delimiter == `\t` || delimiter == "\t":
		d.Comma = '\t'
	case delimiter != "," && delimiter != "":
		return d, errkind.Inputf("--delimiter %.20q: use a comma, ; or tab", delimiter)
	case d.DecimalComma:
		return d, errkind.Inputf("--delimiter , and --decimal , are the same: use --delimiter \";\"")
	}
	return d, nil
}

// CSV writes the rows without the total, under the names of the columns, for
// programs. No cell begins what a spreadsheet takes for a formula.
func (s *Sheet) CSV(w io.Writer) error { return s.CSVAs(w, Dialect{}) }

// CSVAs is CSV in a dialect.
func (s *Sheet) CSVAs(w io.Writer, d Dialect) error {
	if d.Mark {
		if _, err := io.WriteString(w, "\ufeff"); err != nil {
			return err
		}
	}
	out := csv.NewWriter(w)
	if d.Comma != 0 {
		out.Comma = d.Comma
	}
	line := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		line[i] = Neutral(c.Name)
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for _, row := range s.Rows {
		for i, c := range s.Columns {
			line[i] = c.Kind.machine(row[i])
			switch {
			case c.Kind.IsText():
				line[i] = Neutral(line[i])
			case d.DecimalComma:
				line[i] = strings.Replace(line[i], ".", ",", 1)
			}
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
