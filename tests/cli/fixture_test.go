package cli

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the driver
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// rows is a shop small enough to know by heart: u1 buys twice, u2 once after a
// single visit, u3 was never seen.
const rows = `
INSERT INTO session_sources VALUES
	('s1', 'u1', '2023-09-01', '10:00:00', 'SEO', 1, 0, 0),
	('s2', 'u1', '2023-09-02', '11:00:00', 'Direct', 0, 1, 0),
	('s3', 'u1', '2023-09-05', '09:30:00', 'Paid Search', 1, 1, 0),
	('s4', 'u2', '2023-09-03', '20:15:00', 'Email', 0, 0, 1);
INSERT INTO conversions VALUES
	('c1', 'u1', '2023-09-02', '12:00:00', 100.5),
	('c2', 'u1', '2023-09-06', '08:00:00', 40),
	('c3', 'u2', '2023-09-04', '07:45:00', 9.99),
	('c4', 'u3', '2023-09-04', '12:00:00', 20);
INSERT INTO session_costs VALUES ('s1', 0.25), ('s3', 1.5);`

// sound is the small shop in the contract's schema, loose the same in tables
// that take anything.
const (
	sound = sqlite.InputSchema + rows
	loose = `
CREATE TABLE session_sources (session_id, user_id, event_date, event_time, channel_name, holder_engagement, closer_engagement, impression_interaction);
CREATE TABLE conversions (conv_id, user_id, conv_date, conv_time, revenue);
CREATE TABLE session_costs (session_id, cost);` + rows
)

// attributed is how many conversions of the small shop get an attribution.
const attributed = 3

// script makes a database by SQL.
func script(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=5000")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.SetMaxOpenConns(1) // pragmas hold for the connection
	for _, s := range statements {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
}

// smallShop makes the small shop in the house and returns its path.
func smallShop(h *house) string {
	h.t.Helper()
	path := h.path("shop.db")
	script(h.t, path, sound)
	return path
}

// text writes a file.
func text(t *testing.T, path, content string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// quote writes a text as SQL does.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// setting returns SQL that changes a value of the small shop.
func setting(table, column, id, value string) string {
	key := map[string]string{"conversions": "conv_id"}[table]
	if key == "" {
		key = "session_id"
	}
	return fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s = %s", table, column, value, key, quote(id))
}

// openForever opens a database and does work in it that is not finished.
func openForever(t *testing.T, path string, work ...string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=5000")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	for _, s := range work {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
	return db
}
