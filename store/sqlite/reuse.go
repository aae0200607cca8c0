package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// Reuse implements [store.Ledger].
func (d *Database) Reuse(ctx context.Context, req *ihcv1.RunRequest, since time.Time) (store.Stored, error) {
	stored := &storedBefore{path: d.path, query: `SELECT EXISTS (SELECT 1 FROM pipeline_reusable WHERE run = ?3 AND conv_id = ?1 AND fingerprint = ?2)`}
	settle := func(tx transaction, number int64) error {
		settled, err := tx.ExecContext(ctx, `UPDATE pipeline_runs SET reuses = 1 WHERE run = ? AND status = 'running' AND NOT reuses`, number)
		if err != nil {
			return err
		}
		if n, err := settled.RowsAffected(); err != nil || n == 0 {
			return err
		}
		within, sources := "", noSource
		start, end := run.Range(req)
		if ranged(req) {
			sources, within = salesByID, `AND l.conv_id IN (SELECT conv_id FROM conversions WHERE conv_date BETWEEN ?3 AND ?4)`
		}
		return tx.withSources(ctx, sources, func() error {
			_, err := tx.ExecContext(ctx, `INSERT INTO pipeline_reusable (run, conv_id, fingerprint, journey)
			SELECT ?1, l.conv_id, j.fingerprint, j.journey FROM pipeline_latest l CROSS JOIN pipeline_journeys j ON j.journey = l.journey
			WHERE j.fingerprint IS NOT NULL AND j.scored >= ?2 AND j.conv_id = l.conv_id AND `+intactInSQL+`(j.conv_id, j.sessions, j.shares) `+within+` ORDER BY l.conv_id`, number, oldest(since), start, end)
			return err
		})
	}
	err := d.transactIf(ctx, d.still(req.GetRunId()), func(tx transaction) (err error) {
		if stored.arg, err = tx.number(ctx, req.GetRunId()); err != nil {
			return err
		}
		if err := settle(tx, stored.arg); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT NOT EXISTS (SELECT 1 FROM pipeline_reusable WHERE run = ?)`, stored.arg).Scan(&stored.none)
	})
	if err != nil {
		return nil, err
	}
	stored.db, _, err = d.reads.DB(ctx)
	return stored, err
}

// Shown implements [store.Source].
func (d *Database) Shown(ctx context.Context, since time.Time) (store.Stored, error) {
	d.use.RLock()
	defer d.use.RUnlock()
	db, _, err := d.reads.DB(ctx)
	if err != nil {
		return nil, err
	}
	var ours int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'pipeline_reusable'`).Scan(&ours)
	if err != nil || ours == 0 {
		return nil, Explain(d.path, err) // no run of this release was here
	}
	return &storedBefore{path: d.path, db: db, query: `SELECT ` + intactInSQL + `(j.conv_id, j.sessions, j.shares) FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey AND j.conv_id = l.conv_id
		WHERE l.conv_id = ?1 AND j.fingerprint = ?2 AND j.scored >= ?3`, arg: oldest(since)}, nil
}

// oldest returns the least time of scoring that is not before since, in seconds.
func oldest(since time.Time) int64 {
	if since.IsZero() {
		return 0
	}
	return since.Unix()
}

// storedBefore says by a query of a conversion and a fingerprint, and one argument more,
// what is stored.
type storedBefore struct {
	path, query string
	db          *sql.DB
	arg         int64
	none        bool // there is nothing, whatever is asked
}

// Has implements [store.Stored]. That is asked of every journey, and ctx is looked
// at before and not meanwhile, which would take a goroutine each time.
func (f *storedBefore) Has(ctx context.Context, conv string, fingerprint []byte) (there bool, err error) {
	if err := ctx.Err(); err != nil || f.none {
		return false, err
	}
	err = f.db.QueryRowContext(context.WithoutCancel(ctx), f.query, conv, fingerprint, f.arg).Scan(&there)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return there, Explain(f.path, err)
}

// For implements [store.Stored]: what is stored is in the same process.
func (f *storedBefore) For(context.Context, journey.Options) (store.Stored, error) { return f, nil }

// useStored are the statements that make a conversion's stored attribution one of
// a chunk's, in the order in which they are tried: one that the run adopted
// becomes its own, one of another run stays that run's. A replay has settled
// nothing, and uses what is shown, if it is the same.
var useStored = [...]string{
	`UPDATE pipeline_journeys SET chunk = ?2 WHERE journey = (SELECT journey FROM pipeline_adopted WHERE run = ?1 AND conv_id = ?3 AND (?4 IS NULL OR fingerprint = ?4))`,
	`INSERT INTO pipeline_reused (run, chunk, journey) SELECT ?1, ?2, journey FROM pipeline_reusable
		WHERE run = ?1 AND conv_id = ?3 AND fingerprint = ?4 AND journey IN (SELECT journey FROM pipeline_journeys)`,
	`INSERT INTO pipeline_reused (run, chunk, journey) SELECT ?1, ?2, j.journey FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey
		WHERE l.conv_id = ?3 AND j.fingerprint = ?4`,
}

// stored uses the attributions that are stored.
type stored struct {
	c     *sqlite3.SQLiteConn
	stmts [len(useStored)]driver.Stmt // prepared when first needed
}

// use makes the stored attribution of an outcome's conversion the chunk's.
func (s *stored) use(number, chunk int64, o *ihcv1.Outcome) (err error) {
	var fingerprint driver.Value
	if digest := o.GetFingerprint(); len(digest) > 0 {
		fingerprint = digest
	}
	for i, statement := range useStored {
		if s.stmts[i] == nil {
			if s.stmts[i], err = s.c.Prepare(statement); err != nil {
				return err
			}
		}
		used, err := s.stmts[i].Exec([]driver.Value{number, chunk, o.GetConvId(), fingerprint}) //nolint:staticcheck // the driver's own interface, without the cost of the one above it
		if err != nil {
			return err
		}
		if n, err := used.RowsAffected(); err != nil || n == 1 {
			return err
		}
	}
	return fmt.Errorf("chunk %d, conversion %q: its stored attribution is gone", chunk, o.GetConvId())
}

func (s *stored) close() (err error) {
	for _, stmt := range s.stmts {
		if stmt != nil {
			err = errors.Join(err, stmt.Close())
		}
	}
	return err
}
