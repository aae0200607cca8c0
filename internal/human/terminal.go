package human

import (
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Printable returns s with whatever a terminal would obey, or not show, made
// visible as Go escapes it: control characters, and with them line ends and
// escape sequences, characters that turn the direction of writing, other
// invisible ones, and bytes that are no UTF-8. Joiners within a word or an
// emoji stay.
func Printable(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if hidden(r) {
			quoted := strconv.QuoteToASCII(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// PrintableLines is [Printable] of a text whose line ends are meant.
func PrintableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// hidden says whether a rune does not show as itself. U+FFFD counts as such: a
// byte that is no UTF-8 reads as one.
func hidden(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return r == utf8.RuneError || !unicode.IsGraphic(r) && r != nonJoiner && r != joiner
}

// Width returns how many cells of a terminal s takes, where letters of East
// Asian scripts and emoji take two. Characters that cannot be printed take
// none: see [Printable].
func Width(s string) int { return uniseg.StringWidth(s) }

// Cut returns s in at most the given number of cells. Of a longer one it keeps
// the beginning and the end, which is where names that are made alike differ,
// with … in between.
func Cut(s string, cells int) string {
	if Width(s) <= cells {
		return s
	}
	if cells <= 0 {
		return ""
	}
	kept := cells - 1 // without the …
	head, _ := split(s, kept-kept/2)
	end := kept - Width(head)
	// What is left over begins where all before it takes enough cells.
	_, tail := split(s, Width(s)-end)
	for Width(tail) > end {
		_, size := firstCluster(tail)
		tail = tail[size:]
	}
	return head + "…" + tail
}

// split divides s, between two characters, after at most so many cells.
func split(s string, cells int) (head, tail string) {
	at, taken := 0, 0
	for at < len(s) {
		width, size := firstCluster(s[at:])
		if taken += width; taken > cells {
			break
		}
		at += size
	}
	return s[:at], s[at:]
}

// firstCluster returns the cells and the bytes of the first character of s as
// people see one.
func firstCluster(s string) (width, size int) {
	cluster, _, width, _ := uniseg.FirstGraphemeClusterInString(s, -1)
	return width, len(cluster)
}

// Pad puts spaces behind s to fill the given number of cells.
func Pad(s string, cells int) string { return s + strings.Repeat(" ", max(cells-Width(s), 0)) }

// PadLeft puts spaces before s to fill the given number of cells.
func PadLeft(s string, cells int) string { return strings.Repeat(" ", max(cells-Width(s), 0)) + s }

// Table writes rows as columns that end below one another, three spaces
// before each. Rows may differ in length.
func Table(w io.Writer, rows [][]string) error { return TableIn(w, rows, 3) }

// TableIn is [Table] with so many spaces before each column.
func TableIn(w io.Writer, rows [][]string, gap int) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(strings.Repeat(" ", gap))
			b.WriteString(PadLeft(cell, widths[i]))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
