package sheet

import (
	"io"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/human"
)

const (
	maxName   = 40 // cells of a terminal that a name may take
	leastName = 12 // cells that it takes at least, where it has so many
	widestGap = 3  // cells before a column
)

// Text writes the sheet for people, with the first column at the left and numbers
// at the right, as wide as it is.
func (s *Sheet) Text(w io.Writer) error { return s.TextIn(w, 0) }

// TextIn is [Sheet.Text] in lines of so many cells of a terminal, 0 for any number.
// Where a line is too long, titles are broken in two, columns move together, and
// names are cut. Where that is not enough the last columns are left out, and a
// line below says which.
func (s *Sheet) TextIn(w io.Writer, cells int) error {
	lines := s.lines(human.Printable)
	for column, c := range s.Columns {
		if c.Kind == Text {
			name(lines[1:], column, maxName)
		}
	}
	gap, out := widestGap, []string(nil)
	if cells > 0 && wide(lines, gap) > cells {
		lines, gap, out = s.narrowed(lines, cells)
	}
	var b strings.Builder
	b.WriteString(human.Wrap(human.Printable(s.Title), cells, 0) + "\n\n")
	if err := human.TableIn(&b, lines, gap); err != nil {
		return err
	}
	notes := s.Notes
	if len(out) > 0 {
		notes = append([]string{"left out, as the window is narrow: " + strings.Join(out, ", ") + "; a wider one, or a file, has all"}, notes...)
	}
	for _, n := range notes {
		b.WriteString("\n" + human.Wrap(human.Printable(n), cells, 0) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// narrowed returns the lines in so many cells, with the cells between columns and
// the titles of those that are left out.
func (s *Sheet) narrowed(lines [][]string, cells int) (narrow [][]string, gap int, out []string) {
	narrow, titles := broken(lines)
	for gap = widestGap; gap > 1 && wide(narrow, gap) > cells; {
		gap--
	}
	for n := len(s.Columns); n > 2 && s.least(narrow, gap) > cells; n-- {
		out = append([]string{lines[0][n-1]}, out...)
		for i, line := range narrow {
			narrow[i] = line[:n-1]
		}
	}
	for column := range narrow[0] {
		if over := wide(narrow, gap) - cells; s.Columns[column].Kind == Text && over > 0 {
			name(narrow[titles:], column, max(widths(narrow)[column]-over, leastName))
		}
	}
	if titles == 2 && strings.Join(narrow[0], "") == "" {
		narrow = narrow[1:]
	}
	return narrow, gap, out
}

// broken returns the lines with titles in two, as short as can be, and in how
// many lines they are.
func broken(lines [][]string) (narrow [][]string, titles int) {
	above, below := make([]string, len(lines[0])), make([]string, len(lines[0]))
	for i, title := range lines[0] {
		below[i] = title
		for at, c := range title {
			if first, second := title[:at], title[at:]; c == ' ' && max(human.Width(first), human.Width(second)-1) < max(human.Width(above[i]), human.Width(below[i])) {
				above[i], below[i] = first, second[1:]
			}
		}
	}
	if strings.Join(above, "") == "" {
		return lines, 1
	}
	return append([][]string{above, below}, lines[1:]...), 2
}

// least returns how many cells the lines take once names are cut.
func (s *Sheet) least(lines [][]string, gap int) (cells int) {
	for column, width := range widths(lines) {
		if s.Columns[column].Kind == Text {
			width = min(width, leastName)
		}
		cells += gap + width
	}
	return cells
}

// name writes the names of a column as [human.Names] does, in so many cells.
// Different ones stay different.
func name(lines [][]string, column, cells int) {
	var all []string
	for _, line := range lines {
		if line[column] != "" {
			all = append(all, line[column])
		}
	}
	shown := human.Named(all, cells)
	for _, line := range lines {
		if line[column] != "" {
			line[column] = shown(line[column])
		}
	}
}

// widths returns how many cells each column takes.
func widths(lines [][]string) []int {
	var all []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(all) {
				all = append(all, 0)
			}
			all[i] = max(all[i], human.Width(cell))
		}
	}
	return all
}

// wide returns how many cells the lines take with so many before each column.
func wide(lines [][]string, gap int) (cells int) {
	for _, width := range widths(lines) {
		cells += gap + width
	}
	return cells
}
