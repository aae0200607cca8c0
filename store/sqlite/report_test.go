package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tables"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
	"github.com/ihc-pipeline/ihc/store/storetest"
)

// Read in many parts side by side, with an index too small for all sessions,
// from a table with row numbers or without, it is the report of one reader.
func TestReportDoesNotDependOnTheParts(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		d := storetest.DrawShop(t)
		memory, err := sql.Open("sqlite3", ":memory:")
		require.NoError(t, err)
		defer memory.Close()
		memory.SetMaxOpenConns(1)
		numbered := rapid.Bool().Draw(t, "with row numbers")
		table := CreateCustomerJourney
		if numbered {
			table = withRowNumbers
		}
		_, err = memory.Exec(InputSchema + table)
		require.NoError(t, err)
		d.Insert(t, memory, 0)
		// Conversions whose shares do not sum to 1 are found wherever their rows lie.
		spoilt := rapid.IntRange(0, 40).Draw(t, "spoilt")
		_, err = memory.Exec(`UPDATE attribution_customer_journey SET ihc = 0.37 WHERE conv_id IN ('c'||?, 'c'||?)`, spoilt, spoilt+1)
		require.NoError(t, err)
		if numbered {
			_, err = memory.Exec(`UPDATE attribution_customer_journey SET rowid = -3 * rowid`)
			require.NoError(t, err)
		}
		n++
		path := filepath.Join(dir, fmt.Sprintf("shop%d.db", n))
		_, err = memory.Exec(`VACUUM INTO ?`, path)
		require.NoError(t, err)
		want, err := rebuild(context.Background(), "", memory, nil, &ihcv1.RunRequest{}, usual)
		require.NoError(t, err)

		db, err := Open(context.Background(), path, Write)
		require.NoError(t, err)
		defer db.Close()
		readers, err := Open(context.Background(), path, Read, Readers(3))
		require.NoError(t, err)
		defer readers.Close()
		got, err := rebuild(context.Background(), path, db, readers, &ihcv1.RunRequest{},
			sizes{rows: rapid.Int64Range(1, 90).Draw(t, "rows"), few: rapid.IntRange(8, 40).Draw(t, "slots"), most: rapid.IntRange(8, 40).Draw(t, "most"), hash: sessionindex.NewHash})
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// Every row of the table is in one part, also rows of conversions that are not
// in the database, and whatever order their ids have there.
func TestPartsCoverEachRowOnce(t *testing.T) {
	t.Parallel()
	id := rapid.OneOf(rapid.StringMatching(`[a-cA-C0-9]{0,3}`), rapid.SampledFrom([]string{"", "ü", "😀", "\x7f", "c10", "c9"}))
	rapid.Check(t, func(t *rapid.T) {
		db, err := sql.Open("sqlite3", ":memory:")
		require.NoError(t, err)
		defer db.Close()
		db.SetMaxOpenConns(1)
		table := rapid.SampledFrom([]string{CreateCustomerJourney, withRowNumbers,
			`CREATE TABLE attribution_customer_journey (conv_id text NOT NULL COLLATE NOCASE, session_id text NOT NULL, ihc real NOT NULL, rowid text, UNIQUE (conv_id, session_id))`}).Draw(t, "table")
		key := rapid.SampledFrom([]string{"conv_id text PRIMARY KEY", "conv_id text PRIMARY KEY COLLATE NOCASE", "conv_id numeric"}).Draw(t, "key")
		_, err = db.Exec(table + `; CREATE TABLE conversions (` + key + `)`)
		require.NoError(t, err)
		for _, conv := range rapid.SliceOfN(id, 0, 30).Draw(t, "sold") {
			_, err = db.Exec(`INSERT OR IGNORE INTO conversions VALUES (?)`, conv)
			require.NoError(t, err)
		}
		for i, conv := range rapid.SliceOfN(id, 0, 60).Draw(t, "attributed") {
			_, err = db.Exec(`INSERT INTO attribution_customer_journey (conv_id, session_id, ihc) VALUES (?, ?, 1)`, conv, i)
			require.NoError(t, err)
		}
		conn, err := db.Conn(context.Background())
		require.NoError(t, err)
		defer conn.Close()
		parts, err := partition(context.Background(), conn, tables.CustomerJourney, rapid.Int64Range(1, 100).Draw(t, "rows"))
		require.NoError(t, err)
		var found []string
		for _, p := range parts {
			found = append(found, sessionsIn(t, conn, p)...)
		}
		slices.Sort(found)
		all := sessionsIn(t, conn, condition{})
		slices.Sort(all)
		require.Equal(t, all, found)
	})
}

func sessionsIn(t require.TestingT, conn *sql.Conn, in condition) (all []string) {
	args := make([]any, len(in.args))
	for i, v := range in.args {
		args[i] = v
	}
	rows, err := conn.QueryContext(context.Background(), `SELECT session_id FROM attribution_customer_journey`+in.where, args...)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		all = append(all, s)
	}
	require.NoError(t, rows.Err())
	return all
}

// The parts of a table without row numbers are found by its key.
func TestPartsAreFoundByTheKey(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, Schema+`INSERT INTO conversions VALUES ('a', 'u', '', '', 1), ('b', 'u', '', '', 1), ('c', 'u', '', '', 1)`), Read)
	require.NoError(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	parts, err := partition(t.Context(), conn, tables.CustomerJourney, 1)
	require.NoError(t, err)
	require.Len(t, parts, 4)
	for _, p := range parts {
		args := make([]any, len(p.args))
		for i, v := range p.args {
			args[i] = v
		}
		var id, parent, unused int
		var plan string
		require.NoError(t, conn.QueryRowContext(t.Context(), `EXPLAIN QUERY PLAN SELECT ihc FROM attribution_customer_journey`+p.where, args...).Scan(&id, &parent, &unused, &plan))
		require.Contains(t, plan, "USING PRIMARY KEY (conv_id")
	}
}

// Text, and numbers that cannot be summed, count as no share at all; the run
// goes on and names one of them.
func TestWhatCannotBeSummedIsToldAndCountsAsNothing(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, Schema+`
		INSERT INTO session_sources VALUES ('s', 'u', '2023-01-01', '12:00:00', 'SEO', 0, 0, 0), ('z', 'u', '2023-01-01', '12:00:00', 'SEO', 0, 0, 0);
		INSERT INTO conversions VALUES ('a', 'u', '2023-01-02', '12:00:00', 10), ('b', 'u', '2023-01-02', '12:00:00', 10), ('c', 'u', '2023-01-02', '12:00:00', 10);
		INSERT INTO attribution_customer_journey VALUES ('a', 's', 1), ('b', 's', 'half'), ('b', 'z', 1e300), ('c', 's', 9e999), ('c', 'z', x'00')`), Write)
	require.NoError(t, err)
	defer db.Close()
	totals, err := rebuild(t.Context(), "", db, nil, &ihcv1.RunRequest{}, usual)
	require.NoError(t, err)
	require.EqualValues(t, 4, totals.NoShare)
	require.Equal(t, `conv_id "b", session_id "s"`, totals.NoShareExample)
	require.Equal(t, 1.0, totals.Rows[0].IHC)
}

// A report that cannot tell two sessions apart is made again with another hash,
// and given up when no hash can: then they are the same.
func TestReportIsMadeAgainWhereHashesCollide(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, Schema+soundRows), Write)
	require.NoError(t, err)
	defer db.Close()
	want, err := rebuild(t.Context(), "", db, nil, &ihcv1.RunRequest{}, usual)
	require.NoError(t, err)
	tries := 0
	size := usual
	size.hash = func() sessionindex.Hash {
		if tries++; tries < 3 {
			return func(string) uint64 { return 7 }
		}
		return sessionindex.NewHash()
	}
	got, err := rebuild(t.Context(), "", db, nil, &ihcv1.RunRequest{}, size)
	require.NoError(t, err)
	require.Equal(t, 3, tries)
	require.Equal(t, want, got)

	size.hash = func() sessionindex.Hash { return func(string) uint64 { return 7 } }
	_, err = rebuild(t.Context(), "", db, nil, &ihcv1.RunRequest{}, size)
	require.ErrorIs(t, err, sessionindex.ErrCollision)
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}
