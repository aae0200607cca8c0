package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/books"
)

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
	if r.wantChunks.Valid {
		results = books.Own(results, r.wantChunks.Int64)
	}
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
	look, err := tx.PrepareContext(ctx, `SELECT revision, requests FROM pipeline_chunks WHERE run = ? AND chunk = ?`)
	if err != nil {
		return nil, taken, err
	}
	defer look.Close()
	var fresh []*ihcv1.AttributionResult
	for _, r := range books.Latest(results) {
		var revision uint32
		var requests int64
		err := look.QueryRowContext(ctx, number, r.GetChunk()).Scan(&revision, &requests)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			fresh = append(fresh, r)
		case err != nil:
			return nil, taken, err
		case revision < r.GetRevision():
			if err := tx.forget(ctx, number, r.GetChunk()); err != nil {
				return nil, taken, err
			}
			taken.chunks--
			taken.requests -= requests
			fresh = append(fresh, r)
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
		for _, k := range books.Counts(r) {
			if err := counts.add(number, chunk, k.Outcome, k.Conversions, k.Touchpoints); err != nil {
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
			shares := seal(a.GetConvId(), sessions, encodeShares(a))
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
