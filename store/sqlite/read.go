package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/mattn/go-sqlite3"
)

// raw calls do with the driver's own connection under c.
func raw(c *sql.Conn, do func(*sqlite3.SQLiteConn) error) error {
	return c.Raw(func(c any) error { return do(c.(*sqlite3.SQLiteConn)) })
}

// ask begins a query that ends with ctx, also one that has no row to give yet
// and would go on for ever.
func ask(ctx context.Context, c *sqlite3.SQLiteConn, query string, args []driver.Value) (driver.Rows, error) {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return c.QueryContext(ctx, query, named)
}

// each calls do with every row of a query and stops at its first error. The
// row is used again.
func each(ctx context.Context, c *sqlite3.SQLiteConn, query string, args []driver.Value, columns int, do func([]driver.Value) error) (err error) {
	rows, err := ask(ctx, c, query, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, columns)
	for {
		if err := rows.Next(row); err != nil {
			if isEnd(err) {
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
	case isEnd(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return l.row, nil
}

func (l *lookup) close() error { return l.stmt.Close() }

// isEnd says whether a reading has come to its end.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
