//go:build postgres

package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
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
	return storetest.Backend{Name: name, NoNUL: true, Shares: "ihc", Damage: "ihc = '{}'", Versions: `SELECT ctid::text, xmin::text, xmax::text FROM attribution_customer_journey ORDER BY ctid`, Books: runTables, Import: Import, Open: func(dsn string) store.Database { return New(dsn) },
		New: func(t storetest.T) (string, *sql.DB) { return schema(t, server, InputSchema) }}
}

// On a server whose text is not ordered by its bytes, and whose time zone is not
// UTC.
func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, backend("Tables", pgtest.Start(t, pgtest.Options{ICU: "en-US", TimeZone: "Asia/Kolkata"})))
}

// documented returns the SQL that docs/postgres.md gives, block by block.
func documented() (blocks []string, err error) {
	text, err := os.ReadFile("../../docs/postgres.md")
	for _, part := range strings.Split(string(text), "```sql\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	return blocks, err
}

// The places in docs/postgres.md of what a role is granted.
const (
	toRun = iota
	toImport
)

// grant runs a block of docs/postgres.md for the role, and the schemas, of that
// number.
func grant(ctx context.Context, server *pgtest.Server, n string, block int) error {
	blocks, err := documented()
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, server.DSN("postgres")+"&search_path=source"+n)
	if err != nil {
		return err
	}
	names := strings.NewReplacer("pipeline", "pipeline"+n, " ihc", " ihc"+n, "public", "source"+n)
	_, err = conn.PgConn().Exec(ctx, names.Replace(blocks[block])).ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

// restricted is a role with the rights that docs/postgres.md grants and no others,
// with a schema of its own, beside that of the source tables. Its reports have room
// for few sessions at a time.
func restricted(server *pgtest.Server) storetest.Backend {
	b := backend("Role", server)
	b.Open = func(dsn string) store.Database {
		d := New(dsn)
		d.sessions = 7
		return d
	}
	b.New = func(t storetest.T) (string, *sql.DB) {
		n := fmt.Sprint(schemas.Add(1))
		root, err := pgx.ParseConfig(server.DSN("postgres") + "&search_path=ihc" + n + ",source" + n)
		require.NoError(t, err)
		root.DefaultQueryExecMode = pgx.QueryExecModeExec // tests change tables under their statements
		db := stdlib.OpenDB(*root)
		_, err = db.ExecContext(t.Context(), "CREATE SCHEMA source"+n+"; SET search_path = source"+n+"; "+InputSchema+"RESET search_path")
		require.NoError(t, err)
		require.NoError(t, grant(t.Context(), server, n, toRun))
		ended := context.WithoutCancel(t.Context())
		t.Cleanup(func() { // after the test has closed its connections
			conn, err := pgx.Connect(ended, server.DSN("postgres"))
			require.NoError(t, err)
			_, err = conn.Exec(ended, "DROP SCHEMA source"+n+" CASCADE; DROP OWNED BY pipeline"+n+" CASCADE; DROP ROLE pipeline"+n)
			require.NoError(t, errors.Join(err, conn.Close(ended), db.Close()))
		})
		return strings.Replace(server.DSN("postgres"), pgtest.User+"@", "pipeline"+n+"@", 1), db
	}
	b.Import = func(ctx context.Context, dsn string, o store.IntakeOptions, fill func(store.Intake) error) (done store.Imported, err error) {
		u, err := url.Parse(dsn)
		if err == nil {
			err = grant(ctx, server, strings.TrimPrefix(u.User.Username(), "pipeline"), toImport)
		}
		if err != nil {
			return done, err
		}
		return Import(ctx, dsn, o, fill)
	}
	return b
}

func TestConformanceOfARoleWithTheRightsThatAreDocumented(t *testing.T) {
	t.Parallel()
	storetest.Run(t, restricted(pgtest.Start(t, pgtest.Options{ICU: "de-DE", TimeZone: "America/New_York"})))
}
