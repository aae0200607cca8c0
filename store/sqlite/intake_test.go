package sqlite

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store"
)

func imported(t *testing.T, path string, o store.IntakeOptions, fill func(store.Intake)) store.Imported {
	t.Helper()
	done, err := Import(t.Context(), path, o, func(i store.Intake) error { fill(i); return nil })
	require.NoError(t, err)
	return done
}

// visits gives sessions of one user, by their ids and times.
func visits(t require.TestingT, i store.Intake, channel string, idsAndTimes ...string) {
	for n := 0; n < len(idsAndTimes); n += 2 {
		at := idsAndTimes[n+1]
		require.NoError(t, i.Session(idsAndTimes[n], "u", at[:10], at[11:], channel, false, false, false))
	}
}

func cell(t *testing.T, path, query string) string {
	t.Helper()
	rows, err := Rows(t.Context(), path, query)
	require.NoError(t, err)
	defer rows.Close()
	row, err := rows.Next()
	require.NoError(t, err)
	return row[0]
}

func TestAnImportThatFailsLeavesTheFileAsItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.db")
	broken := errors.New("broken")
	fail := func(i store.Intake) error {
		visits(t, i, "SEO", "s1", "2024-01-01 10:00:00")
		return broken
	}
	_, err := Import(t.Context(), path, store.IntakeOptions{}, fail)
	require.ErrorIs(t, err, broken)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	imported(t, path, store.IntakeOptions{}, func(i store.Intake) { visits(t, i, "SEO", "s0", "2024-01-01 10:00:00") })
	_, err = Import(t.Context(), path, store.IntakeOptions{}, fail)
	require.ErrorIs(t, err, broken)
	require.Equal(t, "s0", cell(t, path, `SELECT group_concat(session_id) FROM session_sources`))
}

func TestViewsAndQueriesOfOtherFilesAreRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := create(path)
	require.NoError(t, err)
	_, err = db.Exec(`CREATE TABLE visits (id integer, at timestamp, "odd ""name" blob, r real, n); INSERT INTO visits VALUES (1, '2024-01-01 10:00:00', x'6162', 0.1, NULL), (2, 1711324800, 'x', 1e20, 3);
		CREATE VIEW v AS SELECT id, at, r FROM visits WHERE id = 1`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for what, want := range map[string][][]string{
		"visits":                        {{"id", "at", `odd "name`, "r", "n"}, {"1", "2024-01-01 10:00:00", "ab", "0.1", ""}, {"2", "1711324800", "x", "100000000000000000000", "3"}},
		"v":                             {{"id", "at", "r"}, {"1", "2024-01-01 10:00:00", "0.1"}},
		"SELECT id + 1 AS next FROM v;": {{"next"}, {"2"}},
	} {
		rows, err := Rows(t.Context(), path, what)
		require.NoError(t, err)
		got := [][]string{rows.Columns()}
		for {
			row, err := rows.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			got = append(got, append([]string(nil), row...))
		}
		require.NoError(t, rows.Close())
		require.Equal(t, want, got)
	}
	for _, what := range []string{"none", "SELECT", "SELECT 1; DROP TABLE visits", "select load_extension('x')"} {
		_, err := Rows(t.Context(), path, what)
		require.Error(t, err, what)
	}
}
