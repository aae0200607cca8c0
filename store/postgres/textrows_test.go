//go:build postgres

package postgres

import (
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
)

func told(t *testing.T, address, what string) [][]string {
	t.Helper()
	rows, err := Rows(t.Context(), address, what)
	require.NoError(t, err, what)
	defer rows.Close()
	all := [][]string{append([]string(nil), rows.Columns()...)}
	for {
		row, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, what)
		all = append(all, append([]string(nil), row...))
		require.Equal(t, int64(len(all)-1), rows.Line())
	}
}

func TestTablesViewsAndQueriesOfPostgreSQLAreRead(t *testing.T) {
	t.Parallel()
	address := pgtest.Start(t, pgtest.Options{TimeZone: "Asia/Kolkata"}).DSN("postgres")
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `
		CREATE TABLE visits (id bigint PRIMARY KEY, at timestamptz, local timestamp, day date, price numeric(20,6), ratio double precision, said boolean, "Odd ""name" text, raw bytea);
		INSERT INTO visits VALUES (1, '2024-03-31 01:30:00+02', '2024-03-31 02:30:00', '2024-03-31', 12345678901234.000001, 0.1, true, 'Ä;,"' || chr(10) || 'x', 'ab'),
			(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
		CREATE SCHEMA other;
		CREATE VIEW other.last AS SELECT id, at FROM visits WHERE id = 1;
		CREATE TABLE selected (n int); INSERT INTO selected VALUES (7)`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	require.Equal(t, [][]string{{"id", "at", "local", "day", "price", "ratio", "said", `Odd "name`, "raw"},
		{"1", "2024-03-30 23:30:00+00", "2024-03-31 02:30:00", "2024-03-31", "12345678901234.000001", "0.1", "t", "Ä;,\"\nx", "ab"},
		{"2", "", "", "", "", "", "", "", ""}}, told(t, address, "visits"))
	require.Equal(t, [][]string{{"id", "at"}, {"1", "2024-03-30 23:30:00+00"}}, told(t, address, "other.last"))
	require.Equal(t, [][]string{{"n"}, {"7"}}, told(t, address, "selected"))
	require.Equal(t, [][]string{{"next"}, {"2"}}, told(t, address, " SELECT id + 1 AS next FROM visits WHERE id = 1;\n"))
	require.Equal(t, [][]string{{"a"}, {"1"}}, told(t, address, "WITH x AS (SELECT 1 AS a) SELECT * FROM x"))
	require.Len(t, told(t, address, "SELECT g FROM generate_series(1, 100000) g"), 100_001)

	for what, says := range map[string]string{
		"none":                        `relation "none" does not exist`,
		"SELECT":                      "name a table",
		"SELECT 1; DROP TABLE visits": "cannot insert multiple commands",
		"WITH d AS (DELETE FROM visits RETURNING id) SELECT * FROM d": "read-only transaction",
		"SELECT nextval('no')":            "does not exist",
		"SELECT 1 / (id - 1) FROM visits": "division by zero",
	} {
		rows, err := Rows(t.Context(), address, what)
		for err == nil {
			_, err = rows.Next()
		}
		if rows != nil {
			require.NoError(t, rows.Close())
		}
		require.ErrorContains(t, err, says, what)
		require.Equal(t, errkind.Input, errkind.KindOf(err), what)
	}
	require.Len(t, told(t, address, "visits"), 3)

	// One that is left in the middle lets go of the server.
	rows, err := Rows(t.Context(), address, "SELECT g FROM generate_series(1, 10000000) g")
	require.NoError(t, err)
	_, err = rows.Next()
	require.NoError(t, err)
	require.NoError(t, rows.Close())
}

func TestPasswordsOfAddressesAreNotShown(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://ann:secret@db.example:5432/shop":                  "postgres://ann@db.example:5432/shop",
		"postgresql://db/shop?user=ann&password=secret":               "postgresql://db/shop?user=ann",
		"postgres://ann:sec%ret@db/shop":                              "postgres://…",
		"postgres://ann:secret@db:port/shop":                          "postgres://…",
		"postgres://127.0.0.1:1/shop?sslmode=disable&password=secret": "postgres://127.0.0.1:1/shop?sslmode=disable",
	} {
		require.Equal(t, want, Shown(address))
		_, err := Rows(t.Context(), "postgres://ann:secret@127.0.0.1:1/shop", "visits")
		require.ErrorContains(t, err, "connection refused")
		require.NotContains(t, err.Error(), "secret")
		require.NotContains(t, err.Error(), "\n", "it is told once, and not for each way that sslmode allows")
	}
}
