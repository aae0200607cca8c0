package ledger

import (
	"context"
	"database/sql"
	"strings"
)

// rows runs a statement for many rows at a time: most of the cost of a small
// row is the way into SQLite. The texts it makes are kept, one for full
// statements; what is left over takes shorter ones.
type rows struct{ full string }

// perStatement is how many rows one statement takes. With three values a row
// it stays below the 999 parameters that every SQLite allows.
const perStatement = 256

// exec runs head + row,row,… + tail with the values of each row in turn, width
// values a row.
func (r *rows) exec(ctx context.Context, tx *sql.Tx, head, row, tail string, width int, values []any) error {
	if len(values) >= perStatement*width {
		if r.full == "" {
			r.full = text(head, row, tail, perStatement)
		}
		stmt, err := tx.PrepareContext(ctx, r.full)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for len(values) >= perStatement*width {
			if _, err := stmt.ExecContext(ctx, values[:perStatement*width]...); err != nil {
				return err
			}
			values = values[perStatement*width:]
		}
	}
	if len(values) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, text(head, row, tail, len(values)/width), values...)
	return err
}

func text(head, row, tail string, n int) string {
	return head + strings.Repeat(row+",", n-1) + row + tail
}
