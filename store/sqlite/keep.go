package sqlite

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/store"
)

// Of a run that is dropped one row is left as long as something of it is shown:
// attributions that later runs reuse, or why a conversion has none.

// underWay is how many later reports it takes at least until a run that never
// ended is taken for dead: it may be paused, or stuck, for days.
const underWay = 30

// Keep implements [store.Reports].
func (d *Database) Keep(ctx context.Context, runs int) error {
	if runs <= 0 {
		return nil
	}
	return d.transact(ctx, func(tx transaction) error {
		all, err := tx.ages(ctx)
		if err != nil {
			return err
		}
		age := 0 // in reports that came after
		for i, r := range all {
			if age >= runs && !r.dropped && (r.status != store.Running || age >= underWay) {
				if err := tx.withSources(ctx, salesByID, func() error { return tx.drop(ctx, r, all[:i]) }); err != nil {
					return err
				}
			}
			if r.report > 0 {
				age++
			}
		}
		return nil
	})
}

// aged is a run as [Database.Keep] sees it.
type aged struct {
	run, report int64
	id          string
	status      store.Status
	all         bool // its range is all dates
	dropped     bool
}

// ages returns all runs, the latest first.
func (tx transaction) ages(ctx context.Context) (all []aged, err error) {
	found, err := tx.QueryContext(ctx, `SELECT run, coalesce(report, 0), run_id, status, request, dropped FROM pipeline_runs ORDER BY run DESC`)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var r aged
		var request string
		if err := found.Scan(&r.run, &r.report, &r.id, &r.status, &request, &r.dropped); err != nil {
			return nil, err
		}
		req, err := run.Decode([]byte(request))
		r.all = err == nil && !ranged(req)
		all = append(all, r)
	}
	return all, found.Err()
}

// drop takes a run's records out; later are the runs after it.
func (tx transaction) drop(ctx context.Context, r aged, later []aged) error {
	if r.status == store.Running {
		if err := tx.end(ctx, r.id, string(store.Interrupted)); err != nil {
			return err
		}
	}
	statements := []string{
		`DELETE FROM pipeline_reused WHERE run = ?1`,
		`DELETE FROM pipeline_reusable WHERE run = ?1`,
		`DELETE FROM pipeline_adopted WHERE run = ?1`,
		`DELETE FROM pipeline_chunks WHERE run = ?1`,
		`DELETE FROM pipeline_counts WHERE run = ?1`,
		`UPDATE pipeline_runs SET dropped = 1, scored_by = '' WHERE run = ?1`,
		`DELETE FROM pipeline_totals WHERE report = ?2 AND report < (SELECT max(report) FROM pipeline_runs)`,
		`DELETE FROM pipeline_changes WHERE report = ?2 AND report < (SELECT max(report) FROM pipeline_runs)`,
		outcomesDropped(later),
	}
	if r.status != store.Written {
		// What nobody took over. Of a run that was written the sweep saw to it.
		statements = append(statements, `DELETE FROM pipeline_journeys WHERE run = ?1 AND journey NOT IN (SELECT journey FROM pipeline_latest)
			AND journey NOT IN (SELECT journey FROM pipeline_reusable) AND journey NOT IN (SELECT journey FROM pipeline_adopted)
			AND journey NOT IN (SELECT journey FROM pipeline_reused)`)
	}
	if r.run%looked == 0 {
		statements = append(statements, `DELETE FROM pipeline_runs WHERE dropped AND report IS NOT (SELECT max(report) FROM pipeline_runs)
			AND run NOT IN (SELECT run FROM pipeline_journeys) AND run NOT IN (SELECT run FROM pipeline_outcomes) AND run NOT IN (SELECT run FROM pipeline_told)`)
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement, r.run, r.report); err != nil {
			return err
		}
	}
	return nil
}

// looked: at every so many runs it is looked for rows of dropped ones that
// nothing refers to, which takes a reading of the journal.
const looked = 32

// outcomesDropped returns the statement that drops why conversions ended without
// an attribution, in this run and in those dropped before: that is told by the
// last run that came to the conversion.
func outcomesDropped(later []aged) string {
	const those = `DELETE FROM pipeline_outcomes WHERE run IN (SELECT run FROM pipeline_runs WHERE run <= ?1 AND dropped)`
	for _, l := range later {
		if l.status == store.Written && l.all {
			return those
		}
	}
	return those + ` AND (conv_id IN (SELECT conv_id FROM pipeline_latest) OR conv_id NOT IN (SELECT conv_id FROM conversions)
		OR conv_id IN (SELECT conv_id FROM pipeline_outcomes WHERE run > ?1))`
}
