package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/books"
)

// errEnough ends a transaction that is to leave nothing behind.
var errEnough = errors.New("all of it worked")

// Rehearse implements [store.Source]: it makes the tables and writes rows of every
// kind in a transaction that it rolls back.
func (d *Database) Rehearse(ctx context.Context) error {
	d.use.RLock()
	defer d.use.RUnlock()
	err := d.inTransaction(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := d.migrate(ctx, tx); err != nil {
			return err
		}
		for _, r := range books.Rehearsed {
			for _, statement := range []string{r.Insert, r.Remove} {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return d.refused(r.Table, err)
				}
			}
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// refused explains why a table does not take results.
func (d *Database) refused(table string, err error) error {
	if explained := d.explain(err); errkind.KindOf(explained) != errkind.Run || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("try table %s: %w", table, explained)
	}
	return errkind.Inputf("table %s of database %s does not take results: %w; take the constraint or trigger away, or rename the table, and it is created anew", table, d.name, err)
}
