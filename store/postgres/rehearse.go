package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tables"
)

// rehearsed are rows as a run writes them, for ids and channels that nobody
// has: shares from 0 to 1, ids that differ in nothing but case or a space.
var rehearsed = []struct{ table, insert, remove string }{
	{tables.CustomerJourney, `INSERT INTO attribution_customer_journey (conv_id, session_id, ihc) VALUES
		('pipeline rehearsal', 'a', 0.0), ('pipeline rehearsal', 'A', 1.0), ('pipeline rehearsal', 'a ', 0.1234), ('Pipeline Rehearsal', 'a', 0.5)`,
		`DELETE FROM attribution_customer_journey WHERE conv_id = 'pipeline rehearsal'`},
	{tables.ChannelReporting, `INSERT INTO channel_reporting (channel_name, date, cost, ihc, ihc_revenue) VALUES
		('pipeline rehearsal', '2023-09-01', 0.0, 0.0, 0.0), ('Pipeline Rehearsal', '2023-09-01', 12.345678, 0.4321, 99.95), ('pipeline rehearsal ', '2023-09-02', 1.0, 1.0, 1.0)`,
		`DELETE FROM channel_reporting WHERE channel_name = 'pipeline rehearsal'`},
}

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
		for _, r := range rehearsed {
			for _, statement := range []string{r.insert, r.remove} {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return d.refused(r.table, err)
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
