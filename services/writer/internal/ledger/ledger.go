// Package ledger is the writer's half of the database: the attributions, and
// the record of which run got how far. Every method is one transaction, and
// doing it twice is the same as doing it once (invariant 3).
package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/source"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

//go:embed schema.sql
var schema string

// Ledger writes to one database, which may be replaced under it.
type Ledger struct {
	path        string
	keeper      *source.Keeper
	checkpoints *checkpoints
}

// Open returns a ledger of the database at path. Nothing is opened yet.
func Open(path string) *Ledger {
	return &Ledger{path: path, keeper: source.NewKeeper(path, source.Write),
		checkpoints: &checkpoints{keeper: source.NewKeeper(path, source.Write), between: rowsBetween}}
}

// Close closes the database.
func (l *Ledger) Close() error { return errors.Join(l.checkpoints.close(), l.keeper.Close()) }

// transaction is one, and the connection it is on.
type transaction struct {
	*sql.Tx
	conn *sql.Conn
}

// transact runs do in a transaction, in a database that has all tables. Errors
// are explained for people and classified (see [source.Explain]).
func (l *Ledger) transact(ctx context.Context, do func(transaction) error) error {
	db, fresh, err := l.keeper.DB(ctx)
	if err != nil {
		return err
	}
	if fresh {
		// A key's page is written again and again; copying it from the log
		// into the database is better done once in 65,536 pages than in 1,000,
		// and here only where the checkpoints beside it do not get that far.
		if _, err := db.ExecContext(ctx, `PRAGMA wal_autocheckpoint = 65536`); err != nil {
			return source.Explain(l.path, err)
		}
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return source.Explain(l.path, err)
	}
	defer conn.Close()
	begun, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return source.Explain(l.path, err)
	}
	tx := transaction{begun, conn}
	defer tx.Rollback()
	// Every time: a transaction that made them may have come to nothing, and
	// users may drop them.
	if err := createTables(ctx, tx); err != nil {
		return source.Explain(l.path, err)
	}
	if fresh {
		if err := l.checkTables(ctx, tx); err != nil {
			return err
		}
	}
	if err := do(tx); err != nil {
		return source.Explain(l.path, err)
	}
	return source.Explain(l.path, tx.Commit())
}

func createTables(ctx context.Context, tx transaction) error {
	for _, statement := range []string{source.CreateCustomerJourney, source.CreateChannelReporting, schema} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the pipeline's tables: %w", err)
		}
	}
	return nil
}

// checkTables makes sure that the tables by the pipeline's names are its own.
func (l *Ledger) checkTables(ctx context.Context, tx transaction) error {
	for table, query := range map[string]string{
		"pipeline_runs": `SELECT run_id, status, request, model, expected_chunks, expected_range, chunks, in_range, attributed, approximated, excluded,
			failed, without_sessions, touchpoints, requests, revision FROM pipeline_runs`,
		"pipeline_chunks": `SELECT run_id, chunk, revision, in_range, attributed, approximated, excluded, failed, without_sessions,
			touchpoints, requests FROM pipeline_chunks`,
		"pipeline_outcomes": `SELECT run_id, conv_id, chunk, outcome, reason, sessions FROM pipeline_outcomes`,
	} {
		_, err := tx.ExecContext(ctx, query+" LIMIT 0")
		if err != nil {
			if err = source.Explain(l.path, err); errkind.KindOf(err) == errkind.Run {
				err = errkind.Inputf("table %s of database %q is not the pipeline's: %w; rename or drop it, and it is created anew", table, l.path, err)
			}
			return err
		}
	}
	return nil
}

// Accept records that a run began, and with which settings.
func (l *Ledger) Accept(ctx context.Context, req *ihcv1.RunRequest) error {
	text, err := run.JSON(req, "")
	if err != nil {
		return err
	}
	return l.transact(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO pipeline_runs (run_id, request) VALUES (?1, ?2)
			ON CONFLICT (run_id) DO UPDATE SET request = ?2`, req.GetRunId(), string(text))
		return err
	})
}

// Expect records how many chunks and conversions a run has.
func (l *Ledger) Expect(ctx context.Context, id string, e *ihcv1.RunExtracted) error {
	return l.transact(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO pipeline_runs (run_id, expected_chunks, expected_range) VALUES (?1, ?2, ?3)
			ON CONFLICT (run_id) DO UPDATE SET expected_chunks = ?2, expected_range = ?3`, id, e.GetChunks(), e.GetCounts().GetInRange())
		return err
	})
}

// End records that a run was ended before its time: status is "failed" or
// "cancelled". A run that is written stays so.
func (l *Ledger) End(ctx context.Context, id, status string) error {
	return l.transact(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO pipeline_runs (run_id, status) VALUES (?1, ?2)
			ON CONFLICT (run_id) DO UPDATE SET status = ?2 WHERE status = 'running'`, id, status)
		return err
	})
}

// Store writes results that are not stored yet, all of them or none: the rows
// of attribution_customer_journey, the outcomes, and what they add to their
// runs. A conversion that has rows of an earlier run or result loses those,
// whatever became of it now: later results win whole conversions.
func (l *Ledger) Store(ctx context.Context, results []*ihcv1.AttributionResult) error {
	latest := journeys{}
	err := l.transact(ctx, func(tx transaction) error {
		for _, r := range results {
			if err := l.record(ctx, tx, r, latest); err != nil {
				return fmt.Errorf("record chunk %d of run %s: %w", r.GetChunk(), r.GetRunId(), err)
			}
		}
		if err := l.write(ctx, tx, latest); err != nil {
			return fmt.Errorf("store %s: %w", named(results), err)
		}
		return nil
	})
	if err == nil {
		l.checkpoints.stored(latest.rows())
	}
	return err
}

// named names the results of a batch.
func named(results []*ihcv1.AttributionResult) string {
	first := results[0]
	if len(results) == 1 {
		return fmt.Sprintf("chunk %d of run %s", first.GetChunk(), first.GetRunId())
	}
	return fmt.Sprintf("%d results, from chunk %d of run %s on", len(results), first.GetChunk(), first.GetRunId())
}

// journeys holds by conversion id what the latest result says of it: its
// attribution, or nil where it has none.
type journeys map[string]*ihcv1.Attribution

// rows counts what the attributions have in attribution_customer_journey.
func (j journeys) rows() (n int) {
	for _, a := range j {
		n += len(a.GetSessionIds())
	}
	return n
}

// record puts a result that is not stored yet into the run's books, and its
// conversions among the latest.
func (l *Ledger) record(ctx context.Context, tx transaction, r *ihcv1.AttributionResult, latest journeys) error {
	stored, err := l.forget(ctx, tx, r)
	if err != nil || stored {
		return err
	}
	counts := &ihcv1.Counts{}
	for _, a := range r.GetAttributions() {
		latest[a.GetConvId()] = a
		run.Add(counts, ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED, 1, uint64(len(a.GetSessionIds())))
	}
	for _, o := range r.GetOutcomes() {
		latest[o.GetConvId()] = nil
		run.Add(counts, o.GetKind(), 1, 0)
		_, err := tx.ExecContext(ctx, `INSERT INTO pipeline_outcomes (run_id, conv_id, chunk, outcome, reason, sessions) VALUES (?,?,?,?,?,?)`,
			r.GetRunId(), o.GetConvId(), r.GetChunk(), run.OutcomeName(o.GetKind()), o.GetReason(), o.GetSessions())
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO pipeline_chunks VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
		r.GetRunId(), r.GetChunk(), r.GetRevision(), counts.GetInRange(), counts.GetAttributed(), counts.GetApproximated(), counts.GetExcluded(),
		counts.GetFailed(), counts.GetWithoutSessions(), counts.GetTouchpoints(), r.GetRequests())
	if err != nil {
		return err
	}
	return l.add(ctx, tx, r, counts, +1)
}

// write replaces the rows of the conversions. It goes by the order of the
// table's key, so that each of its pages is visited once in a transaction, and
// removes what there was just before it inserts, while the page is at hand.
func (l *Ledger) write(ctx context.Context, tx transaction, latest journeys) error {
	return tx.conn.Raw(func(c any) (err error) {
		remove := newRows(c.(*sqlite3.SQLiteConn), `DELETE FROM attribution_customer_journey WHERE conv_id IN (`, "?", `)`, 1, 32)
		// Without OR FAIL, SQLite would keep what it takes to undo the one
		// statement; all of the transaction is undone if one fails.
		insert := newRows(c.(*sqlite3.SQLiteConn), `INSERT OR FAIL INTO attribution_customer_journey (conv_id, session_id, ihc) VALUES `, "(?,?,?)", ``, 3, 256)
		defer func() { err = errors.Join(err, remove.close(), insert.close()) }()
		for conversions := range slices.Chunk(slices.Sorted(maps.Keys(latest)), remove.most) {
			if err := ctx.Err(); err != nil {
				return err
			}
			for _, id := range conversions {
				if err := remove.add(id); err != nil {
					return err
				}
			}
			if err := remove.flush(); err != nil {
				return err
			}
			for _, id := range conversions {
				a := latest[id]
				var conv driver.Value = id // boxed once for all its rows
				for i, session := range a.GetSessionIds() {
					// Dividing two exact numbers gives the double nearest to the
					// decimal, the same one that parsing "0.5100" gives.
					if err := insert.add(conv, session, float64(a.GetIhc()[i])/10_000); err != nil {
						return err
					}
				}
			}
		}
		return insert.flush()
	})
}

// forget reports whether r is stored already. If what is stored of its chunk
// is an earlier revision, that is taken out.
func (l *Ledger) forget(ctx context.Context, tx transaction, r *ihcv1.AttributionResult) (stored bool, err error) {
	old := &ihcv1.AttributionResult{RunId: r.GetRunId(), Chunk: r.GetChunk()}
	c := &ihcv1.Counts{}
	err = tx.QueryRowContext(ctx, `SELECT revision, in_range, attributed, approximated, excluded, failed, without_sessions, touchpoints, requests
		FROM pipeline_chunks WHERE run_id = ? AND chunk = ?`, r.GetRunId(), r.GetChunk()).
		Scan(&old.Revision, &c.InRange, &c.Attributed, &c.Approximated, &c.Excluded, &c.Failed, &c.WithoutSessions, &c.Touchpoints, &old.Requests)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil || old.GetRevision() >= r.GetRevision():
		return true, err
	}
	for _, remove := range []string{
		`DELETE FROM pipeline_outcomes WHERE run_id = ? AND chunk = ?`,
		`DELETE FROM pipeline_chunks WHERE run_id = ? AND chunk = ?`,
	} {
		if _, err := tx.ExecContext(ctx, remove, r.GetRunId(), r.GetChunk()); err != nil {
			return false, err
		}
	}
	return false, l.add(ctx, tx, old, c, -1)
}

// add changes a run's sums by those of one chunk, sign times.
func (l *Ledger) add(ctx context.Context, tx transaction, r *ihcv1.AttributionResult, c *ihcv1.Counts, sign int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO pipeline_runs (run_id, chunks, in_range, attributed, approximated, excluded, failed, without_sessions, touchpoints, requests, revision, model)
		VALUES (?1, ?2, ?2*?3, ?2*?4, ?2*?5, ?2*?6, ?2*?7, ?2*?8, ?2*?9, ?2*?10, ?11, ?12)
		ON CONFLICT (run_id) DO UPDATE SET chunks = chunks + ?2, in_range = in_range + ?2*?3, attributed = attributed + ?2*?4,
			approximated = approximated + ?2*?5, excluded = excluded + ?2*?6, failed = failed + ?2*?7, without_sessions = without_sessions + ?2*?8,
			touchpoints = touchpoints + ?2*?9, requests = requests + ?2*?10, revision = revision + ?11, model = max(model, ?12)`,
		r.GetRunId(), sign, c.GetInRange(), c.GetAttributed(), c.GetApproximated(), c.GetExcluded(), c.GetFailed(), c.GetWithoutSessions(),
		c.GetTouchpoints(), r.GetRequests(), boolInt(sign > 0 && r.GetRevision() > 0), r.GetModel())
	return err
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// State is how far a run is by the ledger.
type State struct {
	// Complete: every chunk there is is stored, and every conversion in range
	// has an outcome (invariant 4).
	Complete bool
	// Wrong says, where the chunks are complete, in which way the counts do
	// not add up; it is empty when they do.
	Wrong    string
	Counts   *ihcv1.Counts
	Requests uint64
	Model    string
	Revision uint32
}

// Finish marks a run as written if it is complete, and returns its state.
func (l *Ledger) Finish(ctx context.Context, id string) (State, error) {
	s := State{Counts: &ihcv1.Counts{}}
	c := s.Counts
	var status string
	var chunks int64
	var wantChunks, wantRange sql.NullInt64
	err := l.transact(ctx, func(tx transaction) error {
		err := tx.QueryRowContext(ctx, `SELECT status, model, expected_chunks, expected_range, chunks, in_range, attributed, approximated, excluded, failed,
			without_sessions, touchpoints, requests, revision FROM pipeline_runs WHERE run_id = ?`, id).
			Scan(&status, &s.Model, &wantChunks, &wantRange, &chunks, &c.InRange, &c.Attributed, &c.Approximated, &c.Excluded, &c.Failed,
				&c.WithoutSessions, &c.Touchpoints, &s.Requests, &s.Revision)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if !wantChunks.Valid || chunks != wantChunks.Int64 || status == "failed" || status == "cancelled" {
			return nil
		}
		s.Complete = true
		if n := run.Accounted(c); n != c.GetInRange() || int64(n) != wantRange.Int64 {
			s.Wrong = fmt.Sprintf("the extractor read %d conversions, the results hold %d, of which %d have an outcome", wantRange.Int64, c.GetInRange(), n)
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE pipeline_runs SET status = 'written' WHERE run_id = ?`, id)
		return err
	})
	return s, err
}
