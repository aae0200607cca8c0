package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// migrations bring the pipeline's own tables from one version to the next, the
// first from none. They are never changed once released; a new version is a
// new file.
//
//go:embed migrations/*.sql
var migrations embed.FS

// schemaVersion is what this release reads and writes.
const schemaVersion = 7

// columns are those of a table.
type columns struct{ table, names string }

// firstTables are the pipeline's tables of the first release with the columns
// that are taken over.
var firstTables = []columns{
	{"pipeline_runs", "run_id, status, request, model, expected_chunks, expected_range, chunks, requests, revision"},
	{"pipeline_chunks", "run_id, chunk, revision, attributed, approximated, excluded, failed, without_sessions, touchpoints, requests"},
	{"pipeline_outcomes", "run_id, chunk, conv_id, outcome, reason, sessions"},
}

// ownTables are the pipeline's tables at [schemaVersion] with their columns.
var ownTables = []columns{
	{"pipeline_runs", "run, run_id, status, request, model, expected_chunks, expected_range, chunks, requests, revision, next_journey, shown, asked, scoring, scored_by, request_seconds, reuses, program, source, report, dropped"},
	{"pipeline_database", "id"},
	{"pipeline_chunks", "run, chunk, revision, requests, shown"},
	{"pipeline_counts", "run, chunk, outcome, conversions, touchpoints"},
	{"pipeline_outcomes", "run, chunk, conv_id, outcome, reason, sessions"},
	{"pipeline_journeys", "journey, run, chunk, conv_id, fingerprint, sessions, shares, strategy, left_out, model, scored"},
	{"pipeline_latest", "conv_id, journey"},
	{"pipeline_adopted", "run, conv_id, fingerprint, journey"},
	{"pipeline_reusable", "run, conv_id, fingerprint, journey"},
	{"pipeline_reused", "run, chunk, journey"},
	{"pipeline_replaced", "journey"},
	{"pipeline_totals", "report, channel, ihc, ihc_revenue, cost"},
	{"pipeline_changes", "report, channel, cause, ihc, ihc_revenue, cost"},
	{"pipeline_told", "journey, conv_id, run, fingerprint, sessions, revenue, credit"},
	{"pipeline_untold", "journey"},
	{"pipeline_channels", "channel, name"},
	{"pipeline_daily_costs", "date, channel, begins, ends, cost, sessions"},
	{"pipeline_spread_costs", "session_id"},
	{"pipeline_currency", "code"},
}

// migrate makes sure, in the transaction, that all tables a stage writes to
// are there and are the pipeline's. It is done each time, since a transaction
// that made them may have come to nothing, and users may drop them: all at
// once, which begins anew.
func (d *Database) migrate(ctx context.Context, tx *sql.Tx) error {
	if err := checkSchema(ctx, tx, d.path); err != nil {
		return err
	}
	for _, table := range []string{CreateCustomerJourney, CreateChannelReporting} {
		if _, err := tx.ExecContext(ctx, table); err != nil {
			return fmt.Errorf("create the results' tables: %w", err)
		}
	}
	version, err := d.readVersion(ctx, tx)
	switch {
	case err != nil:
		return err
	case version == schemaVersion:
		return d.checkTables(ctx, tx, ownTables)
	case version > schemaVersion:
		return errkind.Inputf("database %q was last written by a later release (its tables have version %d, this one knows %d): use that release", d.path, version, schemaVersion)
	}
	if version == 1 {
		if err := d.checkTables(ctx, tx, firstTables); err != nil {
			return err
		}
	}
	for v := version + 1; v <= schemaVersion; v++ {
		script, err := migrations.ReadFile(fmt.Sprintf("migrations/%d.sql", v))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(script)); err != nil {
			return d.foreign("a table", err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM pipeline_schema; INSERT INTO pipeline_schema VALUES (%d)`, schemaVersion)); err != nil {
		return err
	}
	return d.checkTables(ctx, tx, ownTables)
}

// readVersion returns the version of the tables that are there, 0 for none. The
// first release kept no number.
func (d *Database) readVersion(ctx context.Context, tx *sql.Tx) (version int, err error) {
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS pipeline_schema (version integer NOT NULL)`); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, `SELECT version FROM pipeline_schema`).Scan(&version)
	if err == nil {
		return version, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return 0, d.foreign("table pipeline_schema", err)
	}
	var tables int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('pipeline_runs', 'pipeline_chunks', 'pipeline_outcomes')`).Scan(&tables)
	return min(tables, 1), err
}

// checkTables makes sure that tables by the pipeline's names have its columns.
func (d *Database) checkTables(ctx context.Context, tx *sql.Tx, want []columns) error {
	for _, c := range want {
		if _, err := tx.ExecContext(ctx, "SELECT "+c.names+" FROM "+c.table+" LIMIT 0"); err != nil { //nolint:gosec // both are constants
			return d.foreign("table "+c.table, err)
		}
	}
	return nil
}

// foreign tells that a table is somebody else's, which is an input error,
// unless err is one of the environment or the end of the context.
func (d *Database) foreign(table string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if err := Explain(d.path, err); errkind.KindOf(err) != errkind.Run {
		return err
	}
	return errkind.Inputf("%s of database %q is not the pipeline's: %w; rename or drop all tables named pipeline_*, and they are created anew", table, d.path, err)
}
