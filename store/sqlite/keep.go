package sqlite

import (
	"context"

	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
)

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
		return history.Drop(all, runs, func(r history.Aged, settled bool) error {
			return tx.withSources(ctx, salesByID, func() error { return tx.drop(ctx, r, settled) })
		})
	})
}

// ages returns all runs, the latest first.
func (tx transaction) ages(ctx context.Context) (all []history.Aged, err error) {
	found, err := tx.QueryContext(ctx, `SELECT run, coalesce(report, 0), run_id, status, request, dropped FROM pipeline_runs ORDER BY run DESC`)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var r history.Aged
		if err := found.Scan(&r.Run, &r.Report, &r.ID, &r.Status, &r.Request, &r.Dropped); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, found.Err()
}

// drop takes a run's records out; settled is as in [history.Drop].
func (tx transaction) drop(ctx context.Context, r history.Aged, settled bool) error {
	if r.Status == store.Running {
		if err := tx.end(ctx, r.ID, string(store.Interrupted)); err != nil {
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
		outcomesDropped(settled),
	}
	if r.Status != store.Written {
		// What nobody took over. Of a run that was written the sweep saw to it.
		statements = append(statements, `DELETE FROM pipeline_journeys WHERE run = ?1 AND journey NOT IN (SELECT journey FROM pipeline_latest)
			AND journey NOT IN (SELECT journey FROM pipeline_reusable) AND journey NOT IN (SELECT journey FROM pipeline_adopted)
			AND journey NOT IN (SELECT journey FROM pipeline_reused)`)
	}
	if r.Run%history.Looked == 0 {
		statements = append(statements, `DELETE FROM pipeline_runs WHERE dropped AND report IS NOT (SELECT max(report) FROM pipeline_runs)
			AND run NOT IN (SELECT run FROM pipeline_journeys) AND run NOT IN (SELECT run FROM pipeline_outcomes) AND run NOT IN (SELECT run FROM pipeline_told)`)
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement, r.Run, r.Report); err != nil {
			return err
		}
	}
	return nil
}

// outcomesDropped returns the statement that drops why conversions ended without
// an attribution, in this run and in those dropped before: that is told by the
// last run that came to the conversion.
func outcomesDropped(settled bool) string {
	const those = `DELETE FROM pipeline_outcomes WHERE run IN (SELECT run FROM pipeline_runs WHERE run <= ?1 AND dropped)`
	if settled {
		return those
	}
	return those + ` AND (conv_id IN (SELECT conv_id FROM pipeline_latest) OR conv_id NOT IN (SELECT conv_id FROM conversions)
		OR conv_id IN (SELECT conv_id FROM pipeline_outcomes WHERE run > ?1))`
}
