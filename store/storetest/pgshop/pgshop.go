// Package pgshop puts shops into PostgreSQL for tests and measurements.
package pgshop

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/postgres"
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
