package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/books"
)

// Rehearse implements [store.Source]: it writes rows of every kind in a
// transaction that it rolls back.
func (d *Database) Rehearse(ctx context.Context) error {
	db, err := Open(ctx, d.path, Write, asItIs())
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return Explain(d.path, err)
	}
	defer tx.Rollback()
	if err := d.migrate(ctx, tx); err != nil {
		return Explain(d.path, err)
	}
	for _, r := range books.Rehearsed {
		for _, statement := range []string{r.Insert, r.Remove} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return d.refused(r.Table, err)
			}
		}
	}
	return nil
}

// refused explains why a table does not take results.
func (d *Database) refused(table string, err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && errkind.KindOf(Explain(d.path, err)) == errkind.Run {
		return errkind.Inputf("table %s of database %q does not take results: %w; take the constraint or trigger away, or rename the table, and it is created anew", table, d.path, err)
	}
	return Explain(d.path, fmt.Errorf("try table %s: %w", table, err))
}
