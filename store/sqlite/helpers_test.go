package sqlite

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// soundRows is a small shop in which nothing is odd.
const soundRows = `
INSERT INTO session_sources VALUES
 ('s1', 'u1', '2023-09-01', '10:00:00', 'Paid Search', 1, 0, 0),
 ('s2', 'u1', '2023-09-02', '23:59:59', 'Direct', 1, 1, 0),
 ('s3', 'u2', '2023-09-03', '00:00:00', 'Social', 0, 0, 1);
INSERT INTO conversions VALUES
 ('c1', 'u1', '2023-09-03', '12:00:00', 12.34),
 ('c2', 'u2', '2023-09-04', '12:00:00.5', 100);
INSERT INTO session_costs VALUES ('s1', 0.125), ('s2', 0), ('s3', 1.5);
`

// build writes a database by a script and returns its path.
func build(t testing.TB, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	execute(t, path, "", script)
	return path
}

// execute runs a script on the database at path, which is created if need be.
func execute(t testing.TB, path, query, script string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?"+query)
	require.NoError(t, err)
	_, err = db.Exec(script)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// withLog returns a database whose last row is in the write-ahead log alone,
// as a killed writer leaves it.
func withLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "live.db")
	db, err := sql.Open("sqlite3", "file:"+path+"?_journal_mode=WAL")
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec(Schema + soundRows + `PRAGMA wal_checkpoint(TRUNCATE);
		INSERT INTO session_costs VALUES ('s4', 4)`)
	require.NoError(t, err)
	left := filepath.Join(t.TempDir(), "left.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NotEmpty(t, data)
		require.NoError(t, os.WriteFile(left+suffix, data, 0o600))
	}
	return left
}

func costs(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM session_costs`).Scan(&n))
	return n
}

// unprivileged runs f with the rights of an ordinary user, whom the modes of
// dir and its files bind. Tests in a container are often run by the superuser.
func unprivileged(t *testing.T, dir string, f func()) {
	t.Helper()
	for d := filepath.Dir(dir); len(d) > len(filepath.Clean(os.TempDir())); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755)) // closed to other users as made
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	restore := dropRights()
	defer restore()
	f()
}
