//go:build postgres

package embedded

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/shop"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/sqlite"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

// typed is a shop as other systems keep it, under views with the names of the
// contract: moments with a time zone, flags that are boolean, amounts that are
// numeric.
const typed = `
CREATE TABLE visits (id text PRIMARY KEY, visitor text NOT NULL, began timestamptz NOT NULL, channel varchar(100) NOT NULL, holder boolean NOT NULL, closer boolean NOT NULL, impression boolean NOT NULL);
CREATE TABLE orders (id text PRIMARY KEY, buyer text NOT NULL, day date NOT NULL, clock time NOT NULL, amount numeric(14,4) NOT NULL);
CREATE TABLE spending (visit text PRIMARY KEY, amount numeric);
INSERT INTO visits SELECT session_id, user_id, (event_date||' '||event_time||'+00')::timestamptz, channel_name, holder_engagement = 1, closer_engagement = 1, impression_interaction = 1 FROM session_sources;
INSERT INTO orders SELECT conv_id, user_id, conv_date::date, conv_time::time, revenue FROM conversions;
INSERT INTO spending SELECT session_id, cost FROM session_costs;
DROP TABLE session_sources, conversions, session_costs;
CREATE VIEW session_sources AS SELECT id AS session_id, visitor AS user_id, began AS event_date, began AS event_time, channel AS channel_name, holder AS holder_engagement, closer AS closer_engagement, impression AS impression_interaction FROM visits;
CREATE VIEW conversions AS SELECT id AS conv_id, buyer AS user_id, day AS conv_date, clock AS conv_time, amount AS revenue FROM orders;
CREATE VIEW session_costs AS SELECT visit AS session_id, amount AS cost FROM spending;`

// copied puts the source tables of a SQLite file into a schema of its own, and
// returns its address.
func copied(t *testing.T, server *pgtest.Server, file, schema, script string) string {
	t.Helper()
	dsn := server.DSN("postgres") + "&search_path=" + schema
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	require.NoError(t, pgshop.Copy(t.Context(), file, dsn))
	for table, columns := range map[string]int{"session_sources": 8, "conversions": 5, "session_costs": 2} {
		rows, err := conn.Query(t.Context(), "SELECT * FROM "+table+" LIMIT 0")
		require.NoError(t, err)
		rows.Close()
		require.Len(t, rows.FieldDescriptions(), columns)
	}
	_, err = conn.PgConn().Exec(t.Context(), script).ReadAll()
	require.NoError(t, err)
	return dsn
}

// outcome is all that a run leaves which does not tell when it was.
type outcome struct {
	findings []string
	csv      string
	tables   [2][]string
	totals   []string
}

// results runs the pipeline on a database, with slices of so many conversions or
// as it comes, and returns what it left.
func results(t *testing.T, name string, slice int) (o outcome) {
	t.Helper()
	out := t.TempDir()
	u := start(t, func(c *Config) {
		require.NoError(t, c.At(name, out))
		c.Extractor.SliceConversions = slice
	})
	u.reportOf("first", &ihcv1.RunRequest{StartDate: "2023-08-01"})
	second := u.reportOf("second", &ihcv1.RunRequest{})
	require.NotZero(t, second.GetCounts().GetReused())
	u.reportOf("full", &ihcv1.RunRequest{Full: true, LookbackDays: 20})
	csv, err := os.ReadFile(filepath.Join(out, reporter.CSVFile))
	require.NoError(t, err)
	o.csv = string(csv)
	u.Stop()

	db := open.Database(name)
	defer db.Close()
	found, err := db.Validate(t.Context(), findings.Options{})
	require.NoError(t, err)
	o.findings = append(found.Lines(), found.Digest)
	for _, req := range []*ihcv1.RunRequest{{RunId: "full", LookbackDays: 20}, {RunId: "full", StartDate: "2023-08-10", EndDate: "2023-09-10"}, {RunId: "first", EndDate: "2023-08-20", Refunds: "subtract"}} {
		totals, err := db.Survey(t.Context(), req, store.View{})
		require.NoError(t, err)
		require.NotEmpty(t, totals.Journeys.Paths)
		paths := totals.Journeys
		totals.Journeys = nil
		o.totals = append(o.totals, fmt.Sprintf("%+v\n%+v", *totals, *paths))
	}
	o.tables = [2][]string{rowsOf(t, name, `SELECT conv_id, session_id, ihc FROM attribution_customer_journey`), rowsOf(t, name, `SELECT channel_name, date, cost, ihc, ihc_revenue FROM channel_reporting`)}
	return o
}

// rowsOf returns a query's rows in the order of their bytes.
func rowsOf(t *testing.T, name, query string) (all []string) {
	t.Helper()
	if !open.IsAddress(name) {
		db, err := sql.Open("sqlite3", name)
		require.NoError(t, err)
		defer db.Close()
		rows, err := db.Query(query)
		require.NoError(t, err)
		defer rows.Close()
		names, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			row, into := make([]any, len(names)), make([]any, len(names))
			for i := range row {
				into[i] = &row[i]
			}
			require.NoError(t, rows.Scan(into...))
			all = append(all, fmt.Sprintln(row...))
		}
		require.NoError(t, rows.Err())
	} else {
		conn, err := pgx.Connect(t.Context(), name)
		require.NoError(t, err)
		defer conn.Close(t.Context())
		rows, err := conn.Query(t.Context(), query)
		require.NoError(t, err)
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			values, err := row.Values()
			return fmt.Sprintln(values...), err
		})
		require.NoError(t, err)
	}
	slices.Sort(all)
	return all
}

// The same shop gives the same to the byte, on tables as the pipeline would make
// them and on views of other types; on a server whose text is not ordered by its
// bytes and whose time zone is not UTC.
func TestPostgresGivesWhatSQLiteGives(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{ICU: "en-US", TimeZone: "America/New_York"})
	file := filepath.Join(t.TempDir(), "shop.db")
	_, err := sqlite.GenerateShop(t.Context(), file, shop.Config{Sessions: 1500, Seed: 7}, false)
	require.NoError(t, err)
	db, err := sql.Open("sqlite3", file)
	require.NoError(t, err)
	for _, odd := range []string{ // what locales order otherwise, and refunds
		`UPDATE session_sources SET channel_name = 'éclair' WHERE rowid % 17 = 0`,
		`UPDATE session_sources SET channel_name = 'a-B' WHERE rowid % 19 = 0`,
		`UPDATE session_sources SET channel_name = '_x' WHERE rowid % 23 = 0`,
		`UPDATE conversions SET revenue = -revenue WHERE rowid % 11 = 0`,
		`UPDATE conversions SET revenue = 0.00005 WHERE rowid % 29 = 0`,
		`DELETE FROM session_costs WHERE rowid % 13 = 0`,
	} {
		_, err := db.Exec(odd)
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	plain := copied(t, server, file, "plain", "")
	parts := copied(t, server, file, "parts", "")
	views := copied(t, server, file, "views", strings.ReplaceAll(typed, "numeric(14,4)", "numeric"))
	want := results(t, file, 0)
	require.NotEmpty(t, want.tables[0])
	require.Equal(t, want, results(t, plain, 0))
	require.Equal(t, want, results(t, parts, 20), "read in slices")
	got := results(t, views, 0)
	require.Len(t, got.findings, len(want.findings))
	got.findings = want.findings // which name the rows that come first, and are of the values as they are stored
	require.Equal(t, want, got)
}
