package sqlite

import (
	"context"
	"database/sql"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/store/books"
)

// Missing implements [store.Ledger]. It looks on a connection of its own, which it
// closes: whoever looks after a run that another stores and kept one open would keep
// that one from leaving the log when it shows the run.
func (d *Database) Missing(ctx context.Context, id string, chunks uint32) (missing []uint32, err error) {
	db, err := Open(ctx, d.path, Read, Readers(1))
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // only read
	stored, err := storedChunks(ctx, db, id)
	if err != nil {
		return nil, Explain(d.path, err)
	}
	return books.Missing(stored, chunks), nil
}

// storedChunks returns the numbers of a run's stored chunks, in order.
func storedChunks(ctx context.Context, db *sql.DB, id string) (all []uint32, err error) {
	found, err := db.QueryContext(ctx, `SELECT chunk FROM pipeline_chunks WHERE run = (SELECT run FROM pipeline_runs WHERE run_id = ?) ORDER BY chunk`, id)
	if isSQLite(err, sqlite3.ErrError) { // no such table: it has none
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return numbers(found)
}

// chunks returns the numbers of a run's stored chunks beyond one, in order.
func (tx transaction) chunks(ctx context.Context, number int64, beyond uint32) (all []uint32, err error) {
	found, err := tx.QueryContext(ctx, `SELECT chunk FROM pipeline_chunks WHERE run = ? AND chunk > ? ORDER BY chunk`, number, beyond)
	if err != nil {
		return nil, err
	}
	return numbers(found)
}

// numbers reads the one column of some rows, and closes them.
func numbers(found *sql.Rows) (all []uint32, err error) {
	defer found.Close()
	for found.Next() {
		var n uint32
		if err := found.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, n)
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
