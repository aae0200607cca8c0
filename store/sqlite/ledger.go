package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/mattn/go-sqlite3"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// transaction is one on the writing connection.
type transaction struct {
	*sql.Tx
	conn *sql.Conn
}

// raw calls do with the driver's own connection.
func (tx transaction) raw(do func(*sqlite3.SQLiteConn) error) error { return raw(tx.conn, do) }

// transact runs do in a transaction, in a database that has all tables. Errors
// are explained for people and classified (see [Explain]); the end of ctx, which
// SQLite tells in several ways, is told as such.
func (d *Database) transact(ctx context.Context, do func(transaction) error) error {
	return d.transactIf(ctx, d.still(), do)
}

// transactIf is transact where, right before the database is opened to be written,
// which changes the file, is returns nil.
func (d *Database) transactIf(ctx context.Context, is func() error, do func(transaction) error) (err error) {
	d.use.RLock()
	defer d.use.RUnlock()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	done, err := turn(ctx, d.path)
	if err != nil {
		return err
	}
	defer done()
	d.opening.Lock()
	if d.log.uprooted(d.path) {
		d.opening.Unlock()
		return d.wasReplaced()
	}
	if err := is(); err != nil {
		d.opening.Unlock()
		return err
	}
	db, fresh, err := d.writes.DB(ctx)
	if err == nil && fresh {
		d.log.open(d.path)
	}
	d.opening.Unlock()
	if err != nil {
		return err
	}
	if fresh {
		// Checkpoints run beside the writer; what they do not get done is done
		// when the database is closed.
		if _, err := db.ExecContext(ctx, `PRAGMA wal_autocheckpoint = 0`); err != nil {
			return Explain(d.path, err)
		}
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return Explain(d.path, err)
	}
	defer conn.Close()
	begun, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return Explain(d.path, err)
	}
	tx := transaction{begun, conn}
	if held, err := holdLog(ctx, followed(d.path), syscall.LOCK_SH); err == nil {
		defer held.Close() //nolint:errcheck // only read; after the rollback
	}
	defer tx.Rollback()
	d.opening.Lock()
	gone := d.log.uprooted(d.path) // while it waited for others
	d.opening.Unlock()
	if gone {
		return d.wasReplaced()
	}
	err = d.migrate(ctx, begun)
	if err == nil {
		err = do(tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // whatever it led to: a transaction that is gone, for example
	}
	return Explain(d.path, err)
}

// wasReplaced says that the file is not the one that was open.
func (d *Database) wasReplaced() error {
	return books.Refuse("the file at %q is not the one that was open: it was replaced; ask for the run again", d.path)
}

// Expect implements [store.Ledger].
func (d *Database) Expect(ctx context.Context, id string, e *ihcv1.RunExtracted) error {
	return d.transactIf(ctx, d.still(id), func(tx transaction) error {
		if err := d.checkStill(ctx, tx, id); err != nil {
			return err
		}
		told, err := tx.ExecContext(ctx, `INSERT INTO pipeline_runs (run_id, expected_chunks, expected_range) VALUES (?1, ?2, ?3)
			ON CONFLICT (run_id) DO UPDATE SET expected_chunks = ?2, expected_range = ?3 WHERE status = 'running' AND expected_chunks IS NULL`,
			id, e.GetChunks(), e.GetCounts().GetInRange())
		if err != nil {
			return err
		}
		if n, err := told.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return tx.dropBeyond(ctx, id, e.GetChunks())
	})
}

// End implements [store.Ledger].
func (d *Database) End(ctx context.Context, id string, status store.Status) error {
	return d.transactIf(ctx, d.still(id), func(tx transaction) error { return tx.end(ctx, id, string(status)) })
}

// end ends a run that is under way.
func (tx transaction) end(ctx context.Context, id, status string) error {
	changed, err := tx.ExecContext(ctx, `INSERT INTO pipeline_runs (run_id, status) VALUES (?1, ?2)
		ON CONFLICT (run_id) DO UPDATE SET status = ?2 WHERE status = 'running'`, id, status)
	if err != nil {
		return err
	}
	if n, err := changed.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if status == string(store.Superseded) {
		return nil // its successor takes over what it has
	}
	for _, remove := range []string{
		`DELETE FROM pipeline_reused WHERE run = (SELECT run FROM pipeline_runs WHERE run_id = ?1)`,
		`DELETE FROM pipeline_reusable WHERE run = (SELECT run FROM pipeline_runs WHERE run_id = ?1)`,
		`DELETE FROM pipeline_journeys WHERE run = (SELECT run FROM pipeline_runs WHERE run_id = ?1)
			AND journey >= (SELECT next_journey FROM pipeline_runs WHERE run_id = ?1)`,
		`DELETE FROM pipeline_adopted WHERE run = (SELECT run FROM pipeline_runs WHERE run_id = ?1)`,
	} {
		if _, err := tx.ExecContext(ctx, remove, id); err != nil {
			return err
		}
	}
	return nil
}

// Store implements [store.Ledger].
func (d *Database) Store(ctx context.Context, results []*ihcv1.AttributionResult) error {
	byRun := books.ByRun(results)
	runs := slices.Sorted(maps.Keys(byRun))
	written := 0
	err := d.transactIf(ctx, d.still(runs...), func(tx transaction) error {
		written = 0
		for _, id := range runs {
			if err := d.checkStill(ctx, tx, id); err != nil {
				return err
			}
			n, err := tx.store(ctx, id, byRun[id])
			if err != nil {
				return fmt.Errorf("store %s: %w", books.Name(byRun[id]), err)
			}
			written += n
		}
		return nil
	})
	if err == nil {
		d.checkpoints.written(written)
	}
	return err
}

// Finish implements [store.Ledger].
func (d *Database) Finish(ctx context.Context, id string) (store.State, error) {
	s, err := d.finish(ctx, id, false)
	if !errors.Is(err, errDue) {
		return s, err
	}
	d.leaveLog(ctx)
	s, err = d.finish(ctx, id, true)
	d.use.Lock()
	defer d.use.Unlock()
	return s, errors.Join(err, d.closeWrites()) // the next to open it goes back to the log
}

// errDue says that a run is complete and waits to be shown.
var errDue = errors.New("the run is to be shown")

// finish shows a run that is complete or, where it is not to show it, returns
// [errDue].
func (d *Database) finish(ctx context.Context, id string, show bool) (store.State, error) {
	var s store.State
	logged := 0
	err := d.transactIf(ctx, d.still(id), func(tx transaction) (err error) {
		if err := d.checkStill(ctx, tx, id); err != nil {
			return err
		}
		var r runRow
		if r, err = tx.run(ctx, id); err != nil || !r.complete() {
			return err
		}
		if s, err = tx.state(ctx, r); err != nil || s.Wrong != "" || r.shown {
			return err
		}
		if !show {
			return errDue
		}
		err = tx.withSources(ctx, salesByID, func() (err error) {
			logged, err = d.sweep(ctx, tx, r, s.Counts.GetTouchpoints())
			return err
		})
		if err != nil {
			return fmt.Errorf("bring attribution_customer_journey to the journal's state: %w", err)
		}
		if _, err = tx.ExecContext(ctx, `UPDATE pipeline_chunks SET shown = 1 WHERE run = ? AND NOT shown`, r.run); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE pipeline_runs SET status = 'written', shown = 1,
			next_journey = (SELECT coalesce(max(journey), 0) + 1 FROM pipeline_journeys) WHERE run = ?`, r.run)
		return err
	})
	if err == nil {
		d.checkpoints.written(logged)
	}
	return s, err
}

// status is what pipeline_runs says of a run.
type status string

// over says whether nothing more is taken of the run.
func (s status) over() bool { return s != status(store.Running) && s != status(store.Written) }

// runRow is a row of pipeline_runs.
type runRow struct {
	run                              int64
	status                           status
	model                            string
	wantChunks, wantRange            sql.NullInt64
	chunks, requests, revision, from int64
	shown                            bool
}

func (r runRow) complete() bool {
	return r.wantChunks.Valid && r.chunks == r.wantChunks.Int64 && !r.status.over()
}

// run returns a run's row, one that is not complete where there is none. One whose
// records were dropped takes nothing more.
func (tx transaction) run(ctx context.Context, id string) (r runRow, err error) {
	err = tx.QueryRowContext(ctx, `SELECT run, CASE WHEN dropped THEN 'failed' ELSE status END, model, expected_chunks, expected_range, chunks, requests, revision, next_journey, shown
		FROM pipeline_runs WHERE run_id = ?`, id).
		Scan(&r.run, &r.status, &r.model, &r.wantChunks, &r.wantRange, &r.chunks, &r.requests, &r.revision, &r.from, &r.shown)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	return r, err
}

// state adds up a complete run.
func (tx transaction) state(ctx context.Context, r runRow) (store.State, error) {
	s := store.State{Requests: uint64(r.requests), Model: r.model, Revision: uint32(r.revision)}
	found, err := tx.QueryContext(ctx, `SELECT outcome, sum(conversions), sum(touchpoints) FROM pipeline_counts WHERE run = ? GROUP BY outcome`, r.run)
	if err != nil {
		return s, err
	}
	defer found.Close()
	for found.Next() {
		var c books.Count
		if err := found.Scan(&c.Outcome, &c.Conversions, &c.Touchpoints); err != nil {
			return s, err
		}
		books.Add(&s, c)
	}
	books.Close(&s, r.wantRange.Int64)
	return s, found.Err()
}
