// Package sheet holds a table of exact numbers and writes it as text, CSV, JSON
// or Markdown. Whatever shows numbers shows a sheet, so that a page, a file and
// the command line agree to the digit.
package sheet

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/human"
)

// Kind is how the cells of a column are written for people. Machines get exact
// decimals, whatever the kind.
type Kind int

// The kinds of columns.
const (
	Text    Kind = iota
	Count        // 1,940
	Amount       // 104,301.61: money, conversions, ratios
	Percent      // 23.4 %, of a share from 0 to 1
	Date         // a text, YYYY-MM-DD
)

// IsText says whether the cells of a column have a text, and no number.
func (k Kind) IsText() bool { return k == Text || k == Date }

// Column is a column of a sheet.
type Column struct {
	// Name is for machines, in snake_case, and Title for people.
	Name, Title string
	Kind        Kind
}

// Cell is a text or a number. One that is neither is empty: it has no number,
// and Why says the reason in a few words.
type Cell struct {
	Text   string
	Number decimal.Decimal
	Is     bool // Number is set
	Why    string
}

// T returns a cell of text.
func T(text string) Cell { return Cell{Text: text} }

// N returns a cell with a number.
func N(n decimal.Decimal) Cell { return Cell{Number: n, Is: true} }

// I returns a cell with a whole number.
func I(n int64) Cell { return N(decimal.NewFromInt(n)) }

// None returns an empty cell with its reason.
func None(why string) Cell { return Cell{Why: why} }

// Ratio returns a ÷ b to 16 decimals, or an empty cell where b is 0.
func Ratio(a, b decimal.Decimal, why string) Cell {
	if b.IsZero() {
		return None(why)
	}
	return N(a.Div(b))
}

// Sheet is a table.
type Sheet struct {
	// Name is for machines, as that of a file, and Title for people.
	Name, Title string
	Columns     []Column
	Rows        [][]Cell
	// Total is a last row of sums and of ratios of sums; nil for none.
	Total []Cell
	// Notes are what a reader should know of the numbers, one line each.
	Notes []string
}

// dash is an empty cell for people.
const dash = "–"

// People writes a cell for people.
func (k Kind) People(c Cell) string {
	switch {
	case k.IsText():
		return c.Text
	case !c.Is:
		return dash
	case k == Count:
		return human.Decimal(c.Number, 0)
	case k == Percent:
		return human.Decimal(c.Number.Shift(2), 1) + " %"
	default:
		return human.Decimal(c.Number, 2)
	}
}

// machine writes a cell for programs: exactly, empty where there is no number.
func (k Kind) machine(c Cell) string {
	switch {
	case k.IsText():
		return c.Text
	case !c.Is:
		return ""
	default:
		return c.Number.String()
	}
}

// MarshalJSON writes an object: name, title, the rows as objects under the
// names of the columns, the total and the notes. An empty cell is null.
func (s *Sheet) MarshalJSON() ([]byte, error) {
	rows := make([]object, len(s.Rows))
	for i, row := range s.Rows {
		rows[i] = object{s.Columns, row}
	}
	all := struct {
		Name  string   `json:"name"`
		Title string   `json:"title"`
		Rows  []object `json:"rows"`
		Total *object  `json:"total,omitempty"`
		Notes []string `json:"notes,omitempty"`
	}{s.Name, s.Title, rows, nil, s.Notes}
	if s.Total != nil {
		all.Total = &object{s.Columns, s.Total}
	}
	return json.Marshal(all)
}

// object is a row in the order of its columns.
type object struct {
	columns []Column
	cells   []Cell
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	for i, c := range o.columns {
		name, err := json.Marshal(c.Name)
		if err != nil {
			return nil, err
		}
		value := []byte("null")
		switch cell := o.cells[i]; {
		case c.Kind.IsText():
			if value, err = json.Marshal(cell.Text); err != nil {
				return nil, err
			}
		case cell.Is:
			value = []byte(cell.Number.String())
		}
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// lines returns all rows as people read them, the titles first.
func (s *Sheet) lines(text func(string) string) [][]string {
	titles := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		titles[i] = text(c.Title)
	}
	all := [][]string{titles}
	rows := s.Rows
	if s.Total != nil {
		rows = append(rows[:len(rows):len(rows)], s.Total)
	}
	for _, row := range rows {
		line := make([]string, len(row))
		for i, c := range s.Columns {
			line[i] = c.Kind.People(row[i])
			if c.Kind.IsText() {
				line[i] = text(line[i])
			}
		}
		all = append(all, line)
	}
	return all
}

var markdown = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`)

// Markdown writes the sheet as a section with a table.
func (s *Sheet) Markdown(w io.Writer) error {
	var b strings.Builder
	text := func(text string) string { return markdown.Replace(human.Printable(text)) }
	fmt.Fprintf(&b, "## %s\n\n", text(s.Title))
	for i, line := range s.lines(text) {
		b.WriteString("| " + strings.Join(line, " | ") + " |\n")
		if i > 0 {
			continue
		}
		for _, c := range s.Columns {
			b.WriteString(map[bool]string{true: "|---", false: "|---:"}[c.Kind.IsText()])
		}
		b.WriteString("|\n")
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "\n%s\n", text(n))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
