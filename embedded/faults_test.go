//go:build postgres

package embedded

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// execute runs a script at an address.
func execute(t *testing.T, dsn, script string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.PgConn().Exec(t.Context(), script).ReadAll()
	require.NoError(t, err)
}

// midway asks for a run and executes a script once it was accepted and has its first
// results to store: before that a run refuses what it is not made for, such as
// triggers.
func midway(t *testing.T, dsn string, ask func(), script string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE pipeline_chunks IN EXCLUSIVE MODE`)
	require.NoError(t, err)
	ask()
	require.Eventually(t, func() bool {
		waiting := 0
		err := tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pipeline_chunks'::regclass`).Scan(&waiting)
		return err == nil && waiting > 0
	}, patience, 10*time.Millisecond)
	_, err = conn.PgConn().Exec(t.Context(), script).ReadAll()
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
}

// faulty is a shop in PostgreSQL that a run was made of, and the report of another
// run of the same rows in a file, to be held against.
func faulty(t *testing.T, server *pgtest.Server) (dsn, want string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shop.db")
	_, err := sqlite.GenerateShop(t.Context(), file, shop.Config{Sessions: 600, Seed: 3}, false)
	require.NoError(t, err)
	dsn = copied(t, server, file, "faulty", "")
	return dsn, reportOn(t, file, nil)
}

// reportOn makes two runs, of some dates and of all, and returns the report. Between
// them fault is called, if it is not nil, with the stack and what to call once the
// second run was asked for.
func reportOn(t *testing.T, name string, fault func(u *up, ask func())) string {
	t.Helper()
	out := t.TempDir()
	u := start(t, func(c *Config) { require.NoError(t, c.At(name, out)) })
	u.reportOf("first", &ihcv1.RunRequest{EndDate: "2023-06-30"})
	if fault == nil {
		u.reportOf("second", &ihcv1.RunRequest{Full: true})
	} else {
		fault(u, func() { u.request(&ihcv1.RunRequest{Full: true}) })
		require.NotNil(t, u.ends("run").GetReported())
	}
	csv, err := os.ReadFile(filepath.Join(out, reporter.CSVFile))
	require.NoError(t, err)
	u.Stop()
	return string(csv)
}

// What befalls a table in the middle of a run is told, waited for, and changes
// nothing once it is over.
func TestPostgresThatRefusesAStatementIsWaitedFor(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	dsn, want := faulty(t, server)
	for _, f := range []struct{ stage, table, code, says string }{
		{stream.StageWriter, "pipeline_chunks", "disk_full", "no space left for database"},
		{stream.StageWriter, "pipeline_journeys", "out_of_memory", "cannot be used"},
		{stream.StageWriter, "attribution_customer_journey", "lock_not_available", "is locked by another program"},
		{stream.StageReporter, "channel_reporting", "disk_full", "no space left for database"},
		{stream.StageReporter, "pipeline_told", "deadlock_detected", "is locked by another program"},
	} {
		require.Equal(t, want, reportOn(t, dsn, func(u *up, ask func()) {
			midway(t, dsn, ask, fmt.Sprintf(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '%s'; END $$;
				CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION refuse()`, f.code, f.table))
			u.waitsFor(f.stage, f.says)
			execute(t, dsn, `DROP FUNCTION refuse CASCADE`)
		}), f)
		execute(t, dsn, `TRUNCATE attribution_customer_journey, channel_reporting, pipeline_latest, pipeline_journeys, pipeline_told`)
	}
}

// Connections that are reset in the middle of anything are made anew.
func TestPostgresConnectionsThatAreResetAreMadeAnew(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	dsn, want := faulty(t, server)
	require.Equal(t, want, reportOn(t, dsn, func(_ *up, ask func()) {
		ask()
		for range 20 {
			execute(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ihc'`)
		}
	}))
}

// A timeout that is meant for people's statements ends none of a run's.
func TestPostgresTimeoutOfStatementsIsNotTheRuns(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	dsn, want := faulty(t, server)
	execute(t, dsn, `ALTER DATABASE postgres SET statement_timeout = '2s'`)
	require.Equal(t, want, reportOn(t, dsn, func(_ *up, ask func()) {
		midway(t, dsn, ask, `CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2.5); RETURN NULL; END $$;
			CREATE TRIGGER dawdle AFTER INSERT ON channel_reporting FOR EACH STATEMENT EXECUTE FUNCTION dawdle()`)
	}))
}

// A server that takes no writes is told at once, and in one line.
func TestPostgresThatIsReadOnlyIsTold(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	dsn, _ := faulty(t, server)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("default_transaction_read_only", "on")
	u.RawQuery = q.Encode()
	up := start(t, func(c *Config) { require.NoError(t, c.At(u.String(), t.TempDir())) })
	up.request(&ihcv1.RunRequest{})
	failed := up.ends("run").GetFailed()
	require.Contains(t, failed.GetReason(), "takes no results")
	require.Contains(t, failed.GetReason(), "name the primary server, and not a standby")
	require.NotContains(t, failed.GetReason(), "\n")
}
