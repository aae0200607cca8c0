//go:build postgres

package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/storetest"
)

var schemas atomic.Int64

// schema makes a schema of its own in the server's database, with tables made by a
// script, and returns its address and a connection to it. Both end with the test.
func schema(t storetest.T, server *pgtest.Server, script string) (dsn string, db *sql.DB) {
	t.Helper()
	name := fmt.Sprintf("shop%d", schemas.Add(1))
	u, err := url.Parse(server.DSN("postgres"))
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	cfg, err := pgx.ParseConfig(u.String())
	require.NoError(t, err)
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // tests change tables under their statements
	db = stdlib.OpenDB(*cfg)
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+name+";\n"+script)
	require.NoError(t, err)
	ended := context.WithoutCancel(t.Context())
	t.Cleanup(func() { // after the test has closed its connections
		conn, err := pgx.Connect(ended, server.DSN("postgres"))
		require.NoError(t, err)
		_, err = conn.Exec(ended, "DROP SCHEMA "+name+" CASCADE")
		require.NoError(t, errors.Join(err, conn.Close(ended), db.Close()))
	})
	return u.String(), db
}

// runTables are the tables of runs.
var runTables = []string{"chunks", "counts", "outcomes", "reused", "reusable", "adopted", "replaced", "totals", "changes", "told", "channels", "latest", "journeys", "runs"}

// backend is a schema of its own on a server.
func backend(name string, server *pgtest.Server) storetest.Backend {
	return storetest.Backend{Name: name, NoNUL: true, Shares: "ihc", Damage: "ihc = '{}'", Books: runTables, Import: Import, Open: func(dsn string) store.Database { return New(dsn) },
		New: func(t storetest.T) (string, *sql.DB) { return schema(t, server, InputSchema) }}
}

// On a server whose text is not ordered by its bytes, and whose time zone is not
// UTC.
func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, backend("Tables", pgtest.Start(t, pgtest.Options{ICU: "en-US", TimeZone: "Asia/Kolkata"})))
}
