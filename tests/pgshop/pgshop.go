// Package pgshop puts shops into PostgreSQL for tests and measurements, and reads
// what a run left there, so that it can be compared bit for bit.
package pgshop

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/postgres"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// Copy puts the source tables of a SQLite file into a PostgreSQL database, which
// has none yet.
func Copy(ctx context.Context, file, dsn string) error {
	if err := Create(ctx, dsn); err != nil {
		return err
	}
	from, err := sql.Open("sqlite3", "file:"+file+"?mode=ro")
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // only read
	to, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer to.Close(ctx) //nolint:errcheck // what was copied is committed
	for _, table := range []string{tables.SessionSources, tables.Conversions, tables.SessionCosts} {
		if err := CopyRows(ctx, from, to, table, ""); err != nil {
			return err
		}
	}
	return nil
}

// Create makes the source tables, as this release would make them, empty.
func Create(ctx context.Context, dsn string) error {
	to, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer to.Close(ctx) //nolint:errcheck // what was made is committed
	_, err = to.PgConn().Exec(ctx, postgres.InputSchema).ReadAll()
	return err
}

// CopyRows copies those rows of a table that a condition in SQL, with its
// arguments, takes from a SQLite file to PostgreSQL; all for "".
func CopyRows(ctx context.Context, from *sql.DB, to *pgx.Conn, table, where string, args ...any) error {
	query := "SELECT * FROM " + table //nolint:gosec // a name of this package's callers
	if where != "" {
		query += " WHERE " + where
	}
	rows, err := from.QueryContext(ctx, query, args...) //nolint:sqlclosecheck // it is, below
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	_, err = to.CopyFrom(ctx, pgx.Identifier{table}, names, pgx.CopyFromFunc(func() ([]any, error) {
		if !rows.Next() {
			return nil, rows.Err()
		}
		return values, rows.Scan(into...)
	}))
	if err != nil {
		return fmt.Errorf("copy %s: %w", table, err)
	}
	return nil
}

// left are the tables that a run leaves, each with a query for what of it does
// not depend on the order in which results arrived, or on when.
var left = map[string]string{
	tables.CustomerJourney:  `SELECT conv_id, session_id, ihc FROM attribution_customer_journey`,
	tables.ChannelReporting: `SELECT channel_name, date, cost, ihc, ihc_revenue FROM channel_reporting`,
	"pipeline_runs":         `SELECT run_id, status, request, model, expected_chunks, expected_range FROM pipeline_runs`,
	"pipeline_chunks":       `SELECT run_id, chunk, c.revision, c.requests, c.shown FROM pipeline_chunks c JOIN pipeline_runs USING (run)`,
	"pipeline_counts":       `SELECT run_id, chunk, outcome, conversions, touchpoints FROM pipeline_counts JOIN pipeline_runs USING (run)`,
	"pipeline_outcomes":     `SELECT run_id, chunk, conv_id, outcome, reason, sessions FROM pipeline_outcomes JOIN pipeline_runs USING (run)`,
	"pipeline_journeys":     `SELECT run_id, chunk, conv_id, length(fingerprint), sessions, ihc, strategy, left_out, j.model FROM pipeline_journeys j JOIN pipeline_runs USING (run)`,
	"pipeline_latest":       `SELECT l.conv_id, run_id, chunk FROM pipeline_latest l LEFT JOIN pipeline_journeys USING (journey) LEFT JOIN pipeline_runs USING (run)`,
}

// Snapshot reads what runs left in a PostgreSQL database, as [snapshot.Take] reads
// a file: the users' two tables are written alike.
func Snapshot(ctx context.Context, dsn string) (snapshot.Tables, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx) //nolint:errcheck // only read
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // only read
	all := snapshot.Tables{}
	for table, query := range left {
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
		all[table], err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			values, err := row.Values()
			return snapshot.Row(values), err
		})
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
		slices.Sort(all[table])
	}
	return all, nil
}
