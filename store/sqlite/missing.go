package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ihc-pipeline/ihc/store/books"
)

// Missing implements [store.Ledger].
func (d *Database) Missing(ctx context.Context, id string, chunks uint32) (missing []uint32, err error) {
	err = d.transact(ctx, func(tx transaction) error {
		var number int64
		err := tx.QueryRowContext(ctx, `SELECT run FROM pipeline_runs WHERE run_id = ?`, id).Scan(&number)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		stored, err := tx.chunks(ctx, number, 0)
		if err != nil {
			return err
		}
		missing = books.Missing(stored, chunks)
		return nil
	})
	return missing, err
}

// chunks returns the numbers of a run's stored chunks beyond one, in order.
func (tx transaction) chunks(ctx context.Context, number int64, beyond uint32) (all []uint32, err error) {
	found, err := tx.QueryContext(ctx, `SELECT chunk FROM pipeline_chunks WHERE run = ? AND chunk > ? ORDER BY chunk`, number, beyond)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var chunk uint32
		if err := found.Scan(&chunk); err != nil {
			return nil, err
		}
		all = append(all, chunk)
	}
	return all, found.Err()
}

// dropBeyond takes out of the books and the journal what is stored of a run
// under higher numbers than it has chunks.
func (tx transaction) dropBeyond(ctx context.Context, id string, chunks uint32) error {
	r, err := tx.run(ctx, id)
	if err != nil {
		return err
	}
	strays, err := tx.chunks(ctx, r.run, chunks)
	if err != nil {
		return err
	}
	for _, chunk := range strays {
		_, err := tx.ExecContext(ctx, `UPDATE pipeline_runs SET chunks = chunks - 1,
			requests = requests - (SELECT requests FROM pipeline_chunks WHERE run = ?1 AND chunk = ?2) WHERE run = ?1`, r.run, chunk)
		if err != nil {
			return err
		}
		if err := tx.forget(ctx, r.run, chunk); err != nil {
			return err
		}
	}
	return nil
}
