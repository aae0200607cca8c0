package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/packing"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// Adopt implements [store.Ledger].
func (d *Database) Adopt(ctx context.Context, superseded, successor string) (store.Stored, error) {
	var heir int64
	err := d.alone(ctx, pgx.TxOptions{}, func(tx pgx.Tx) (err error) {
		if heir, err = number(ctx, tx, successor); err != nil {
			return err
		}
		r, err := findRun(ctx, tx, superseded)
		if err != nil || r.run == 0 {
			return err
		}
		// What is shown of it stays its own.
		const unshown = ` FROM pipeline_journeys j WHERE j.run = $1 AND NOT EXISTS (SELECT 1 FROM pipeline_chunks c WHERE c.run = j.run AND c.chunk = j.chunk AND c.shown)`
		err = exec(ctx, tx, []string{
			`INSERT INTO pipeline_adopted (run, conv_id, fingerprint, journey)
				SELECT DISTINCT ON (conv_id) $2::integer, conv_id, fingerprint, journey` + unshown + ` ORDER BY conv_id, journey DESC ON CONFLICT DO NOTHING`,
			`UPDATE pipeline_journeys SET run = $2, chunk = 0 WHERE journey IN (SELECT journey` + unshown + `)`,
		}, r.run, heir)
		if err != nil {
			return err
		}
		return exec(ctx, tx, []string{
			`UPDATE pipeline_runs SET status = 'superseded' WHERE run = $1 AND status = 'running'`,
			`DELETE FROM pipeline_adopted WHERE run = $1`,
			`DELETE FROM pipeline_reused WHERE run = $1 AND NOT EXISTS (SELECT 1 FROM pipeline_chunks c WHERE c.run = $1 AND c.chunk = pipeline_reused.chunk AND c.shown)`,
			`DELETE FROM pipeline_reusable WHERE run = $1`,
		}, r.run)
	})
	if err != nil {
		return nil, err
	}
	return &found{d: d, rows: `SELECT conv_id, fingerprint FROM pipeline_adopted WHERE run = {arg}`, arg: heir}, nil
}

// found says what is stored: the conversions and fingerprints that rows gives, a query
// with an {arg}. Without rows, nothing is.
type found struct {
	d    *Database
	rows string
	arg  int64
}

// Has implements [store.Stored]. It is asked while journeys are read, and so does
// not wait for whoever is to close the database.
func (f *found) Has(ctx context.Context, conv string, fingerprint []byte) (there bool, err error) {
	if f.rows == "" {
		return false, nil
	}
	pool, err := f.d.open(ctx)
	if err == nil {
		query := `SELECT EXISTS (SELECT 1 FROM (` + f.rows + `) s WHERE s.conv_id = $2 AND s.fingerprint = $3)`
		err = pool.QueryRow(ctx, strings.ReplaceAll(query, "{arg}", "$1"), f.arg, conv, fingerprint).Scan(&there)
	}
	if err != nil && ctx.Err() != nil {
		return false, ctx.Err()
	}
	return there, f.d.explain(err)
}

// mostAtHand is of how many conversions it is held what is stored of them, in some
// 150 bytes each: of a few slices.
const mostAtHand = 4 * packing.SliceConversions

// For implements [store.Stored]. To ask the server of each conversion takes longer
// than to score it, however near the server is.
func (f *found) For(ctx context.Context, o journey.Options) (store.Stored, error) {
	if f.rows == "" {
		return f, nil
	}
	at := atHand{}
	err := f.d.reading(ctx, func(tx pgx.Tx) error {
		if o.Slice.Snapshot != "" {
			if err := see(ctx, tx, o.Slice.Snapshot); err != nil {
				return err
			}
		}
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		users, args := usersOf(o)
		args = append(args, f.arg, mostAtHand+1)
		// The inner LIMIT makes the database look up one conversion after the other. It
		// would read the journal as a whole for each slice, or what is stored for each row
		// where nobody counted that yet.
		query := `SELECT v.conv_id, s.fingerprint FROM {conversions} v
			CROSS JOIN LATERAL (SELECT fingerprint FROM (` + f.rows + `) s WHERE s.conv_id = v.conv_id COLLATE "C" LIMIT 1) s
			WHERE conv_date COLLATE "C" BETWEEN $1 AND $2{users} LIMIT {most}`
		found, err := tx.Query(ctx, from.in(query, "{users}", users, "{arg}", fmt.Sprintf("$%d", len(args)-1), "{most}", fmt.Sprintf("$%d", len(args))), args...)
		if err != nil {
			return err
		}
		var conv string
		var fingerprint []byte
		_, err = pgx.ForEachRow(found, []any{&conv, &fingerprint}, func() error {
			at[conv] = string(fingerprint)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is stored of the conversions: %w", err)
	}
	if len(at) > mostAtHand {
		return f, nil
	}
	return at, nil
}

// atHand are the fingerprints of conversions that have one stored.
type atHand map[string]string

// Has implements [store.Stored].
func (a atHand) Has(_ context.Context, conv string, fingerprint []byte) (bool, error) {
	stored, there := a[conv]
	return there && stored != "" && stored == string(fingerprint), nil
}

// For implements [store.Stored].
func (a atHand) For(context.Context, journey.Options) (store.Stored, error) { return a, nil }

// Reuse implements [store.Ledger]. What may be used is settled by the first call,
// and no more comes to it: where that is nothing, nobody need be asked for each
// conversion.
func (d *Database) Reuse(ctx context.Context, req *ihcv1.RunRequest, since time.Time) (store.Stored, error) {
	all := &found{d: d}
	err := d.alone(ctx, pgx.TxOptions{}, func(tx pgx.Tx) (err error) {
		if all.arg, err = number(ctx, tx, req.GetRunId()); err != nil {
			return err
		}
		if err := settleReuse(ctx, tx, all.arg, req, since); err != nil {
			return err
		}
		some := false
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pipeline_reusable WHERE run = $1)`, all.arg).Scan(&some)
		all.rows = ""
		if some {
			all.rows = `SELECT r.conv_id, r.fingerprint FROM pipeline_reusable r JOIN pipeline_journeys j ON j.journey = r.journey AND j.conv_id = r.conv_id
				WHERE r.run = {arg} AND ` + intact
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// settleReuse enters what a run may use, unless that was done.
func settleReuse(ctx context.Context, tx pgx.Tx, settles int64, req *ihcv1.RunRequest, since time.Time) error {
	first, err := tx.Exec(ctx, `UPDATE pipeline_runs SET reuses = true WHERE run = $1 AND status = 'running' AND NOT reuses`, settles)
	if err != nil || first.RowsAffected() == 0 {
		return err
	}
	within, args := "", []any{settles, oldest(since)}
	if ranged(req) {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		start, end := run.Range(req)
		within, args = from.in(` AND l.conv_id IN (SELECT conv_id FROM {conversions} v WHERE conv_date COLLATE "C" BETWEEN $3 AND $4)`), append(args, start, end)
	}
	_, err = tx.Exec(ctx, `INSERT INTO pipeline_reusable (run, conv_id, fingerprint, journey)
		SELECT $1, l.conv_id, j.fingerprint, j.journey FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey
		WHERE j.fingerprint IS NOT NULL AND j.scored >= $2`+within+` ORDER BY l.conv_id`, args...)
	return err
}

// oldest returns the least time of scoring that is not before since, in seconds.
func oldest(since time.Time) int64 {
	if since.IsZero() {
		return 0
	}
	return since.Unix()
}

// Shown implements [store.Source].
func (d *Database) Shown(ctx context.Context, since time.Time) (store.Stored, error) {
	ours := false
	err := d.reading(ctx, func(tx pgx.Tx) (err error) {
		ours, err = hasTables(ctx, tx, "pipeline_latest", "pipeline_journeys")
		return err
	})
	if err != nil || !ours {
		return nil, err // no run was here
	}
	return &found{d: d, rows: `SELECT l.conv_id, j.fingerprint FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey AND j.conv_id = l.conv_id
		WHERE j.scored >= {arg} AND ` + intact, arg: oldest(since)}, nil
}

// useStored are the statements that make conversions' stored attributions those of
// a run's chunks, in the order in which they are tried, and return the
// conversions: one that the run adopted becomes its own, one of another run stays
// that run's. A replay has settled nothing, and uses what is shown, if it is the
// same.
var useStored = [...]string{
	`UPDATE pipeline_journeys j SET chunk = u.chunk FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS u(chunk, conv_id, fingerprint), pipeline_adopted a
		WHERE a.run = $1 AND a.conv_id = u.conv_id AND (u.fingerprint IS NULL OR a.fingerprint = u.fingerprint) AND j.journey = a.journey RETURNING u.conv_id`,
	`WITH found AS (SELECT u.chunk, u.conv_id, r.journey FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS u(chunk, conv_id, fingerprint)
			JOIN pipeline_reusable r ON r.run = $1 AND r.conv_id = u.conv_id AND r.fingerprint = u.fingerprint JOIN pipeline_journeys j ON j.journey = r.journey),
		used AS (INSERT INTO pipeline_reused (run, chunk, journey) SELECT $1, chunk, journey FROM found)
		SELECT conv_id FROM found`,
	`WITH found AS (SELECT u.chunk, u.conv_id, l.journey FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS u(chunk, conv_id, fingerprint)
			JOIN pipeline_latest l ON l.conv_id = u.conv_id JOIN pipeline_journeys j ON j.journey = l.journey AND j.fingerprint = u.fingerprint),
		used AS (INSERT INTO pipeline_reused (run, chunk, journey) SELECT $1, chunk, journey FROM found)
		SELECT conv_id FROM found`,
}

// use makes the stored attributions of outcomes' conversions the chunks'.
func (t *taking) use(ctx context.Context, results []*ihcv1.AttributionResult) error {
	left := map[string]int{} // conversion → where it is below
	var chunks []int64
	var convs []string
	var prints [][]byte
	for _, r := range results {
		for _, o := range r.GetOutcomes() {
			if run.OutcomeOf(o.GetKind()).Attributed {
				left[o.GetConvId()] = len(convs)
				chunks, convs, prints = append(chunks, int64(r.GetChunk())), append(convs, o.GetConvId()), append(prints, bytesOrNull(o.GetFingerprint()))
			}
		}
	}
	for _, statement := range useStored {
		if len(left) == 0 {
			return nil
		}
		rows, err := t.tx.Query(ctx, statement, t.run, chunks, convs, prints)
		if err != nil {
			return err
		}
		used, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, conv := range used {
			delete(left, conv)
		}
		var restChunks []int64
		var restConvs []string
		var restPrints [][]byte
		for i, conv := range convs {
			if _, still := left[conv]; still {
				restChunks, restConvs, restPrints = append(restChunks, chunks[i]), append(restConvs, conv), append(restPrints, prints[i])
			}
		}
		chunks, convs, prints = restChunks, restConvs, restPrints
	}
	if len(convs) > 0 {
		return fmt.Errorf("chunk %d, conversion %q: its stored attribution is gone", chunks[0], convs[0])
	}
	return nil
}
