package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// The five tables shared with the users of the database, as this package makes
// them. The three that are read may be other tables or views, of the types that
// docs/postgres.md names. Keys go by bytes, so that they are in the order in which
// results are written. That of the first table comes with its first rows: see
// [addKey].
const (
	createCustomerJourney = `CREATE TABLE IF NOT EXISTS attribution_customer_journey (conv_id text COLLATE "C" NOT NULL, session_id text COLLATE "C" NOT NULL, ihc double precision NOT NULL)`

	createChannelReporting = `CREATE TABLE IF NOT EXISTS channel_reporting (channel_name text COLLATE "C" NOT NULL, date text COLLATE "C" NOT NULL, cost double precision NOT NULL, ihc double precision NOT NULL, ihc_revenue double precision NOT NULL, PRIMARY KEY (channel_name, date))`

	// InputSchema is the three tables the pipeline reads, as one script.
	InputSchema = `CREATE TABLE IF NOT EXISTS session_sources (session_id text NOT NULL PRIMARY KEY, user_id text NOT NULL, event_date text NOT NULL, event_time text NOT NULL, channel_name text NOT NULL, holder_engagement integer NOT NULL, closer_engagement integer NOT NULL, impression_interaction integer NOT NULL);
CREATE TABLE IF NOT EXISTS conversions (conv_id text NOT NULL PRIMARY KEY, user_id text NOT NULL, conv_date text NOT NULL, conv_time text NOT NULL, revenue double precision NOT NULL);
CREATE TABLE IF NOT EXISTS session_costs (session_id text NOT NULL PRIMARY KEY, cost double precision);
`
)

// migrations bring the pipeline's own tables from one version to the next, the
// first from none. They are never changed once released; a new version is a
// new file.
//
//go:embed migrations/*.sql
var migrations embed.FS

// schemaVersion is what this release reads and writes.
const schemaVersion = 4

// prepare makes sure that all tables a stage writes to are there, in a
// transaction of its own: whoever comes at the same time waits for it. What is
// there needs no right to create anything.
func (d *Database) prepare(ctx context.Context) error {
	if d.prepared.Load() {
		return nil
	}
	err := d.inTransaction(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		lz4 := false
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))`).Scan(&lz4)
		d.lz4.Store(lz4)
		if err != nil {
			return err
		}
		return d.migrate(ctx, tx)
	})
	if err == nil {
		d.prepared.Store(true)
	}
	return err
}

func (d *Database) migrate(ctx context.Context, tx pgx.Tx) error {
	version, results, err := present(ctx, tx)
	if err == nil && results && version == schemaVersion {
		return nil
	}
	if err == nil {
		// By schema, since each may have a pipeline of its own.
		_, err = tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('ihc pipeline'), hashtext(current_schema()))`)
	}
	if err == nil {
		version, results, err = present(ctx, tx) // as whoever was first left it
	}
	switch {
	case err != nil:
		return err
	case version > schemaVersion:
		return errkind.Inputf("database %s was last written by a later release (its tables have version %d, this one knows %d): use that release", d.name, version, schemaVersion)
	}
	script := createCustomerJourney + ";\n" + createChannelReporting + ";\n"
	if results {
		script = ""
	}
	for v := version + 1; v <= schemaVersion; v++ {
		text, err := migrations.ReadFile(fmt.Sprintf("migrations/%d.sql", v))
		if err != nil {
			return err
		}
		script += string(text)
	}
	if version == 0 {
		script += "CREATE TABLE pipeline_schema (version integer NOT NULL);\nINSERT INTO pipeline_schema VALUES (0);\n"
	}
	script += fmt.Sprintf("UPDATE pipeline_schema SET version = %d;\n", schemaVersion)
	_, err = tx.Conn().PgConn().Exec(ctx, script).ReadAll()
	if isCode(err, duplicateTable) {
		return errkind.Inputf("a table of database %s is not the pipeline's: %w; rename or drop all tables named pipeline_*, and they are created anew", d.name, err)
	}
	return err
}

// present returns the version of the tables that are there, 0 for none, and
// whether both tables of results are.
func present(ctx context.Context, tx pgx.Tx) (version int, results bool, err error) {
	var schema bool
	// From the catalogue itself: to_regclass goes on knowing, to the end of its
	// transaction, that there was no such table.
	err = tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE relname = 'pipeline_schema') > 0, count(DISTINCT relname) FILTER (WHERE relname <> 'pipeline_schema') = 2
		FROM pg_class WHERE relname IN ('pipeline_schema', 'attribution_customer_journey', 'channel_reporting') AND pg_table_is_visible(oid)`).Scan(&schema, &results)
	if err != nil || !schema {
		return 0, results, err
	}
	err = tx.QueryRow(ctx, `SELECT version FROM pipeline_schema`).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return version, results, err
}

// hasTables says whether the database has all of these tables or views.
func hasTables(ctx context.Context, tx pgx.Tx, names ...string) (there bool, err error) {
	err = tx.QueryRow(ctx, `SELECT coalesce(bool_and(to_regclass(name) IS NOT NULL), true) FROM unnest($1::text[]) AS name`, names).Scan(&there)
	return there, err
}
