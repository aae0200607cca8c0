package report

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/mattn/go-sqlite3"
)

// span is a range of a table's rows, both ends included; the zero value is all
// of them.
type span struct {
	from, to int64
	part     bool
}

func (s span) where(rowid string) string {
	if !s.part {
		return ""
	}
	return " WHERE " + rowid + " BETWEEN ? AND ?"
}

func (s span) args() []driver.Value {
	if !s.part {
		return nil
	}
	return []driver.Value{s.from, s.to}
}

// maxSpans bounds how many parts there are where row numbers lie far apart.
const maxSpans = 10_000

// spans divides a table into ranges of about so many rows. One that was made
// WITHOUT ROWID is read in one piece.
func spans(ctx context.Context, conn *sql.Conn, table string, rows int64) ([]span, error) {
	var numbered bool
	err := conn.QueryRowContext(ctx, `SELECT NOT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?`, table).Scan(&numbered)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", table, err)
	}
	if !numbered {
		return []span{{}}, nil
	}
	var first, last int64
	// Each alone, SQLite finds them without reading the table.
	err = conn.QueryRowContext(ctx, `SELECT coalesce((SELECT min(rowid) FROM `+table+`), 0), coalesce((SELECT max(rowid) FROM `+table+`), -1)`).Scan(&first, &last)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", table, err)
	}
	var all []span
	size := max(rows, (last-first)/maxSpans+1)
	for ; last-first >= size; first += size { // never past the greatest number there is
		all = append(all, span{first, first + size - 1, true})
	}
	if first <= last {
		all = append(all, span{first, last, true})
	}
	return all, nil
}

// raw calls do with the driver's own connection under c.
func raw(c *sql.Conn, do func(*sqlite3.SQLiteConn) error) error {
	return c.Raw(func(c any) error { return do(c.(*sqlite3.SQLiteConn)) })
}

// each calls do with every row of a query and stops at its first error. The
// row is used again.
func each(ctx context.Context, c *sqlite3.SQLiteConn, query string, args []driver.Value, columns int, do func([]driver.Value) error) (err error) {
	rows, err := c.Query(query, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, columns)
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := rows.Next(row); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := do(row); err != nil {
			return err
		}
	}
}

// lookup finds a row of two columns by one text.
type lookup struct {
	stmt driver.Stmt
	row  []driver.Value
}

func newLookup(c *sqlite3.SQLiteConn, query string) (*lookup, error) {
	stmt, err := c.Prepare(query)
	return &lookup{stmt: stmt, row: make([]driver.Value, 2)}, err
}

// get returns the row, which is used again, or nil if there is none.
func (l *lookup) get(id string) (row []driver.Value, err error) {
	rows, err := l.stmt.Query([]driver.Value{id}) //nolint:staticcheck // the driver's own interface, without the cost of the one above it
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	switch err := rows.Next(l.row); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return l.row, nil
}

func (l *lookup) close() error { return l.stmt.Close() }
