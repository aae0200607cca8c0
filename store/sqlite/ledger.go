package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
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
func (d *Database) transact(ctx context.Context, do func(transaction) error) (err error) {
	d.use.RLock()
	defer d.use.RUnlock()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	d.opening.Lock()
	if d.uprooted() {
		d.opening.Unlock()
		return refuse("the database at %q was replaced while it was in use", d.path)
	}
	db, fresh, err := d.writes.DB(ctx)
	if err == nil && fresh {
		d.file, _ = Identity(d.path)
		d.log, _ = Identity(followed(d.path) + "-wal")
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
	defer tx.Rollback()
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

// Expect implements [store.Ledger].
func (d *Database) Expect(ctx context.Context, id string, e *ihcv1.RunExtracted) error {
	if err := d.inPlace(id); err != nil {
		return err
	}
	return d.transact(ctx, func(tx transaction) error {
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
	if err := d.inPlace(id); err != nil {
		return err
	}
	return d.transact(ctx, func(tx transaction) error { return tx.end(ctx, id, string(status)) })
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
	byRun := map[string][]*ihcv1.AttributionResult{}
	for _, r := range results {
		byRun[r.GetRunId()] = append(byRun[r.GetRunId()], r)
	}
	if err := d.inPlace(slices.Collect(maps.Keys(byRun))...); err != nil {
		return err
	}
	written := 0
	err := d.transact(ctx, func(tx transaction) error {
		written = 0
		for _, id := range slices.Sorted(maps.Keys(byRun)) {
			if err := d.checkStill(ctx, tx, id); err != nil {
				return err
			}
			n, err := tx.store(ctx, id, byRun[id])
			if err != nil {
				return fmt.Errorf("store %s: %w", named(byRun[id]), err)
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

// named names the results of a batch.
func named(results []*ihcv1.AttributionResult) string {
	first := results[0]
	if len(results) == 1 {
		return fmt.Sprintf("chunk %d of run %s", first.GetChunk(), first.GetRunId())
	}
	return fmt.Sprintf("%d results, from chunk %d of run %s on", len(results), first.GetChunk(), first.GetRunId())
}

// number returns what the other tables call a run, which is entered if it is
// not known.
func (tx transaction) number(ctx context.Context, id string) (number int64, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO pipeline_runs (run_id) VALUES (?) ON CONFLICT DO UPDATE SET run_id = run_id RETURNING run`, id).Scan(&number)
	return number, err
}

// store puts results of one run into its books and the journal, and returns
// about how many bytes that wrote. An ended run takes nothing.
func (tx transaction) store(ctx context.Context, id string, results []*ihcv1.AttributionResult) (bytes int, err error) {
	number, err := tx.number(ctx, id)
	if err != nil {
		return 0, err
	}
	r, err := tx.run(ctx, id)
	if err != nil || r.status.over() {
		return 0, err
	}
	results = r.own(results)
	if err := tx.checkScoring(ctx, number, id, results); err != nil {
		return 0, err
	}
	fresh, sums, err := tx.fresh(ctx, number, results)
	if err != nil || len(fresh) == 0 {
		return 0, err
	}
	err = tx.raw(func(c *sqlite3.SQLiteConn) error {
		bytes, err = insertResults(c, number, fresh)
		return err
	})
	if err != nil {
		return 0, err
	}
	model := ""
	for _, r := range fresh {
		sums.chunks++
		sums.requests += int64(r.GetRequests())
		sums.seconds += r.GetRequestSeconds()
		if r.GetRevision() > 0 {
			sums.revisions++
		}
		model = max(model, r.GetModel())
	}
	_, err = tx.ExecContext(ctx, `UPDATE pipeline_runs SET chunks = chunks + ?2, requests = requests + ?3, revision = revision + ?4,
		model = max(model, ?5), request_seconds = request_seconds + ?6, shown = 0 WHERE run = ?1`,
		number, sums.chunks, sums.requests, sums.revisions, model, sums.seconds)
	return bytes, err
}

// sums are what results add to their run.
type sums struct {
	chunks, requests, revisions int64
	seconds                     float64 // that requests took
}

// fresh returns those results that are not stored yet, in the order of their
// chunks, the highest revision of each. Where an earlier revision of a chunk
// is stored it is taken out; sums are what that takes from the run.
func (tx transaction) fresh(ctx context.Context, number int64, results []*ihcv1.AttributionResult) ([]*ihcv1.AttributionResult, sums, error) {
	var taken sums
	best := map[uint32]*ihcv1.AttributionResult{}
	for _, r := range results {
		if was := best[r.GetChunk()]; was == nil || r.GetRevision() > was.GetRevision() {
			best[r.GetChunk()] = r
		}
	}
	look, err := tx.PrepareContext(ctx, `SELECT revision, requests FROM pipeline_chunks WHERE run = ? AND chunk = ?`)
	if err != nil {
		return nil, taken, err
	}
	defer look.Close()
	var fresh []*ihcv1.AttributionResult
	for _, chunk := range slices.Sorted(maps.Keys(best)) {
		var revision uint32
		var requests int64
		err := look.QueryRowContext(ctx, number, chunk).Scan(&revision, &requests)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			fresh = append(fresh, best[chunk])
		case err != nil:
			return nil, taken, err
		case revision < best[chunk].GetRevision():
			if err := tx.forget(ctx, number, chunk); err != nil {
				return nil, taken, err
			}
			taken.chunks--
			taken.requests -= requests
			fresh = append(fresh, best[chunk])
		}
	}
	return fresh, taken, nil
}

// forget takes a chunk out of the books and the journal.
func (tx transaction) forget(ctx context.Context, number int64, chunk uint32) error {
	for _, statement := range []string{
		`UPDATE pipeline_journeys SET chunk = 0 WHERE run = ?1 AND chunk = ?2 AND journey IN (SELECT journey FROM pipeline_adopted WHERE run = ?1)`,
		`DELETE FROM pipeline_journeys WHERE run = ?1 AND chunk = ?2`,
		`DELETE FROM pipeline_reused WHERE run = ?1 AND chunk = ?2`,
		`DELETE FROM pipeline_outcomes WHERE run = ?1 AND chunk = ?2`,
		`DELETE FROM pipeline_counts WHERE run = ?1 AND chunk = ?2`,
		`DELETE FROM pipeline_chunks WHERE run = ?1 AND chunk = ?2`,
	} {
		if _, err := tx.ExecContext(ctx, statement, number, chunk); err != nil {
			return err
		}
	}
	return nil
}

// insertResults writes results that are not stored yet, and returns about how
// many bytes.
func insertResults(c *sqlite3.SQLiteConn, number int64, results []*ihcv1.AttributionResult) (bytes int, err error) {
	chunks := newRows(c, `INSERT INTO pipeline_chunks (run, chunk, revision, requests) VALUES `, "(?,?,?,?)", ``, 4, 128)
	counts := newRows(c, `INSERT INTO pipeline_counts (run, chunk, outcome, conversions, touchpoints) VALUES `, "(?,?,?,?,?)", ``, 5, 128)
	outcomes := newRows(c, `INSERT INTO pipeline_outcomes (run, chunk, conv_id, outcome, reason, sessions) VALUES `, "(?,?,?,?,?,?)", ``, 6, 128)
	journeys := newRows(c, `INSERT INTO pipeline_journeys (run, chunk, conv_id, fingerprint, sessions, shares, strategy, left_out, model, scored) VALUES `, "(?,?,?,?,?,?,?,?,?,?)", ``, 10, 64)
	all := []*rows{chunks, counts, outcomes, journeys}
	known := &stored{c: c}
	defer func() {
		err = errors.Join(err, known.close())
		for _, table := range all {
			err = errors.Join(err, table.close())
		}
	}()
	for _, r := range results {
		chunk := int64(r.GetChunk())
		if err := chunks.add(number, chunk, int64(r.GetRevision()), int64(r.GetRequests())); err != nil {
			return 0, err
		}
		for _, k := range countsOf(r) {
			if err := counts.add(number, chunk, run.OutcomeName(k.kind), k.conversions, k.touchpoints); err != nil {
				return 0, err
			}
		}
		if reused, touchpoints := reusedOf(r); reused > 0 {
			if err := counts.add(number, chunk, reusedName, reused, touchpoints); err != nil {
				return 0, err
			}
		}
		for _, o := range r.GetOutcomes() {
			if run.OutcomeOf(o.GetKind()).Attributed {
				if err := known.use(number, chunk, o); err != nil {
					return 0, err
				}
				continue
			}
			if err := outcomes.add(number, chunk, o.GetConvId(), run.OutcomeName(o.GetKind()), o.GetReason(), int64(o.GetSessions())); err != nil {
				return 0, err
			}
		}
		for _, a := range r.GetAttributions() {
			sessions, err := encodeSessions(a.GetSessionIds())
			if err == nil && len(a.GetIhc()) != len(a.GetSessionIds()) {
				err = fmt.Errorf("%d shares for %d sessions", len(a.GetIhc()), len(a.GetSessionIds()))
			}
			if err != nil {
				return 0, fmt.Errorf("chunk %d, conversion %q: %w", chunk, a.GetConvId(), err)
			}
			shares := encodeShares(a)
			bytes += len(a.GetConvId()) + len(sessions) + len(shares) + 16
			if err := journeys.add(number, chunk, a.GetConvId(), a.GetFingerprint(), sessions, shares,
				textOrNull(a.GetApproximation().GetStrategy()), int64(a.GetApproximation().GetLeftOut()), textOrNull(a.GetApproximation().GetModel()), r.GetScored()); err != nil {
				return 0, err
			}
		}
	}
	for _, table := range all {
		if err := table.flush(); err != nil {
			return 0, err
		}
	}
	return bytes, nil
}

// textOrNull returns NULL for no text.
func textOrNull(text string) driver.Value {
	if text == "" {
		return nil
	}
	return text
}

// kindCount is how many conversions of a chunk have one outcome.
type kindCount struct {
	kind                     ihcv1.OutcomeKind
	conversions, touchpoints int64
}

// countsOf counts a result's conversions by outcome, in the order of the kinds.
func countsOf(r *ihcv1.AttributionResult) []kindCount {
	by := map[ihcv1.OutcomeKind]*kindCount{}
	at := func(kind ihcv1.OutcomeKind) *kindCount {
		if by[kind] == nil {
			by[kind] = &kindCount{kind: kind}
		}
		return by[kind]
	}
	for _, a := range r.GetAttributions() {
		kind := ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED
		if a.GetApproximation() != nil {
			kind = ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED
		}
		k := at(kind)
		k.conversions++
		k.touchpoints += int64(len(a.GetSessionIds()))
	}
	for _, o := range r.GetOutcomes() {
		k := at(o.GetKind())
		k.conversions++
		if run.OutcomeOf(o.GetKind()).Attributed {
			k.touchpoints += int64(o.GetSessions())
		}
	}
	all := make([]kindCount, 0, len(by))
	for _, k := range by {
		all = append(all, *k)
	}
	slices.SortFunc(all, func(a, b kindCount) int { return cmp.Compare(a.kind, b.kind) })
	return all
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
	d.log = FileID{}
	return s, errors.Join(err, d.writes.Close()) // the next to open it goes back to the log
}

// errDue says that a run is complete and waits to be shown.
var errDue = errors.New("the run is to be shown")

// finish shows a run that is complete or, where it is not to show it, returns
// [errDue].
func (d *Database) finish(ctx context.Context, id string, show bool) (store.State, error) {
	var s store.State
	swept := 0
	if err := d.inPlace(id); err != nil {
		return s, err
	}
	err := d.transact(ctx, func(tx transaction) (err error) {
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
		if swept, err = d.sweep(ctx, tx, r); err != nil {
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
		d.checkpoints.written(swept)
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

// own returns the results that are of the run: once it is known how many chunks
// it has, one with a higher number comes from somebody who lost his work.
func (r runRow) own(results []*ihcv1.AttributionResult) []*ihcv1.AttributionResult {
	if !r.wantChunks.Valid {
		return results
	}
	return slices.DeleteFunc(slices.Clone(results), func(a *ihcv1.AttributionResult) bool { return int64(a.GetChunk()) > r.wantChunks.Int64 })
}

func (r runRow) complete() bool {
	return r.wantChunks.Valid && r.chunks == r.wantChunks.Int64 && !r.status.over()
}

// run returns a run's row, one that is not complete where there is none.
func (tx transaction) run(ctx context.Context, id string) (r runRow, err error) {
	err = tx.QueryRowContext(ctx, `SELECT run, status, model, expected_chunks, expected_range, chunks, requests, revision, next_journey, shown
		FROM pipeline_runs WHERE run_id = ?`, id).
		Scan(&r.run, &r.status, &r.model, &r.wantChunks, &r.wantRange, &r.chunks, &r.requests, &r.revision, &r.from, &r.shown)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	return r, err
}

// state adds up a complete run.
func (tx transaction) state(ctx context.Context, r runRow) (store.State, error) {
	s := store.State{Complete: true, Counts: &ihcv1.Counts{}, Requests: uint64(r.requests), Model: r.model, Revision: uint32(r.revision)}
	found, err := tx.QueryContext(ctx, `SELECT outcome, sum(conversions), sum(touchpoints) FROM pipeline_counts WHERE run = ? GROUP BY outcome`, r.run)
	if err != nil {
		return s, err
	}
	defer found.Close()
	for found.Next() {
		var outcome string
		var conversions, touchpoints uint64
		if err := found.Scan(&outcome, &conversions, &touchpoints); err != nil {
			return s, err
		}
		if outcome == reusedName {
			s.Counts.Reused = conversions
			continue
		}
		run.Add(s.Counts, run.OutcomeKind(outcome), conversions, touchpoints)
	}
	if n := run.Accounted(s.Counts); n != s.Counts.GetInRange() || int64(n) != r.wantRange.Int64 {
		s.Wrong = fmt.Sprintf("the extractor read %d conversions, the results hold %d, of which %d have an outcome", r.wantRange.Int64, s.Counts.GetInRange(), n)
	}
	return s, found.Err()
}
