//go:build postgres

package writer

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/postgres"
)

// Two writers share the results of a run. One of them is told to stop, then the
// server ends every connection of the other, again and again: the tables are
// those of one writer whom nothing befell.
func TestTwoWritersShareARun(t *testing.T) {
	t.Parallel()
	const chunks = 400
	server := pgtest.Start(t, pgtest.Options{ICU: "en-US"})
	tables := map[string][]string{}
	for _, writers := range []int{1, 2} {
		name := fmt.Sprintf("by%d", writers)
		dsn := server.DSN("postgres") + "&search_path=" + name
		conn, err := pgx.Connect(t.Context(), dsn)
		require.NoError(t, err)
		_, err = conn.PgConn().Exec(t.Context(), `CREATE SCHEMA `+name+`;`+postgres.InputSchema+fmt.Sprintf(`
			INSERT INTO conversions SELECT kind || n, 'u', '2023-01-02', '12:00:00', 1 FROM generate_series(1, %d) n, unnest(ARRAY['a', 'b']) kind;`, chunks)).ReadAll()
		require.NoError(t, err)
		b := streamtest.New(t)
		accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
		extracted(b, "run", chunks, 2*chunks)
		var stop func()
		for range writers {
			stop = write(b, dsn)
		}
		for n := range uint32(chunks) {
			require.NoError(t, b.PublishResult(b.Ctx, result("run", n+1)))
			switch {
			case writers == 1:
			case n == chunks/4:
				stop()
			case n%(chunks/10) == 0:
				_, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ihc'`)
				require.NoError(t, err)
			}
		}
		require.EqualValues(t, chunks, b.Await("run", isWritten).GetWritten().GetRequests())
		b.Idle(stream.Scored)
		for _, query := range []string{`SELECT conv_id, session_id, ihc FROM attribution_customer_journey ORDER BY 1, 2`, `SELECT conv_id, chunk, reason FROM pipeline_outcomes ORDER BY 1`,
			`SELECT conv_id, chunk, sessions, ihc FROM pipeline_journeys ORDER BY 1`, `SELECT chunk, outcome, conversions FROM pipeline_counts ORDER BY 1, 2`} {
			rows, err := conn.Query(t.Context(), query)
			require.NoError(t, err)
			all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
				values, err := row.Values()
				return fmt.Sprint(values...), err
			})
			require.NoError(t, err)
			require.NotEmpty(t, all)
			tables[name] = append(tables[name], all...)
		}
		require.NoError(t, conn.Close(t.Context()))
	}
	require.Equal(t, tables["by1"], tables["by2"])
}
