package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// migrations bring the pipeline's own tables from one version to the next, the
// first from none. They are never changed once released; a new version is a
// new file.
//
//go:embed migrations/*.sql
var migrations embed.FS

// schemaVersion is what this release reads and writes.
const schemaVersion = 2

// ownTables are the pipeline's tables at [schemaVersion] with their columns.
var ownTables = map[string]string{
	"pipeline_runs":     "run, run_id, status, request, model, expected_chunks, expected_range, chunks, requests, revision, next_journey, shown",
	"pipeline_chunks":   "run, chunk, revision, requests, shown",
	"pipeline_counts":   "run, chunk, outcome, conversions, touchpoints",
	"pipeline_outcomes": "run, chunk, conv_id, outcome, reason, sessions",
	"pipeline_journeys": "journey, run, chunk, conv_id, fingerprint, sessions, shares",
	"pipeline_latest":   "conv_id, journey",
}

// migrate makes sure, in the transaction, that all tables a stage writes to
// are there and are the pipeline's. It is done each time, since a transaction
// that made them may have come to nothing, and users may drop them: all at
// once, which begins anew.
func (d *Database) migrate(ctx context.Context, tx *sql.Tx) error {
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
		return d.checkOwnTables(ctx, tx)
	case version > schemaVersion:
		return errkind.Inputf("database %q was last written by a later release (its tables have version %d, this one knows %d): use that release", d.path, version, schemaVersion)
	}
	for v := version + 1; v <= schemaVersion; v++ {
		script, err := migrations.ReadFile(fmt.Sprintf("migrations/%d.sql", v))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(script)); err != nil {
			return d.foreign("bring the pipeline's tables to version %d: %w; rename or drop all tables named pipeline_*, and they are created anew", v, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM pipeline_schema; INSERT INTO pipeline_schema VALUES (%d)`, schemaVersion)); err != nil {
		return err
	}
	return d.checkOwnTables(ctx, tx)
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
		return 0, d.foreign("table pipeline_schema is not the pipeline's: %w; rename or drop all tables named pipeline_*, and they are created anew", err)
	}
	var tables int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('pipeline_runs', 'pipeline_chunks', 'pipeline_outcomes')`).Scan(&tables)
	return min(tables, 1), err
}

// checkOwnTables makes sure that the tables by the pipeline's names are its own.
func (d *Database) checkOwnTables(ctx context.Context, tx *sql.Tx) error {
	for table, columns := range ownTables {
		if _, err := tx.ExecContext(ctx, "SELECT "+columns+" FROM "+table+" LIMIT 0"); err != nil {
			return d.foreign("table %s is not the pipeline's: %w; rename or drop all tables named pipeline_*, and they are created anew", table, err)
		}
	}
	return nil
}

// foreign returns an input error, unless the error is one of the environment
// or the end of the context.
func (d *Database) foreign(format string, args ...any) error {
	err := Explain(d.path, fmt.Errorf(format, args...))
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errkind.KindOf(err) == errkind.Run {
		return errkind.Inputf("database %q: %s", d.path, strings.TrimSpace(err.Error()))
	}
	return err
}
