package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// rows runs a statement, head + row,row,… + tail, for many rows at a time, on
// the driver's own connection: most of the cost of a small row is the way into
// SQLite.
type rows struct {
	conn            *sqlite3.SQLiteConn
	head, row, tail string
	most            int                 // rows in one statement; SQLite allows 999 values at least
	full            driver.Stmt         // for most rows, once there were so many
	values          []driver.NamedValue // room for most rows
	set             int                 // of values, not yet run
	width           int                 // values in a row
}

func newRows(conn *sqlite3.SQLiteConn, head, row, tail string, width, most int) *rows {
	r := &rows{conn: conn, head: head, row: row, tail: tail, most: most, values: make([]driver.NamedValue, width*most), width: width}
	for i := range r.values {
		r.values[i].Ordinal = i + 1
	}
	return r
}

// add takes the values of one row.
func (r *rows) add(values ...driver.Value) (err error) {
	for _, v := range values {
		r.values[r.set].Value = v
		r.set++
	}
	if r.set < len(r.values) {
		return nil
	}
	if r.full == nil {
		if r.full, err = r.conn.Prepare(r.text(r.most)); err != nil {
			return err
		}
	}
	r.set = 0
	return write(r.full, r.values)
}

// write runs a statement that gives no rows. The driver takes all values into
// SQLite in one step where it is asked for rows, and otherwise one by one, which
// of a small row is most of the cost.
func write(stmt driver.Stmt, values []driver.NamedValue) error {
	none, err := stmt.(driver.StmtQueryContext).QueryContext(context.Background(), values) // without a goroutine to watch a context
	if err != nil {
		return err
	}
	return none.Close()
}

// flush runs what is left over.
func (r *rows) flush() error {
	if r.set == 0 {
		return nil
	}
	_, err := r.conn.ExecContext(context.Background(), r.text(r.set/r.width), r.values[:r.set])
	r.set = 0
	return err
}

func (r *rows) text(n int) string { return r.head + strings.Repeat(r.row+",", n-1) + r.row + r.tail }

func (r *rows) close() error {
	if r.full == nil {
		return nil
	}
	return r.full.Close()
}

// inserter writes journeys to attribution_customer_journey, some sessions of
// one conversion in a statement.
type inserter struct {
	c      *sqlite3.SQLiteConn
	stmts  [sessionsAtOnce + 1]driver.Stmt // by number of sessions
	values []driver.NamedValue
}

const sessionsAtOnce = 64

func newInserter(c *sqlite3.SQLiteConn) *inserter {
	in := &inserter{c: c, values: make([]driver.NamedValue, 1+2*sessionsAtOnce)}
	for i := range in.values {
		in.values[i].Ordinal = i + 1
	}
	return in
}

func (in *inserter) add(conv driver.Value, j *shownJourney) error {
	in.values[0].Value = conv
	for from := 0; from < len(j.sessions); from += sessionsAtOnce {
		n := min(len(j.sessions)-from, sessionsAtOnce)
		for i := range n {
			in.values[1+2*i].Value, in.values[2+2*i].Value = j.values[2*(from+i)], j.values[2*(from+i)+1]
		}
		if in.stmts[n] == nil {
			// Without OR FAIL, SQLite would keep what it takes to undo the one
			// statement; all of the transaction is undone if one fails.
			stmt, err := in.c.Prepare(`INSERT OR FAIL INTO attribution_customer_journey (conv_id, session_id, ihc)
				SELECT ?, column1, column2 FROM (VALUES (?,?)` + strings.Repeat(",(?,?)", n-1) + `)`)
			if err != nil {
				return err
			}
			in.stmts[n] = stmt
		}
		if err := write(in.stmts[n], in.values[:1+2*n]); err != nil {
			return err
		}
	}
	return nil
}

func (in *inserter) close() (err error) {
	for _, stmt := range &in.stmts {
		if stmt != nil {
			err = errors.Join(err, stmt.Close())
		}
	}
	return err
}
