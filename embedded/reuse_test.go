package embedded

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// reportOf runs a request of that id to its end.
func (u *up) reportOf(id string, r *ihcv1.RunRequest) (report *ihcv1.Report) {
	u.t.Helper()
	r.RunId = id
	require.NoError(u.t, u.Client.PublishRequest(u.t.Context(), r))
	require.NoError(u.t, u.Client.Follow(u.t.Context(), id, func(e stream.StoredEvent) bool {
		require.Nil(u.t, e.Event.GetFailed(), "%v", e.Event)
		report = e.Event.GetReported().GetReport()
		return report == nil
	}))
	for _, e := range report.GetReconciliation() {
		require.True(u.t, e.GetHolds(), "%v", e)
	}
	return report
}

// table returns the two columns of a query's rows.
func (u *up) table(query string) map[string]string {
	u.t.Helper()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(u.t, err)
	defer db.Close()
	found, err := db.Query(query)
	require.NoError(u.t, err, query)
	defer found.Close()
	rows := map[string]string{}
	for found.Next() {
		var key, value string
		require.NoError(u.t, found.Scan(&key, &value))
		rows[key] = value
	}
	require.NoError(u.t, found.Err())
	return rows
}

func (u *up) change(statements ...string) {
	u.t.Helper()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(u.t, err)
	defer db.Close()
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(u.t, err, statement)
	}
}

const (
	journeysNow = `SELECT conv_id, conv_time||group_concat(said, '|' ORDER BY said) FROM (SELECT v.conv_id, v.conv_date||v.conv_time AS conv_time,
		s.event_date||s.event_time||s.session_id||s.channel_name||s.holder_engagement||s.closer_engagement||s.impression_interaction AS said
		FROM conversions v JOIN session_sources s ON s.user_id = v.user_id AND s.event_date||s.event_time < v.conv_date||v.conv_time) GROUP BY conv_id`
	sharesNow = `SELECT conv_id||' '||session_id, printf('%.17g', ihc) FROM attribution_customer_journey`
	reportNow = `SELECT channel_name||' '||date, printf('%.17g %.17g %.17g', cost, ihc, ihc_revenue) FROM channel_reporting`
)

// anyChange draws a change of the source tables.
func anyChange(r *rand.Rand) string {
	n := r.IntN(20)
	session, conversion := fmt.Sprintf(`(SELECT session_id FROM session_sources ORDER BY session_id LIMIT 1 OFFSET %d)`, r.IntN(250)),
		fmt.Sprintf(`(SELECT conv_id FROM conversions ORDER BY conv_id LIMIT 1 OFFSET %d)`, r.IntN(20))
	return []string{
		`UPDATE session_sources SET channel_name = 'Corrected' WHERE session_id = ` + session,
		`UPDATE session_sources SET event_time = '00:00:01' WHERE session_id = ` + session,
		`UPDATE session_sources SET closer_engagement = 1 - closer_engagement WHERE session_id = ` + session,
		`UPDATE session_sources SET user_id = (SELECT user_id FROM conversions ORDER BY conv_id LIMIT 1) WHERE session_id = ` + session,
		`DELETE FROM session_sources WHERE session_id = ` + session,
		fmt.Sprintf(`INSERT INTO session_sources SELECT 'late-%d', user_id, date(conv_date, '-1 day'), conv_time, 'Late', 1, 0, 0 FROM conversions WHERE conv_id = `, r.Uint32()) + conversion,
		`UPDATE conversions SET conv_time = '23:59:58' WHERE conv_id = ` + conversion,
		`DELETE FROM conversions WHERE conv_id = ` + conversion,
		fmt.Sprintf(`INSERT INTO conversions SELECT 'new-%d', user_id, conv_date, conv_time, 10 FROM conversions WHERE conv_id = `, r.Uint32()) + conversion,
		fmt.Sprintf(`UPDATE conversions SET revenue = %d WHERE conv_id = `, n) + conversion,
		fmt.Sprintf(`UPDATE session_costs SET cost = %d WHERE session_id = `, n) + session,
		`DELETE FROM attribution_customer_journey WHERE conv_id = ` + conversion,
		`UPDATE attribution_customer_journey SET ihc = 0.123 WHERE conv_id = ` + conversion,
	}[r.IntN(13)]
}

// Whatever changes between runs: exactly the conversions whose journey changed
// are scored, and the tables are those of a run that scores all.
func TestOnlyWhatChangedIsScored(t *testing.T) {
	u := start(t, nil)
	u.shop()
	u.reportOf("first", &ihcv1.RunRequest{Model: run.ModelBuiltin})
	r := rand.New(rand.NewPCG(1, 2))
	scored := 0
	for round := range 12 {
		id := fmt.Sprintf("round-%d", round)
		before := u.table(journeysNow)
		for range round {
			u.change(anyChange(r))
		}
		now := u.table(journeysNow)
		report := u.reportOf(id, &ihcv1.RunRequest{Model: run.ModelBuiltin})
		shares, rows := u.table(sharesNow), u.table(reportNow)
		want := map[string]string{}
		for conv, j := range now {
			if before[conv] != j {
				want[conv] = "scored"
			}
		}
		require.Equal(t, want, u.table(`SELECT conv_id, 'scored' FROM pipeline_journeys JOIN pipeline_runs USING (run) WHERE run_id = '`+id+`'`), id)
		scored += len(want)
		require.EqualValues(t, len(now)-len(want), report.GetCounts().GetReused(), id)

		fresh := start(t, nil)
		u.change(`VACUUM INTO '` + fresh.db + `'`)
		for table := range fresh.table(`SELECT name, '' FROM sqlite_schema WHERE type = 'table' AND (name LIKE 'pipeline%' OR name IN ('attribution_customer_journey', 'channel_reporting'))`) {
			fresh.change(`DROP TABLE ` + table)
		}
		full := fresh.reportOf("full", &ihcv1.RunRequest{Model: run.ModelBuiltin})
		require.Zero(t, full.GetCounts().GetReused())
		require.Equal(t, fresh.table(sharesNow), shares, id)
		require.Equal(t, fresh.table(reportNow), rows, id)
	}
	require.Greater(t, scored, 20)
	kept, shown := u.numbers(`SELECT (SELECT count(*) FROM pipeline_journeys), count(*) FROM pipeline_latest`)
	require.Equal(t, shown, kept, "what is shown no more is gone")
}

// A second run over the same data sends nothing, long journeys keep their mark,
// and what scores decides with what is scored.
func TestASecondRunSendsNothing(t *testing.T) {
	api, err := sandbox.New(sandbox.Config{Key: "key"})
	require.NoError(t, err)
	server := httptest.NewServer(api)
	defer server.Close()
	u := start(t, func(c *Config) {
		c.Attributor.APIKey, c.Attributor.APIURL, c.Attributor.ConvTypeID = "key", server.URL+"/v1", "type"
	})
	u.shop()
	request := func() *ihcv1.RunRequest { return &ihcv1.RunRequest{Model: run.ModelAPI, MaxSessions: 20} }
	first := u.reportOf("first", request())
	again := u.reportOf("again", request())
	require.Positive(t, first.GetRequests())
	require.Zero(t, again.GetRequests())
	require.Equal(t, run.WithAttribution(first.GetCounts()), again.GetCounts().GetReused())
	require.Equal(t, first.GetCounts().GetApproximated(), again.GetCounts().GetApproximated())
	require.Len(t, again.GetApproximations(), 1)
	require.Equal(t, first.GetApproximations()[0].String(), again.GetApproximations()[0].String())
	for name, change := range map[string]func(*ihcv1.RunRequest){
		"full": func(r *ihcv1.RunRequest) { r.Full = true },
		"type": func(r *ihcv1.RunRequest) { r.ConvTypeId = "another" },
		"redistribute": func(r *ihcv1.RunRequest) {
			r.RedistributionParameter = &ihcv1.RedistributionParameter{Closer: &ihcv1.RedistributionRule{Direction: "any_session", RedistributionChannelLabels: []string{"Direct"}}}
		},
	} {
		r := request()
		change(r)
		report := u.reportOf(name, r)
		require.Equal(t, first.GetRequests(), report.GetRequests(), name)
		require.Zero(t, report.GetCounts().GetReused(), name)
	}
	young := request()
	young.Full, young.MaxAgeDays = false, 1
	u.reportOf("back", request())
	require.Zero(t, u.reportOf("young", young).GetRequests())
	u.change(`UPDATE pipeline_journeys SET scored = scored - 2 * 86400`)
	require.Equal(t, first.GetRequests(), u.reportOf("old", young).GetRequests())
}
