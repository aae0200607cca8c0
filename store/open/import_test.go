//go:build postgres

package open

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/intake"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/store"
)

// What PostgreSQL writes of times, numbers and truths is read as what it is.
func TestTablesOfPostgreSQLAreImported(t *testing.T) {
	t.Parallel()
	address := pgtest.Start(t, pgtest.Options{TimeZone: "Asia/Kolkata"}).DSN("postgres")
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `
		CREATE TABLE visits (session_id bigint PRIMARY KEY, user_id uuid, "time" timestamptz, channel_name text, holder_engagement boolean, closer_engagement int);
		INSERT INTO visits VALUES (7, '00000000-0000-0000-0000-00000000000a', '2024-03-31 01:30:00.25+02', 'SEO', true, 0), (8, '00000000-0000-0000-0000-00000000000a', '2024-03-31 23:00:00-05', 'SEA', false, 1);
		CREATE TABLE orders (conv_id text, user_id uuid, "time" timestamptz, revenue numeric(12,2));
		INSERT INTO orders VALUES ('o1', '00000000-0000-0000-0000-00000000000a', '2024-04-02 10:00:00Z', 1234.50);
		CREATE TABLE ads (date date, channel_name text, cost numeric); INSERT INTO ads VALUES ('2024-03-30', 'SEO', 1.25)`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	path := filepath.Join(t.TempDir(), "shop.db")
	var counts intake.Counts
	fill := func(into store.Intake) error {
		for table, what := range map[string]string{"sessions": "visits", "conversions": "SELECT * FROM orders", "daily_costs": "ads"} {
			rows, err := Rows(t.Context(), address, what)
			if err != nil {
				return err
			}
			defer rows.Close() //nolint:gocritic // three of them
			read, _, err := (&intake.Mapping{}).Reader(table, rows.Columns(), &counts)
			if err != nil {
				return err
			}
			for {
				row, err := rows.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err := errors.Join(err, read(row, into)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	done, err := Import(t.Context(), path, store.IntakeOptions{}, fill)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 1, 1}, []int64{done.Sessions.New, done.Conversions.New, done.DailyCosts.Sessions})
	for what, want := range map[string][]string{
		"SELECT * FROM session_sources ORDER BY session_id": {"7", "00000000-0000-0000-0000-00000000000a", "2024-03-30", "23:30:00.25", "SEO", "1", "0", "0"},
		"conversions":   {"o1", "00000000-0000-0000-0000-00000000000a", "2024-04-02", "10:00:00", "1234.5"},
		"session_costs": {"7", "1.25"},
	} {
		rows, err := Rows(t.Context(), path, what)
		require.NoError(t, err)
		row, err := rows.Next()
		require.NoError(t, err)
		require.Equal(t, want, row)
		require.NoError(t, rows.Close())
	}
	again, err := Import(t.Context(), path, store.IntakeOptions{}, fill)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 1}, []int64{again.Sessions.Equal, again.Conversions.Equal})
}
