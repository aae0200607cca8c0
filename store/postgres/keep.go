package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
)

// Keep implements [store.Reports].
func (d *Database) Keep(ctx context.Context, runs int) error {
	if runs <= 0 {
		return nil
	}
	return d.alone(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT run, coalesce(report, 0), run_id, status, request, dropped = 1 FROM pipeline_runs ORDER BY run DESC`)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[history.Aged])
		if err != nil {
			return err
		}
		return history.Drop(all, runs, func(r history.Aged, settled bool) error { return drop(ctx, tx, r, settled) })
	})
}

// drop takes a run's records out; settled is as in [history.Drop].
func drop(ctx context.Context, tx pgx.Tx, r history.Aged, settled bool) error {
	if r.Status == store.Running {
		if err := end(ctx, tx, r.ID, store.Interrupted); err != nil {
			return err
		}
	}
	err := exec(ctx, tx, []string{
		`DELETE FROM pipeline_reused WHERE run = $1`,
		`DELETE FROM pipeline_reusable WHERE run = $1`,
		`DELETE FROM pipeline_adopted WHERE run = $1`,
		`DELETE FROM pipeline_chunks WHERE run = $1`,
		`DELETE FROM pipeline_counts WHERE run = $1`,
		`UPDATE pipeline_runs SET dropped = 1, scored_by = '' WHERE run = $1`,
		outcomesDropped(settled),
	}, r.Run)
	if err == nil {
		err = exec(ctx, tx, []string{
			`DELETE FROM pipeline_totals WHERE report = $1 AND report < (SELECT max(report) FROM pipeline_runs)`,
			`DELETE FROM pipeline_changes WHERE report = $1 AND report < (SELECT max(report) FROM pipeline_runs)`,
		}, r.Report)
	}
	if err == nil && r.Status != store.Written {
		// What nobody took over. Of a run that was written the sweep saw to it.
		_, err = tx.Exec(ctx, `DELETE FROM pipeline_journeys j WHERE j.run = $1 AND NOT EXISTS (SELECT 1 FROM pipeline_latest o WHERE o.journey = j.journey)
			AND NOT EXISTS (SELECT 1 FROM pipeline_reusable o WHERE o.journey = j.journey) AND NOT EXISTS (SELECT 1 FROM pipeline_adopted o WHERE o.journey = j.journey)
			AND NOT EXISTS (SELECT 1 FROM pipeline_reused o WHERE o.journey = j.journey)`, r.Run)
	}
	if err == nil && r.Run%history.Looked == 0 {
		_, err = tx.Exec(ctx, `DELETE FROM pipeline_runs r WHERE dropped = 1 AND report IS DISTINCT FROM (SELECT max(report) FROM pipeline_runs)
			AND NOT EXISTS (SELECT 1 FROM pipeline_journeys o WHERE o.run = r.run) AND NOT EXISTS (SELECT 1 FROM pipeline_outcomes o WHERE o.run = r.run)
			AND NOT EXISTS (SELECT 1 FROM pipeline_told o WHERE o.run = r.run)`)
	}
	return err
}

// outcomesDropped returns the statement that drops why conversions ended without
// an attribution, in this run and in those dropped before: that is told by the
// last run that came to the conversion.
func outcomesDropped(settled bool) string {
	const those = `DELETE FROM pipeline_outcomes d WHERE d.run IN (SELECT run FROM pipeline_runs WHERE run <= $1 AND dropped = 1)`
	if settled {
		return those
	}
	return those + ` AND (EXISTS (SELECT 1 FROM pipeline_latest o WHERE o.conv_id = d.conv_id) OR NOT EXISTS (SELECT 1 FROM conversions o WHERE o.conv_id::text COLLATE "C" = d.conv_id)
		OR EXISTS (SELECT 1 FROM pipeline_outcomes o WHERE o.conv_id = d.conv_id AND o.run > $1))`
}
