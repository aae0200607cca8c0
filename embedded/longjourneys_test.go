package embedded

import (
	"database/sql"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// report runs a request to its end and returns its report, all of whose
// equations must hold.
func (u *up) report(r *ihcv1.RunRequest) *ihcv1.Report {
	u.t.Helper()
	u.request(r)
	var report *ihcv1.Report
	require.NoError(u.t, u.Client.Follow(u.t.Context(), "run", func(e stream.StoredEvent) bool {
		require.Nil(u.t, e.Event.GetFailed(), "%v", e.Event)
		report = e.Event.GetReported().GetReport()
		return report == nil
	}))
	for _, e := range report.GetReconciliation() {
		require.True(u.t, e.GetHolds(), "%v", e)
	}
	return report
}

// numbers returns the one row of numbers that a query gives.
func (u *up) numbers(query string) (a, b int) {
	u.t.Helper()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(u.t, err)
	defer db.Close()
	require.NoError(u.t, db.QueryRow(query).Scan(&a, &b), query)
	return a, b
}

// Every way to score journeys longer than a request, over the API's contract.
func TestJourneysLongerThanARequest(t *testing.T) {
	for strategy, scores := range map[string]struct {
		scored string // sessions of a long journey that are scored, in SQL
		model  string
	}{
		"":              {scored: "20"},
		run.LongLatest:  {scored: "20"},
		run.LongCut:     {scored: "-1"},
		run.LongBuiltin: {scored: "n", model: "builtin published-shop"},
		run.LongExclude: {scored: "0"},
	} {
		t.Run("strategy "+strategy, func(t *testing.T) {
			api, err := sandbox.New(sandbox.Config{Key: "key"})
			require.NoError(t, err)
			server := httptest.NewServer(api)
			defer server.Close()
			u := start(t, func(c *Config) {
				c.Attributor.APIKey, c.Attributor.APIURL, c.Attributor.ConvTypeID = "key", server.URL+"/v1", "type"
			})
			u.shop()
			r := u.report(&ihcv1.RunRequest{Model: run.ModelAPI, MaxSessions: 20, LongJourneys: strategy})
			const journeys = `(SELECT v.conv_id, count(*) AS n FROM conversions v JOIN session_sources s ON s.user_id = v.user_id
				AND s.event_date||s.event_time < v.conv_date||v.conv_time GROUP BY 1)`
			long, sessions := u.numbers(`SELECT count(*), sum(n) FROM ` + journeys + ` WHERE n > 20`)
			require.Positive(t, long)
			c := r.GetCounts()
			require.Zero(t, api.Stats().ContractViolations)
			require.Equal(t, c.GetInRange(), run.WithAttribution(c)+c.GetExcluded()+c.GetWithoutSessions())
			if strategy == run.LongExclude {
				require.EqualValues(t, long, c.GetExcluded())
				require.Empty(t, r.GetApproximations())
				return
			}
			require.EqualValues(t, long, c.GetApproximated())
			require.Zero(t, c.GetExcluded())
			require.Len(t, r.GetApproximations(), 1)
			a := r.GetApproximations()[0]
			require.EqualValues(t, long, a.GetConversions())
			require.Equal(t, scores.model, a.GetModel())
			require.Contains(t, strings.Join(r.GetNotes(), "\n"), "--long-journeys "+a.GetStrategy())
			wrong, left := u.numbers(`SELECT count(*) FILTER (WHERE n > 20 AND ` + scores.scored + ` >= 0 AND rows <> ` + scores.scored + ` OR n <= 20 AND rows <> n OR rows > n),
				sum(n - rows) FROM ` + journeys + ` JOIN (SELECT conv_id, count(*) AS rows FROM attribution_customer_journey GROUP BY 1) USING (conv_id)`)
			require.Zero(t, wrong)
			require.EqualValues(t, left, a.GetSessionsLeftOut())
			require.Less(t, left, sessions)
			named, of := u.numbers(`SELECT count(*), coalesce(sum(left_out), 0) FROM pipeline_journeys WHERE strategy = '` + a.GetStrategy() + `' AND coalesce(model, '') = '` + scores.model + `'`)
			require.Equal(t, []int{long, left}, []int{named, of})
		})
	}
}

// Nothing is too long for the built-in model, whatever a request may hold, and
// whatever a chunk weighs.
func TestTheBuiltinModelTakesJourneysOfAnyLength(t *testing.T) {
	const sessions = 100_000
	u := start(t, nil)
	u.shop()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(t, err)
	for _, statement := range []string{
		`DELETE FROM session_costs`, `DELETE FROM session_sources`, `DELETE FROM conversions`,
		fmt.Sprintf(`INSERT INTO session_sources (session_id, user_id, event_date, event_time, channel_name, holder_engagement, closer_engagement, impression_interaction)
			WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			SELECT lower(hex(randomblob(16)))||'-'||i, 'u', date('2023-01-01', (i / 1440)||' days'), time(i * 60, 'unixepoch'), 'channel '||(i %% 7), 1, i %% 2, 0 FROM n`, sessions-1),
		`INSERT INTO conversions (conv_id, user_id, conv_date, conv_time, revenue) VALUES ('a', 'u', '2023-06-01', '12:00:00', 10), ('b', 'u', '2024-01-01', '12:00:00', 20)`,
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	r := u.report(&ihcv1.RunRequest{Model: run.ModelBuiltin, MaxSessions: 20})
	require.EqualValues(t, 2, r.GetCounts().GetAttributed())
	conversions, rows := u.numbers(`SELECT count(DISTINCT conv_id), max(n) FROM (SELECT conv_id, count(*) AS n FROM attribution_customer_journey GROUP BY 1)`)
	require.Equal(t, []int{2, sessions}, []int{conversions, rows})
}
