package sqlite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// opened returns the database at path, which is closed when the test ends.
func opened(t testing.TB, path string) *Database {
	t.Helper()
	d := New(path)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// tableRows returns a query's rows as text, in the order of the query.
func tableRows(t require.TestingT, path, query string, args ...any) []string {
	db, err := Open(context.Background(), path, Read)
	require.NoError(t, err)
	defer db.Close()
	found, err := db.Query(query, args...)
	require.NoError(t, err)
	defer found.Close()
	columns, err := found.Columns()
	require.NoError(t, err)
	var all []string
	for found.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, found.Scan(into...))
		all = append(all, strings.TrimSuffix(fmt.Sprintf(strings.Repeat("%v|", len(values)), values...), "|"))
	}
	require.NoError(t, found.Err())
	return all
}

const (
	shownQuery   = `SELECT conv_id, session_id, ihc FROM attribution_customer_journey ORDER BY conv_id, session_id`
	journalQuery = `SELECT run, conv_id FROM pipeline_journeys ORDER BY journey`
	ownTable     = `SELECT name FROM sqlite_schema WHERE name = 'pipeline_runs'`
)

func sharedOut(conv string, shares ...uint32) *ihcv1.Attribution {
	a := &ihcv1.Attribution{ConvId: conv, Ihc: shares}
	for i := range shares {
		a.SessionIds = append(a.SessionIds, fmt.Sprintf("%s-s%d", conv, i))
	}
	return a
}

func scored(run string, chunk uint32, attributions ...*ihcv1.Attribution) []*ihcv1.AttributionResult {
	return []*ihcv1.AttributionResult{{RunId: run, Chunk: chunk, Attributions: attributions}}
}

// The first transaction makes the tables, and takes them along when it fails.
func TestTablesAreMadeWithTheFirstResult(t *testing.T) {
	t.Parallel()
	path := build(t, InputSchema)
	d := opened(t, path)
	twice := sharedOut("b", 5000, 5000)
	twice.SessionIds[1] = twice.SessionIds[0]
	require.Error(t, d.Store(t.Context(), scored("run", 1, twice)))
	require.Empty(t, tableRows(t, path, ownTable))
	require.NoError(t, d.Store(t.Context(), scored("run", 1, sharedOut("a", 10_000))))
	require.NotEmpty(t, tableRows(t, path, ownTable))
}

// A database that is replaced under a running writer gets its tables too.
func TestReplacedDatabase(t *testing.T) {
	t.Parallel()
	path := build(t, InputSchema)
	d := opened(t, path)
	r := scored("run", 1, sharedOut("a", 10_000))
	require.NoError(t, d.Store(t.Context(), r))
	require.NoError(t, os.Rename(build(t, InputSchema), path))
	require.NoError(t, d.Store(t.Context(), r))
	require.Len(t, tableRows(t, path, journalQuery), 1)
}

// The file alone holds what was stored while the ledger is still open.
func TestCheckpointBesideTheWriter(t *testing.T) {
	t.Parallel()
	path := build(t, InputSchema)
	d := opened(t, path)
	d.checkpoints.between = 50
	copied := func() []string {
		to := filepath.Join(t.TempDir(), "copy.db")
		// By another process: this one would lose SQLite's locks.
		require.NoError(t, exec.Command("cp", path, to).Run())
		if len(tableRows(t, to, ownTable)) == 0 {
			return nil
		}
		return tableRows(t, to, journalQuery)
	}
	require.NoError(t, d.Store(t.Context(), scored("r", 1, sharedOut("a", 4000, 6000))))
	d.checkpoints.ends.Wait()
	require.Empty(t, copied(), "one small journey is not enough for one")
	require.NoError(t, d.Store(t.Context(), scored("r", 2, sharedOut("b", 10_000))))
	d.checkpoints.ends.Wait()
	require.Equal(t, []string{"1|a", "1|b"}, copied())
}

// A row that is shown already is neither deleted nor written again.
func TestSweepLeavesWhatDoesNotDifferUntouched(t *testing.T) {
	t.Parallel()
	for name, table := range map[string]string{"without row numbers": CreateCustomerJourney, "with row numbers": withRowNumbers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := build(t, InputSchema+table+`;
				CREATE TABLE touched (conv_id text);
				INSERT INTO conversions SELECT value, 'u', '2023-01-02', '12:00:00', 1 FROM json_each('["a", "b", "c"]')`)
			d := opened(t, path)
			touched := func(run string, b uint32) []string {
				execute(t, path, "", `DELETE FROM touched`)
				require.NoError(t, d.Expect(t.Context(), run, &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 3}}))
				require.NoError(t, d.Store(t.Context(), scored(run, 1, sharedOut("a", 3333, 6667), sharedOut("c", 10_000), sharedOut("b", b, 10_000-b))))
				// Triggers of the writing connection's own: those of the file are refused.
				db, _, err := d.writes.DB(t.Context())
				require.NoError(t, err)
				_, err = db.Exec(`CREATE TEMP TRIGGER added AFTER INSERT ON attribution_customer_journey BEGIN INSERT INTO touched VALUES (new.conv_id); END;
					CREATE TEMP TRIGGER deleted AFTER DELETE ON attribution_customer_journey BEGIN INSERT INTO touched VALUES (old.conv_id); END`)
				require.NoError(t, err)
				finish(t, d, run)
				return tableRows(t, path, `SELECT DISTINCT conv_id FROM touched ORDER BY conv_id`)
			}
			require.Equal(t, []string{"a", "b", "c"}, touched("one", 5000))
			require.Empty(t, touched("two", 5000))
			require.Equal(t, []string{"b"}, touched("three", 4000))
		})
	}
}
