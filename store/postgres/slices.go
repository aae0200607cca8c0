package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

// boundsQuery gives the users that slices begin with: those of every so manieth
// conversion.
const boundsQuery = `SELECT DISTINCT user_id COLLATE "C" FROM (
		SELECT user_id, row_number() OVER (ORDER BY user_id COLLATE "C") AS n FROM {conversions} v WHERE conv_date COLLATE "C" BETWEEN $1 AND $2) c
	WHERE (n - 1) % $3 = 0 AND n > 1 AND user_id <> '' ORDER BY 1`

// Slices implements [store.Source]. The state is that of an exported snapshot, and
// of the transaction that stays open for it.
func (d *Database) Slices(ctx context.Context, o journey.Options, conversions int, do func(context.Context, []journey.Options) error) error {
	whole := false
	err := d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, from.in(boundsQuery), o.Start, o.End, conversions)
		if err != nil {
			return fmt.Errorf("read conversions: %w", err)
		}
		bounds, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if whole = len(bounds) == 0; whole {
			return nil
		}
		var snapshot string
		if err := tx.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&snapshot); err != nil {
			return err
		}
		slices, next := make([]journey.Options, 0, len(bounds)+1), o
		for _, bound := range append(bounds, "") {
			next.Slice.Before, next.Slice.Snapshot = bound, snapshot
			slices = append(slices, next)
			next.Slice.From = bound
		}
		return whileThere(ctx, tx, func(ctx context.Context) error { return do(ctx, slices) })
	})
	if err != nil || !whole {
		return err
	}
	return do(ctx, []journey.Options{o})
}

// beside calls do with a transaction of a connection of its own, which only reads
// and sees what tx sees but for what tx has changed.
func (d *Database) beside(ctx context.Context, tx pgx.Tx, do func(pgx.Tx) error) error {
	var snapshot string
	if err := tx.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&snapshot); err != nil {
		return err
	}
	return d.inTransaction(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(other pgx.Tx) error {
		if err := see(ctx, other, snapshot); err != nil {
			return err
		}
		return do(other)
	})
}

// whileThere calls do, and ends its context where the transaction is lost
// meanwhile, whose error it then returns. To be asked now and then keeps a server
// from ending it for being idle.
func whileThere(ctx context.Context, tx pgx.Tx, do func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(inner) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(lookEvery):
			if _, err := tx.Exec(ctx, `SELECT 1`); err != nil {
				cancel()
				<-done //nolint:errcheck // the loss explains it
				return fmt.Errorf("the snapshot that the run is read from is lost: %w", err)
			}
		}
	}
}

// lookEvery is how often it is looked whether a snapshot is there.
const lookEvery = time.Second
