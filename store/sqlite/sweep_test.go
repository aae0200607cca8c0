package sqlite

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// complete stores all results of a run of two conversions, to be finished.
func complete(t *testing.T, d *Database, run string, share uint32) {
	t.Helper()
	require.NoError(t, d.Expect(t.Context(), run, &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 2}}))
	require.NoError(t, d.Store(t.Context(), scored(run, 1, sharedOut("b", share, 10_000-share), sharedOut("a", 10_000))))
}

func twoOrders(t *testing.T) string {
	return build(t, InputSchema+`; INSERT INTO conversions VALUES ('a', 'u', '2023-01-02', '12:00:00', 1), ('b', 'u', '2023-01-02', '13:00:00', 1)`)
}

func finish(t *testing.T, d *Database, run string) {
	t.Helper()
	s, err := d.Finish(t.Context(), run)
	require.NoError(t, err)
	require.True(t, s.Complete)
}

// The sweep writes into the file itself, where nobody else has it open.
func TestSweepDoesWithoutTheLog(t *testing.T) {
	t.Parallel()
	path := twoOrders(t)
	d := opened(t, path)
	complete(t, d, "one", 4000)
	require.FileExists(t, path+"-wal")
	finish(t, d, "one")
	require.NoFileExists(t, path+"-wal")
	require.Equal(t, []string{"a|a-s0|1", "b|b-s0|0.4", "b|b-s1|0.6"}, tableRows(t, path, shownQuery))
	complete(t, d, "two", 3000) // goes on with the log
	require.FileExists(t, path+"-wal")
	finish(t, d, "two")
	require.Equal(t, []string{"a|a-s0|1", "b|b-s0|0.3", "b|b-s1|0.7"}, tableRows(t, path, shownQuery))
}

// What goes out while the sweep goes on is what would have gone out at its end.
func TestSweepGoesOutWhileItGoesOn(t *testing.T) {
	t.Parallel()
	path := twoOrders(t)
	d := opened(t, path)
	d.checkpoints.between = 1
	complete(t, d, "one", 4000)
	finish(t, d, "one")
	require.Equal(t, []string{"a|a-s0|1", "b|b-s0|0.4", "b|b-s1|0.6"}, tableRows(t, path, shownQuery))
	complete(t, d, "two", 3000)
	finish(t, d, "two")
	require.Equal(t, []string{"a|a-s0|1", "b|b-s0|0.3", "b|b-s1|0.7"}, tableRows(t, path, shownQuery))
	writeOut(FileID{}) // is nobody's
}

// Whoever looks after a run does not have the file open when it is shown: every run
// that takes longer than to the first look is looked after.
func TestLookingAfterARunLeavesTheFileToItsSweep(t *testing.T) {
	t.Parallel()
	path := twoOrders(t)
	d := opened(t, path)
	complete(t, d, "one", 4000)
	looks := opened(t, path)
	missing, err := looks.Missing(t.Context(), "one", 2)
	require.NoError(t, err)
	require.Equal(t, []uint32{2}, missing)
	d.leaveLog(t.Context())
	require.NoFileExists(t, path+"-wal")
	finish(t, d, "one")
	require.Equal(t, []string{"a|a-s0|1", "b|b-s0|0.4", "b|b-s1|0.6"}, tableRows(t, path, shownQuery))
}

func TestOfADatabaseThatNoRunWasOnAllIsMissing(t *testing.T) {
	t.Parallel()
	path := twoOrders(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	missing, err := opened(t, path).Missing(t.Context(), "one", 2)
	require.NoError(t, err)
	require.Equal(t, []uint32{1, 2}, missing)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// Whoever has the file open reads on, in the state it began with.
func TestSweepBesideAReader(t *testing.T) {
	t.Parallel()
	path := twoOrders(t)
	d := opened(t, path)
	complete(t, d, "one", 4000)
	finish(t, d, "one")
	complete(t, d, "two", 3000)
	reader, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	defer reader.Close()
	tx, err := reader.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	share := func(q interface {
		QueryRow(string, ...any) *sql.Row
	}) (ihc float64) {
		require.NoError(t, q.QueryRow(`SELECT min(ihc) FROM attribution_customer_journey`).Scan(&ihc))
		return ihc
	}
	require.InDelta(t, 0.4, share(tx), 0)
	finish(t, d, "two")
	require.InDelta(t, 0.4, share(tx), 0)
	require.NoError(t, tx.Commit())
	require.InDelta(t, 0.3, share(reader), 0)
}

// A database whose writer was killed in the middle of a sweep is not read half
// written by somebody who cannot put it back.
func TestLeftInTheMiddleOfASweep(t *testing.T) {
	t.Parallel()
	path := twoOrders(t)
	d := opened(t, path)
	complete(t, d, "one", 4000)
	finish(t, d, "one")
	require.NoError(t, d.Close())
	left := filepath.Join(t.TempDir(), "left", "shop.db")
	require.NoError(t, os.Mkdir(filepath.Dir(left), 0o755))
	leaveInTheMiddle(t, path, left)

	unprivileged(t, filepath.Dir(left), func() {
		_, err := Open(t.Context(), left, Read)
		require.ErrorContains(t, err, "left in the middle of a transaction")
	})
	require.Equal(t, []string{"a|a-s0|1", "b|b-s0|0.4", "b|b-s1|0.6"}, tableRows(t, left, shownQuery))
}

// leaveInTheMiddle copies a database and its journal while a transaction has
// half of its pages in the file.
func leaveInTheMiddle(t *testing.T, path, left string) {
	t.Helper()
	execute(t, path, "", `PRAGMA journal_mode = DELETE`)
	db, err := sql.Open("sqlite3", "file:"+path+"?_cache_size=1")
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.Exec(`DELETE FROM attribution_customer_journey;
		INSERT INTO attribution_customer_journey WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
			SELECT 'x' || i, hex(randomblob(200)), 1 FROM n`)
	require.NoError(t, err)
	for _, suffix := range []string{"", "-journal"} {
		data, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NotEmpty(t, data)
		require.NoError(t, os.WriteFile(left+suffix, data, 0o644))
	}
}
