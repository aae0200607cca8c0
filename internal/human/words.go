package human

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Say chooses between two forms of a sentence by how many things it is about,
// and puts the number at its beginning: "1 session has no cost", "3,000
// sessions have no cost".
func Say[N integer](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Thousands(n) + " " + many
}

// Takes says what to write where a value of a kind is expected, "" for a kind
// that explains itself. Kinds are Go's types, or what pflag calls them.
func Takes(kind string) string {
	switch kind {
	case "uint", "uint64":
		return "use a whole number, 0 or more"
	case "uint32":
		return "use a whole number, 0 or more, at most 4294967295"
	case "int", "int64":
		return "use a whole number"
	case "float64":
		return "use a number"
	case "duration", "time.Duration":
		return "use a duration such as 90s, 5m or 1h30m"
	case "bool":
		return "use true or false"
	case "slog.Level":
		return "use debug, info, warn or error"
	default:
		return ""
	}
}

// Grouped puts commas into the whole part of a decimal number: 1,234.50.
func Grouped(number string) string {
	sign, digits := "", number
	if strings.HasPrefix(number, "-") {
		sign, digits = "-", number[1:]
	}
	whole, rest, point := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		rest = "." + rest
	}
	return sign + whole + rest
}

// Names returns names as a table shows them: printable, within so many cells,
// and no two different ones alike. One that begins or ends with a space is in
// quotes, and those that would look the same once they are cut, or for their
// spelling in Unicode, get a number.
func Names(names []string, cells int) []string {
	shown := make([]string, len(names))
	seen := map[string]bool{}
	for i, name := range names {
		text := Printable(name)
		if strings.TrimSpace(text) != text || text == "" {
			text = `"` + text + `"`
		}
		shown[i] = Cut(text, cells)
		for n := 2; seen[norm.NFC.String(shown[i])]; n++ {
			mark := fmt.Sprintf("~%d", n)
			shown[i] = Cut(text, cells-len(mark)) + mark
		}
		seen[norm.NFC.String(shown[i])] = true
	}
	return shown
}

// Named is [Names] of names that come more than once: it returns how each is shown,
// in whatever order they are asked for.
func Named(names []string, cells int) func(name string) string {
	all := slices.Compact(slices.Sorted(slices.Values(names)))
	shown := map[string]string{}
	for i, text := range Names(all, cells) {
		shown[all[i]] = text
	}
	return func(name string) string { return shown[name] }
}

// Wrap breaks text at spaces into lines of so many cells, 0 for any number, the
// second and later ones indented by so many spaces. A word that is longer than
// a line stays whole.
func Wrap(text string, cells, indent int) string {
	if cells <= 0 || Width(text) <= cells {
		return text
	}
	var b strings.Builder
	at := 0
	for i, word := range strings.Split(text, " ") {
		width := Width(word)
		switch {
		case i == 0:
		case at+1+width > cells && at > indent:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += width
	}
	return b.String()
}

// Columns are the cells of a table by column, its title first, and which of
// them to leave out where there is no room, those named first first.
type Columns struct {
	Rows [][]string
	Drop []int
}

// leastLast is how many cells the last column is cut to before others are
// dropped.
const leastLast = 12

// List writes rows in columns that begin below one another, two spaces between
// them, in lines of at most so many cells, 0 for any number: it cuts the last
// column, and leaves columns out.
func (c Columns) List(w io.Writer, cells int) error {
	dropped := map[int]bool{}
	widths := c.widths()
	last := len(widths) - 1
	room := func() int { // for the last column
		left := cells
		for i, width := range widths[:last] {
			if !dropped[i] {
				left -= width + 2
			}
		}
		return left
	}
	if cells > 0 {
		for _, i := range c.Drop {
			if room() >= min(leastLast, widths[last]) {
				break
			}
			dropped[i] = true
		}
	}
	var b strings.Builder
	for _, row := range c.Rows {
		line := ""
		for i, cell := range row {
			switch {
			case dropped[i]:
			case i == last && cells > 0:
				line += Cut(cell, max(room(), 1))
			case i == last:
				line += cell
			default:
				line += Pad(cell, widths[i]) + "  "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Columns) widths() []int {
	var widths []int
	for _, row := range c.Rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	return widths
}
