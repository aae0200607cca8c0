package source

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
)

// Span is a range of a table's rows, for readers that share the work; the zero
// value is all of them.
type Span struct {
	from, to int64 // row numbers, both included
	part     bool
}

// SpanRows is how many rows a span has about: little to read for one, and
// enough not to matter what it takes to begin.
const SpanRows = 20_000

// Where returns the condition that selects the span's rows, to be put after
// the FROM clause, with the qualified name of the row number, as in "s.rowid";
// its parameters are Args.
func (s Span) Where(rowid string) string {
	if !s.part {
		return ""
	}
	return " WHERE " + rowid + " BETWEEN ? AND ?"
}

// Args returns the parameters of Where.
func (s Span) Args() []driver.Value {
	if !s.part {
		return nil
	}
	return []driver.Value{s.from, s.to}
}

// maxSpans bounds how many there are where row numbers lie far apart.
const maxSpans = 10_000

// Spans divides a table into ranges of about so many rows, in their order.
// What has no row numbers of its own is one range: a view, and a table that
// was made WITHOUT ROWID or with a column of that name.
func Spans(ctx context.Context, conn *sql.Conn, table string, rows int64) ([]Span, error) {
	var numbered bool
	err := conn.QueryRowContext(ctx, `SELECT type = 'table' AND NOT wr AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(t.name) WHERE lower(name) = 'rowid')
		FROM pragma_table_list t WHERE schema = 'main' AND lower(name) = ?`, table).Scan(&numbered)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", table, err)
	}
	if !numbered {
		return []Span{{}}, nil
	}
	var first, last int64
	// Each alone, SQLite finds them without reading the table.
	err = conn.QueryRowContext(ctx, `SELECT coalesce((SELECT min(rowid) FROM `+table+`), 0), coalesce((SELECT max(rowid) FROM `+table+`), -1)`).Scan(&first, &last)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", table, err)
	}
	var all []Span
	size := max(rows, (last-first)/maxSpans+1)
	for ; last-first >= size; first += size { // never past the greatest number there is
		all = append(all, Span{first, first + size - 1, true})
	}
	if first <= last {
		all = append(all, Span{first, last, true})
	}
	return all, nil
}
