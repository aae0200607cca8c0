package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tabular"
)

// drained reads at most so many rows and returns the last of them.
func drained(t *testing.T, rows tabular.Rows, most int) (last []string, err error) {
	t.Helper()
	for range most {
		row, err := rows.Next()
		if err != nil {
			return last, err
		}
		require.Len(t, row, len(rows.Columns()))
		last = append(last[:0], row...)
	}
	return last, io.EOF
}

// requireExplained: what ends a reading is its end, or is explained.
func requireExplained(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, io.EOF) && !errors.Is(err, context.DeadlineExceeded) {
		require.Contains(t, []errkind.Kind{errkind.Input, errkind.Environment}, errkind.KindOf(err), "%v", err)
	}
}

// FuzzValuesOfRows stores any value under any name of a column: what is read is
// that value, also where the column is declared as a time.
func FuzzValuesOfRows(f *testing.F) {
	for _, declared := range []string{"text", "blob", "timestamp", "boolean", ""} {
		f.Add(byte(0), declared, []byte("Ä;\x00\n"), int64(0), 0.0)
		f.Add(byte(1), declared, []byte{0xff, 0}, int64(0), 0.0)
		f.Add(byte(2), declared, []byte(nil), int64(-1<<63), 0.0)
		f.Add(byte(3), declared, []byte(nil), int64(0), 0.1)
		f.Add(byte(3), declared, []byte(nil), int64(0), -1.0)
		f.Add(byte(4), declared, []byte(nil), int64(0), 1e300)
	}
	f.Fuzz(func(t *testing.T, kind byte, declared string, data []byte, whole int64, fraction float64) {
		path := filepath.Join(t.TempDir(), "any.db")
		db, err := sql.Open("sqlite3", path)
		require.NoError(t, err)
		stored := []any{string(data), data, whole, fraction, nil}[kind%5]
		// A quoted type is one word, whatever is in it.
		_, err = db.Exec(`CREATE TABLE t (x ` + identifier(declared) + `)`)
		if err == nil {
			_, err = db.Exec(`INSERT INTO t VALUES (?)`, stored)
		}
		var text sql.NullString
		var is string
		if err == nil {
			err = db.QueryRow(`SELECT typeof(x), CAST(+x AS text) FROM t`).Scan(&is, &text)
		}
		require.NoError(t, db.Close())
		if err != nil {
			t.Skip("it cannot be stored") // a NUL in the name of a type
		}
		rows, err := Rows(t.Context(), path, "t")
		require.NoError(t, err)
		defer rows.Close()
		row, err := rows.Next()
		require.NoError(t, err)
		switch is {
		case "real": // to the bit, where SQLite's own text has 15 digits
			want := fraction
			if kind%5 != 3 {
				want, err = strconv.ParseFloat(text.String, 64)
				require.NoError(t, err)
			}
			got, err := strconv.ParseFloat(row[0], 64)
			require.NoError(t, err)
			if got != want { // which infinity is
				require.InDelta(t, want, got, 1e-12*max(1, math.Abs(want)))
			}
		default:
			require.Equal(t, text.String, row[0], is)
		}
	})
}

// FuzzRowsOf reads what is asked for, whatever it says, of whatever the file is:
// there are rows, or an error says what is wrong, and the file is as it was.
func FuzzRowsOf(f *testing.F) {
	path := filepath.Join(f.TempDir(), "shop.db")
	db, err := sql.Open("sqlite3", path)
	require.NoError(f, err)
	_, err = db.Exec(Schema + soundRows + `CREATE VIEW v AS SELECT count(*) AS n FROM conversions`)
	require.NoError(f, errors.Join(err, db.Close()))
	sound, err := os.ReadFile(path)
	require.NoError(f, err)
	for _, what := range []string{"conversions", "v", `"`, "none", "SELECT 1; DROP TABLE conversions", "SELECT * FROM v -- )", "with d as (delete from v) select 1",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n", "SELECT load_extension('x')", "select 1 a, 1 a, 1 \"a:1\""} {
		f.Add(sound, what)
	}
	later := slices.Clone(sound)
	later[47] = 9 // the number of a format that is not there yet
	f.Add(later, "conversions")
	f.Add(sound[:5000], "conversions")
	f.Add([]byte("SQLite format 3\x00"), "conversions")
	f.Fuzz(func(t *testing.T, data []byte, what string) {
		path := filepath.Join(t.TempDir(), "any.db")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		rows, err := Rows(ctx, path, what)
		if err == nil {
			_, err = drained(t, rows, 1000)
			require.NoError(t, rows.Close())
		}
		requireExplained(t, err)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, data, after)
	})
}
