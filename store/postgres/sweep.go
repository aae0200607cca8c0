package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// unshown are the rows j of the journal that a run has and does not show yet: its
// own and those of other runs that it uses. They are joined as wholes: see
// [inBulk].
const unshown = `(
		SELECT c.chunk AS shown_by, j.* FROM pipeline_chunks c JOIN pipeline_journeys j ON j.run = c.run AND j.chunk = c.chunk WHERE c.run = $1 AND NOT c.shown
		UNION ALL SELECT c.chunk, j.* FROM pipeline_chunks c JOIN pipeline_reused u ON u.run = c.run AND u.chunk = c.chunk
			JOIN pipeline_journeys j ON j.journey = u.journey WHERE c.run = $1 AND NOT c.shown
	) j WHERE true`

// due is what a run has in the journal and does not show yet, one row a
// conversion. gone are conversions that are in conversions no more.
const due = `due AS MATERIALIZED (
	SELECT d.*, v.conv_id IS NULL AS gone FROM (
		SELECT DISTINCT ON (j.conv_id) j.conv_id, j.journey, j.shown_by AS chunk
		FROM ` + unshown + ` ORDER BY j.conv_id, j.journey DESC) d LEFT JOIN {conversions} v ON v.conv_id = d.conv_id)`

// The conversions that a run leaves without attribution: those that ended without
// one in a chunk that is not shown yet, since of the others a later run may know
// better, and those that are in no table any more.
const without = `(SELECT o.conv_id FROM pipeline_outcomes o JOIN pipeline_chunks c USING (run, chunk) WHERE o.run = $1 AND NOT c.shown
	UNION ALL SELECT t.conv_id FROM {of} t WHERE NOT EXISTS (SELECT 1 FROM {conversions} v WHERE v.conv_id = t.conv_id))`

// inBulk makes the database join tables as wholes. What was just written has no
// statistics yet: row by row looks cheap then, and takes for ever.
func inBulk(ctx context.Context, tx pgx.Tx) error {
	return exec(ctx, tx, []string{`SET LOCAL enable_nestloop = off`, `SET LOCAL jit = off`}) // which the price of a loop that cannot be helped would call for
}

// sweep brings attribution_customer_journey to the state of the journal for a
// complete run of those counts, in the order of the table's key and within one
// transaction: whoever reads sees the state before or the state after (invariant 9).
func (d *Database) sweep(ctx context.Context, tx pgx.Tx, number int64, counts *ihcv1.Counts) error {
	work := store.Begin(ctx)
	work.Expect(1)
	if err := inBulk(ctx, tx); err != nil {
		return err
	}
	from, err := findSources(ctx, tx)
	if err != nil {
		return err
	}
	with := func(of, statement string) string {
		return from.in(statement, "{without}", without, "{due}", due, "{of}", of)
	}
	err = exec(ctx, tx, []string{
		with("pipeline_latest", `INSERT INTO pipeline_replaced SELECT journey FROM pipeline_latest WHERE conv_id IN {without} ON CONFLICT DO NOTHING`),
		with("pipeline_latest", `DELETE FROM pipeline_latest WHERE conv_id IN {without}`),
	}, number)
	if err != nil {
		return err
	}
	// What is gone is put on record, so that the report can tell (see [books.Gone]).
	replaced, err := tx.Exec(ctx, with("", `WITH {due}, told AS (INSERT INTO pipeline_outcomes (run, chunk, conv_id, outcome, reason, sessions)
				SELECT $1, due.chunk, due.conv_id, '`+books.Gone+`', 'not in conversions any more', cardinality(j.sessions) FROM due JOIN pipeline_journeys j USING (journey) WHERE gone
				ON CONFLICT (run, chunk, conv_id) DO UPDATE SET outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, sessions = EXCLUDED.sessions)
			INSERT INTO pipeline_replaced SELECT l.journey FROM due JOIN pipeline_latest l USING (conv_id) WHERE l.journey <> due.journey
			UNION SELECT journey FROM due WHERE gone ON CONFLICT DO NOTHING`), number)
	if err != nil {
		return err
	}
	var some bool // rows of the table
	var shown int64
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM attribution_customer_journey), (SELECT count(*) FROM pipeline_latest)`).Scan(&some, &shown); err != nil {
		return err
	}
	written := 0.0
	if some {
		written = Rates.Replace.Touchpoint * float64(replaced.RowsAffected()) /
			max(Rates.Sweep.Touchpoint*float64(run.WithAttribution(counts))+Rates.Shown.Touchpoint*float64(shown), 1)
	}
	work.Expect(written)
	work.Add(partLooked)
	if some {
		if err = addKey(ctx, tx); err == nil {
			err = replace(ctx, tx, number, with, work, written)
		}
	} else {
		err = d.fill(ctx, tx, number, counts.GetTouchpoints(), work, with("", `WITH {due} SELECT `+scoredColumns+` FROM due JOIN pipeline_journeys j USING (journey) WHERE NOT gone ORDER BY j.conv_id`))
	}
	if err != nil {
		return err
	}
	latest := with("", `WITH {due} INSERT INTO pipeline_latest AS l (conv_id, journey) SELECT conv_id, journey FROM due WHERE NOT gone ORDER BY conv_id`)
	if shown > 0 {
		latest += ` ON CONFLICT (conv_id) DO UPDATE SET journey = EXCLUDED.journey WHERE l.journey <> EXCLUDED.journey`
	}
	if _, err := tx.Exec(ctx, latest, number); err != nil {
		return err
	}
	work.Add(partLatest)
	return clean(ctx, tx, number)
}

// What parts of a sweep take, of all of it: to look for what goes; to fill an empty
// table and give it its key, or to look over one with rows and to replace what differs;
// and to note what is shown. The rest is to clean up.
const (
	partLooked   = 0.09
	partFilled   = 0.50
	partKey      = 0.27
	partReplaced = 0.68
	partLatest   = 0.12
)

// replace takes out of attribution_customer_journey what a run does not show, and
// puts in what it shows. Rows that are there already are left alone. To write what
// differs takes so many times as long as a sweep that finds nothing.
func replace(ctx context.Context, tx pgx.Tx, run int64, with func(of, statement string) string, work *store.Counter, written float64) error {
	if err := checkJournal(ctx, tx, unshown, run); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, with("attribution_customer_journey", `DELETE FROM attribution_customer_journey WHERE conv_id IN {without}`), run); err != nil {
		return err
	}
	work.Add(partLooked)
	// What differs is found by a join, in one pass: ON CONFLICT alone would lock, and so
	// write, each row that is there already.
	_, err := tx.Exec(ctx, with("", `WITH {due}, shown AS (
			SELECT due.conv_id, s.session_id, s.ihc::double precision / 10000 AS ihc FROM due JOIN pipeline_journeys j USING (journey), LATERAL unnest(j.sessions, j.ihc) AS s(session_id, ihc) WHERE NOT gone
		), differ AS MATERIALIZED (
			SELECT conv_id, session_id, shown.ihc, shown.conv_id IS NULL AS over
			FROM shown FULL JOIN (SELECT a.* FROM attribution_customer_journey a JOIN due USING (conv_id) WHERE NOT gone) a USING (conv_id, session_id)
			WHERE shown.conv_id IS NULL OR a.ihc IS DISTINCT FROM shown.ihc
		), removed AS (
			DELETE FROM attribution_customer_journey a USING differ d WHERE d.over AND a.conv_id = d.conv_id AND a.session_id = d.session_id)
		INSERT INTO attribution_customer_journey (conv_id, session_id, ihc)
		SELECT conv_id, session_id, ihc FROM differ WHERE NOT over ORDER BY conv_id, session_id COLLATE "C"
		ON CONFLICT (conv_id, session_id) DO UPDATE SET ihc = EXCLUDED.ihc`), run)
	work.Add(partReplaced + written)
	return err
}

// clean drops from the journal what is shown no more.
func clean(ctx context.Context, tx pgx.Tx, run int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM pipeline_reusable WHERE run = $1`, run); err != nil {
		return err
	}
	err := exec(ctx, tx, []string{
		`DELETE FROM pipeline_replaced r USING pipeline_journeys j, pipeline_latest l WHERE j.journey = r.journey AND l.conv_id = j.conv_id AND l.journey = j.journey`,
		`DELETE FROM pipeline_journeys j USING pipeline_replaced r WHERE j.journey = r.journey AND NOT EXISTS (SELECT 1 FROM pipeline_reusable u WHERE u.journey = j.journey)`,
		`DELETE FROM pipeline_replaced r WHERE NOT EXISTS (SELECT 1 FROM pipeline_journeys j WHERE j.journey = r.journey)`,
	})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM pipeline_journeys WHERE run = $1 AND chunk = 0`, run)
	return err
}
