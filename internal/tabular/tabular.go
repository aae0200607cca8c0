// Package tabular reads tables as people have them: CSV, TSV, JSON lines and
// Parquet, plain, packed by gzip or zstd, or inside a zip. Every value is a text,
// none is the empty text, and memory does not grow with the rows.
package tabular

import (
	"fmt"
	"strings"
)

// Rows is one table, read from its beginning.
type Rows interface {
	// Columns returns the names of the columns, in order.
	Columns() []string
	// Next returns the values of the next row, which are good until the next call
	// (the texts themselves stay), in the order of Columns; [io.EOF] after the last. A
	// [*RowError] concerns one row alone: what follows can be read.
	Next() ([]string, error)
	// Line returns where the row is that Next gave: its line in a text file, its
	// number elsewhere, both from 1.
	Line() int64
	// Assumed says in a few words how the table is read, and what of it was found
	// out by looking.
	Assumed() string
	// Close gives back what is open.
	Close() error
}

// RowError says what is wrong with one row.
type RowError struct {
	Line   int64
	Column string // "" where it is the row as a whole
	Value  string
	Why    string // and what to do about it
}

func (e *RowError) Error() string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "line %d", e.Line)
	if e.Column != "" {
		_, _ = fmt.Fprintf(&b, ", column %q, value %q", e.Column, cut(e.Value))
	}
	return b.String() + ": " + e.Why
}

// cut keeps a value from filling the screen.
func cut(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

// Options are what is known of the files; what is not is found out.
type Options struct {
	Format    string // "csv", "tsv", "jsonl" or "parquet"
	Encoding  string // one of [Encodings]
	Delimiter string // of a CSV, one character, or "tab"
	NoHeader  bool   // a CSV begins with its first row; columns are then #1, #2, …
}
