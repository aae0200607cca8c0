package ledger

import (
	"context"
	"database/sql"
	"strings"
)

// perStatement is how many rows one statement takes. With three values a row
// it stays below the 999 parameters that every SQLite allows.
const perStatement = 256

// rows runs a statement, head + row,row,… + tail, for many rows at a time:
// most of the cost of a small row is the way into SQLite.
type rows struct {
	tx              *sql.Tx
	head, row, tail string
	full            *sql.Stmt // for perStatement rows, once there were so many
	values          []any     // not yet run
	n               int       // rows in values
}

func newRows(tx *sql.Tx, head, row, tail string) *rows {
	return &rows{tx: tx, head: head, row: row, tail: tail}
}

// add takes the values of one row.
func (r *rows) add(ctx context.Context, values ...any) (err error) {
	r.values = append(r.values, values...)
	if r.n++; r.n < perStatement {
		return nil
	}
	if r.full == nil {
		if r.full, err = r.tx.PrepareContext(ctx, r.text()); err != nil {
			return err
		}
	}
	_, err = r.full.ExecContext(ctx, r.values...)
	r.values, r.n = r.values[:0], 0
	return err
}

// close runs what is left over. Statements end with the transaction.
func (r *rows) close(ctx context.Context) error {
	if r.n == 0 {
		return nil
	}
	_, err := r.tx.ExecContext(ctx, r.text(), r.values...)
	return err
}

func (r *rows) text() string { return r.head + strings.Repeat(r.row+",", r.n-1) + r.row + r.tail }
