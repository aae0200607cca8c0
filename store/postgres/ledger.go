package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// exec runs statements with the same parameters.
func exec(ctx context.Context, tx pgx.Tx, statements []string, args ...any) error {
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// Expect implements [store.Ledger].
func (d *Database) Expect(ctx context.Context, id string, e *ihcv1.RunExtracted) error {
	return d.alone(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := d.checkStill(ctx, tx, id); err != nil {
			return err
		}
		var number int64
		err := tx.QueryRow(ctx, `INSERT INTO pipeline_runs AS r (run_id, expected_chunks, expected_range) VALUES ($1, $2, $3)
			ON CONFLICT (run_id) DO UPDATE SET expected_chunks = EXCLUDED.expected_chunks, expected_range = EXCLUDED.expected_range
			WHERE r.status = 'running' AND r.expected_chunks IS NULL RETURNING run`,
			id, int64(e.GetChunks()), int64(e.GetCounts().GetInRange())).Scan(&number)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		strays, err := chunks(ctx, tx, number, e.GetChunks())
		if err != nil || len(strays) == 0 {
			return err
		}
		if err := forget(ctx, tx, number, strays); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM pipeline_chunks WHERE run = $1 AND chunk > $2`, number, int64(e.GetChunks()))
		return err
	})
}

// chunks returns the numbers of a run's stored chunks beyond one, in order.
func chunks(ctx context.Context, tx pgx.Tx, number int64, beyond uint32) ([]uint32, error) {
	rows, err := tx.Query(ctx, `SELECT chunk FROM pipeline_chunks WHERE run = $1 AND chunk > $2 ORDER BY chunk`, number, int64(beyond))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uint32])
}

// forget takes chunks out of the journal and out of the books, but for their own
// rows.
func forget(ctx context.Context, tx pgx.Tx, number int64, chunks []uint32) error {
	all := make([]int64, len(chunks))
	for i, n := range chunks {
		all[i] = int64(n)
	}
	return exec(ctx, tx, []string{
		`UPDATE pipeline_journeys SET chunk = 0 WHERE run = $1 AND chunk = ANY ($2) AND journey IN (SELECT journey FROM pipeline_adopted WHERE run = $1)`,
		`DELETE FROM pipeline_journeys WHERE run = $1 AND chunk = ANY ($2)`,
		`DELETE FROM pipeline_reused WHERE run = $1 AND chunk = ANY ($2)`,
		`DELETE FROM pipeline_outcomes WHERE run = $1 AND chunk = ANY ($2)`,
		`DELETE FROM pipeline_counts WHERE run = $1 AND chunk = ANY ($2)`,
	}, number, all)
}

// End implements [store.Ledger].
func (d *Database) End(ctx context.Context, id string, status store.Status) error {
	return d.alone(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error { return end(ctx, tx, id, status) })
}

// end ends a run that is under way. One that did not end well has shown nothing,
// so that all of it is dropped.
func end(ctx context.Context, tx pgx.Tx, id string, status store.Status) error {
	var number int64
	err := tx.QueryRow(ctx, `INSERT INTO pipeline_runs AS r (run_id, status) VALUES ($1, $2)
		ON CONFLICT (run_id) DO UPDATE SET status = EXCLUDED.status WHERE r.status = 'running' RETURNING run`, id, string(status)).Scan(&number)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil || status == store.Superseded { // its successor takes over what it has
		return err
	}
	return exec(ctx, tx, []string{
		`DELETE FROM pipeline_reused WHERE run = $1`,
		`DELETE FROM pipeline_reusable WHERE run = $1`,
		`DELETE FROM pipeline_journeys WHERE run = $1`,
		`DELETE FROM pipeline_adopted WHERE run = $1`,
	}, number)
}

// Missing implements [store.Ledger].
func (d *Database) Missing(ctx context.Context, id string, n uint32) (missing []uint32, err error) {
	err = d.ledger(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		r, err := findRun(ctx, tx, id)
		if err != nil {
			return err
		}
		stored, err := chunks(ctx, tx, r.run, 0)
		missing = books.Missing(stored, n)
		return err
	})
	return missing, err
}

// Store implements [store.Ledger]. Any number of writers store results of a run at
// a time: a chunk is stored by whoever claims it first, and the others wait for
// that chunk alone.
func (d *Database) Store(ctx context.Context, results []*ihcv1.AttributionResult) error {
	byRun := books.ByRun(results)
	return d.ledger(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if d.lz4.Load() { // what is the server's default else takes three times as long to store a journal as all the rest of it
			if _, err := tx.Exec(ctx, `SET LOCAL default_toast_compression = 'lz4'`); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(byRun)) {
			if err := d.checkStill(ctx, tx, id); err != nil {
				return err
			}
			if err := storeRun(ctx, tx, id, byRun[id]); err != nil {
				return fmt.Errorf("store %s: %w", books.Name(byRun[id]), err)
			}
		}
		return nil
	})
}

// runRow is a row of pipeline_runs, with what is stored of the run.
type runRow struct {
	run                   int64 // 0 for one that is not known
	status                store.Status
	wantChunks, wantRange *int64
	chunks, unshown       int64
	requests, revised     int64
	model                 string
}

// standing is a run's status: one whose records were dropped takes nothing more.
const standing = `CASE WHEN dropped = 1 THEN 'failed' ELSE status END`

// over says whether nothing more is taken of the run.
func over(s store.Status) bool { return s != store.Running && s != store.Written }

func (r *runRow) complete() bool {
	return r.run != 0 && r.wantChunks != nil && r.chunks == *r.wantChunks && !over(r.status)
}

// shown says whether attribution_customer_journey has all that is stored.
func (r *runRow) shown() bool { return r.status == store.Written && r.unshown == 0 }

// findRun returns a run's row and, where all its chunks may be stored, what they
// add up to: to count them after each batch of a run that is still extracted would
// take longer than to store it.
func findRun(ctx context.Context, tx pgx.Tx, id string) (*runRow, error) {
	r := &runRow{}
	err := tx.QueryRow(ctx, `SELECT run, `+standing+`, expected_chunks, expected_range FROM pipeline_runs r WHERE run_id = $1`, id).
		Scan(&r.run, &r.status, &r.wantChunks, &r.wantRange)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, nil
	}
	if err != nil || r.wantChunks == nil || over(r.status) {
		return r, err
	}
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM pipeline_chunks WHERE run = $1`, r.run).Scan(&r.chunks); err != nil || !r.complete() {
		return r, err
	}
	err = tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE NOT shown), coalesce(sum(requests), 0)::bigint, coalesce(sum(revised), 0)::bigint, coalesce(max(model COLLATE "C"), '')
		FROM pipeline_chunks WHERE run = $1`, r.run).Scan(&r.unshown, &r.requests, &r.revised, &r.model)
	return r, err
}

// Finish implements [store.Ledger].
func (d *Database) Finish(ctx context.Context, id string) (s store.State, err error) {
	due := false
	look := func(tx pgx.Tx) (r *runRow, err error) {
		s, due = store.State{}, false
		if err := d.checkStill(ctx, tx, id); err != nil {
			return nil, err
		}
		if r, err = findRun(ctx, tx, id); err != nil || !r.complete() {
			return r, err
		}
		s, err = r.state(ctx, tx)
		due = err == nil && s.Wrong == "" && !r.shown()
		return r, err
	}
	// Most of the time there is nothing to do, and nobody to wait for.
	err = d.ledger(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		_, err := look(tx)
		return err
	})
	if err != nil || !due {
		return s, err
	}
	err = d.alone(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		// Writers hold the run's row while they store: what they have not stored
		// yet is shown by the next call.
		if _, err := tx.Exec(ctx, `SELECT 1 FROM pipeline_runs WHERE run_id = $1 FOR UPDATE`, id); err != nil {
			return err
		}
		r, err := look(tx)
		if err != nil || !due {
			return err
		}
		if err := d.sweep(ctx, tx, r.run, s.Counts); err != nil {
			return fmt.Errorf("bring attribution_customer_journey to the journal's state: %w", err)
		}
		if _, err := tx.Exec(ctx, `UPDATE pipeline_chunks SET shown = true WHERE run = $1 AND NOT shown`, r.run); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE pipeline_runs SET status = 'written', model = $2 WHERE run = $1`, r.run, r.model)
		return err
	})
	return s, err
}

// state adds up a complete run.
func (r *runRow) state(ctx context.Context, tx pgx.Tx) (store.State, error) {
	s := store.State{Requests: uint64(r.requests), Model: r.model, Revision: uint32(r.revised)}
	rows, err := tx.Query(ctx, `SELECT outcome, sum(conversions)::bigint, sum(touchpoints)::bigint FROM pipeline_counts WHERE run = $1 GROUP BY outcome`, r.run)
	if err != nil {
		return s, err
	}
	counts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[books.Count])
	for _, c := range counts {
		books.Add(&s, c)
	}
	books.Close(&s, *r.wantRange)
	return s, err
}
