package sqlite

import (
	"context"

	"github.com/ihc-pipeline/ihc/store"
)

// Adopt implements [store.Ledger].
func (d *Database) Adopt(ctx context.Context, superseded, successor string) (store.Stored, error) {
	var run int64
	err := d.transactIf(ctx, d.still(successor), func(tx transaction) (err error) {
		if run, err = tx.number(ctx, successor); err != nil {
			return err
		}
		r, err := tx.run(ctx, superseded)
		if err != nil || r.run == 0 {
			return err
		}
		for _, statement := range []string{
			`UPDATE pipeline_runs SET status = 'superseded' WHERE run = ?1 AND status = 'running'`,
			`UPDATE pipeline_runs SET next_journey = min(next_journey, ?3) WHERE run = ?2`,
			`INSERT OR IGNORE INTO pipeline_adopted (run, conv_id, fingerprint, journey)
				SELECT ?2, conv_id, fingerprint, journey FROM pipeline_journeys WHERE run = ?1 AND journey >= ?3 ORDER BY conv_id, journey DESC`,
			`UPDATE pipeline_journeys SET run = ?2, chunk = 0 WHERE run = ?1 AND journey >= ?3`,
			`DELETE FROM pipeline_adopted WHERE run = ?1`,
			`DELETE FROM pipeline_reused WHERE run = ?1`,
			`DELETE FROM pipeline_reusable WHERE run = ?1`,
		} {
			if _, err := tx.ExecContext(ctx, statement, r.run, run, r.from); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	db, _, err := d.reads.DB(ctx)
	return &storedBefore{path: d.path, db: db, query: `SELECT ` + intactInSQL + `(j.conv_id, j.sessions, j.shares) FROM pipeline_adopted a JOIN pipeline_journeys j ON j.journey = a.journey AND j.conv_id = a.conv_id
		WHERE a.run = ?3 AND a.conv_id = ?1 AND a.fingerprint = ?2`, arg: run}, err
}
