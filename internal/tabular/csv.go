package tabular

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

// longestRow is how many bytes a row may have. A quote that is never closed
// would otherwise make one row of the rest of the file.
const longestRow = 8 << 20

var errLongRow = fmt.Errorf("a row of more than %d MiB: is a quote never closed?", longestRow>>20)

// csvRows reads separated values.
type csvRows struct {
	csv     *csv.Reader
	within  *allowance
	columns []string
	first   []string // a row that was read to learn how many columns there are
	line    int64
	passed  int64 // lines before the first
	assumed string
	close   func() error
}

func openCSV(r io.Reader, o Options, closing func() error) (Rows, error) {
	text, enc, err := decoded(r, o.Encoding)
	if err != nil {
		return nil, err
	}
	head, _ := text.Peek(seen)
	before, lines := preamble(string(head), &o)
	if _, err := text.Discard(before); err != nil {
		return nil, err
	}
	head, _ = text.Peek(seen)
	comma, err := delimiterOf(string(head), o)
	if err != nil {
		return nil, err
	}
	within := &allowance{r: text, left: longestRow}
	c := &csvRows{csv: csv.NewReader(bufio.NewReaderSize(within, 64<<10)), within: within, close: closing, passed: lines,
		assumed: fmt.Sprintf("%s, separated by %s", enc, nameOf(comma))}
	c.csv.Comma, c.csv.ReuseRecord, c.csv.FieldsPerRecord = comma, true, -1
	first, err := c.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errkind.Inputf("it is empty: not even a line with the names of the columns is there")
	} else if err != nil {
		return nil, errkind.Inputf("its first line cannot be read: %w", err)
	}
	if lines > 0 {
		c.assumed += ", after " + human.Say(lines, "line that is no part of the table", "lines that are no part of the table")
	}
	c.columns = make([]string, len(first))
	for i, name := range first {
		if c.columns[i] = strings.TrimSpace(name); o.NoHeader {
			c.columns[i] = "#" + strconv.Itoa(i+1)
		}
	}
	if o.NoHeader {
		c.first = append([]string(nil), first...)
	}
	return c, nil
}

func (c *csvRows) Columns() []string { return c.columns }
func (c *csvRows) Line() int64       { return c.line }
func (c *csvRows) Assumed() string   { return c.assumed }
func (c *csvRows) Close() error      { return c.close() }

func (c *csvRows) Next() ([]string, error) {
	if c.first != nil {
		row := c.first
		c.first, c.line = nil, c.passed+1
		return row, nil
	}
	c.within.left = longestRow
	row, err := c.csv.Read()
	var bad *csv.ParseError
	switch {
	case errors.Is(err, errLongRow):
		return nil, errkind.Inputf("after line %d: %w", c.line, err)
	case errors.As(err, &bad):
		c.line = c.passed + int64(bad.StartLine)
		return nil, &RowError{Line: c.line, Why: "the quotes of the row are wrong (" + bad.Err.Error() + "): a quote inside a value is written twice, or --delimiter is another"}
	case err != nil:
		return nil, err
	}
	line, _ := c.csv.FieldPos(0)
	c.line = c.passed + int64(line)
	for len(row) > len(c.columns) && row[len(row)-1] == "" {
		row = row[:len(row)-1]
	}
	if len(row) != len(c.columns) {
		return nil, &RowError{Line: c.line, Why: fmt.Sprintf("the row has %d values, but there are %d columns: a value that holds the delimiter is put in quotes", len(row), len(c.columns))}
	}
	for i, value := range row {
		if !utf8.ValidString(value) {
			return nil, &RowError{Line: c.line, Column: c.columns[i], Value: value, Why: "no valid UTF-8; name the encoding of the file, such as --encoding windows-1252"}
		}
	}
	return row, nil
}

// allowance stops a reading that goes on for longer than a row may be.
type allowance struct {
	r    io.Reader
	left int
}

func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errLongRow
	}
	n, err := a.r.Read(p)
	a.left -= n
	return n, err
}

// preamble returns how many bytes and lines come before the table: the block of
// lines with # that GA4 writes, which begins with an empty one or a rule, and the
// line by which spreadsheets are told the delimiter.
func preamble(head string, o *Options) (size int, lines int64) {
	line, _, whole := strings.Cut(head, "\n")
	line = strings.TrimRight(line, "\r")
	if sep, is := strings.CutPrefix(line, "sep="); is && whole && utf8.RuneCountInString(sep) == 1 {
		if o.Delimiter == "" {
			o.Delimiter = sep
		}
		return strings.IndexByte(head, '\n') + 1, 1
	}
	if !strings.HasPrefix(line, "#") || strings.Trim(line, "#- ") != "" {
		return 0, 0
	}
	for rest := head; ; lines++ {
		line, after, whole := strings.Cut(rest, "\n")
		if !whole || !strings.HasPrefix(line, "#") && strings.Trim(line, "\r ") != "" {
			return len(head) - len(rest), lines
		}
		rest = after
	}
}

// delimiterOf returns what separates values: as given, or that of the usual ones
// that is most often in the first line, outside of quotes.
func delimiterOf(head string, o Options) (rune, error) {
	switch {
	case o.Delimiter == "tab" || o.Delimiter == `\t` || o.Delimiter == "\t" || o.Delimiter == "" && o.Format == "tsv":
		return '\t', nil
	case o.Delimiter != "":
		r, size := utf8.DecodeRuneInString(o.Delimiter)
		if size != len(o.Delimiter) || r == '"' || r == '\r' || r == '\n' || r == utf8.RuneError {
			return 0, errkind.Inputf("--delimiter %q: give one character, such as ; or tab", o.Delimiter)
		}
		return r, nil
	}
	counts, quoted := map[rune]int{}, false
	for _, r := range head {
		if r == '"' {
			quoted = !quoted
		}
		if r == '\n' && !quoted {
			break
		}
		if !quoted {
			counts[r]++
		}
	}
	best := ','
	for _, r := range ";\t|" {
		if counts[r] > counts[best] {
			best = r
		}
	}
	return best, nil
}

func nameOf(delimiter rune) string {
	if delimiter == '\t' {
		return "tabs"
	}
	return strconv.Quote(string(delimiter))
}
