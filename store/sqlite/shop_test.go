package sqlite

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/shop"
)

func generate(t *testing.T, cfg shop.Config) (*sql.DB, shop.Stats) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	stats, err := GenerateShop(t.Context(), path, cfg, false)
	require.NoError(t, err)
	db, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db, stats
}

func count(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	require.NoError(t, db.QueryRow(query).Scan(&n), query)
	return n
}

// content is every row of the input tables, in the order they were written.
func allRows(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.Query(`
		SELECT concat_ws('|', session_id, user_id, event_date, event_time, channel_name, holder_engagement, closer_engagement, impression_interaction), 1 AS part, rowid AS n FROM session_sources
		UNION ALL SELECT concat_ws('|', conv_id, user_id, conv_date, conv_time, revenue), 2, rowid FROM conversions
		UNION ALL SELECT concat_ws('|', session_id, cost), 3, rowid FROM session_costs ORDER BY part, n`)
	require.NoError(t, err)
	defer rows.Close()
	var content []string
	for rows.Next() {
		var row string
		var part, n int64
		require.NoError(t, rows.Scan(&row, &part, &n))
		content = append(content, row)
	}
	require.NoError(t, rows.Err())
	return content
}

// The journeys, reckoned by SQL.
const journeys = `SELECT c.conv_id, count(s.session_id) AS n FROM conversions c
	LEFT JOIN session_sources s ON s.user_id = c.user_id
		AND s.event_date || s.event_time < c.conv_date || c.conv_time
	GROUP BY c.conv_id`

func TestShopOfTheDemonstration(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		db, stats := generate(t, shop.Config{Seed: seed})
		require.Equal(t, int64(6000), stats.Sessions)
		require.InDelta(t, 700, stats.Conversions, 100)

		// What is told is what is there.
		require.Equal(t, shop.Stats{
			Users:           count(t, db, `SELECT count(DISTINCT user_id) FROM session_sources`),
			Sessions:        count(t, db, `SELECT count(*) FROM session_sources`),
			Conversions:     count(t, db, `SELECT count(*) FROM conversions`),
			WithoutSessions: count(t, db, `SELECT count(*) FROM (`+journeys+`) WHERE n = 0`),
			Touchpoints:     count(t, db, `SELECT sum(n) FROM (`+journeys+`)`),
			LongestJourney:  count(t, db, `SELECT max(n) FROM (`+journeys+`)`),
			Costs:           count(t, db, `SELECT count(*) FROM session_costs`),
		}, stats)

		// What a demonstration needs to show something.
		for what, query := range map[string]string{
			"buyers who come back":           `SELECT count(*) FROM (SELECT 1 FROM conversions GROUP BY user_id HAVING count(*) > 1)`,
			"users who never buy":            `SELECT count(DISTINCT user_id) FROM session_sources WHERE user_id NOT IN (SELECT user_id FROM conversions)`,
			"conversions without sessions":   `SELECT count(*) FROM conversions WHERE user_id NOT IN (SELECT user_id FROM session_sources)`,
			"journeys too long":              `SELECT count(*) FROM (` + journeys + `) WHERE n > 200`,
			"sessions without cost":          `SELECT count(*) FROM session_sources WHERE session_id NOT IN (SELECT session_id FROM session_costs)`,
			"costs without session":          `SELECT count(*) FROM session_costs WHERE session_id NOT IN (SELECT session_id FROM session_sources)`,
			"sessions in the same second":    `SELECT count(*) FROM session_sources a JOIN session_sources b USING (user_id, event_date, event_time) WHERE a.session_id < b.session_id`,
			"conversions and sessions equal": `SELECT count(*) FROM conversions c JOIN session_sources s ON s.user_id = c.user_id AND s.event_date = c.conv_date AND s.event_time = c.conv_time`,
			"impressions":                    `SELECT count(*) FROM session_sources WHERE impression_interaction = 1`,
			"cents":                          `SELECT count(*) FROM conversions WHERE revenue <> round(revenue)`,
			"thousandths":                    `SELECT count(*) FROM session_costs WHERE cost <> round(cost, 2)`,
		} {
			require.NotZero(t, count(t, db, query), what)
		}
		require.Equal(t, int64(12), count(t, db, `SELECT count(DISTINCT channel_name) FROM session_sources`))
		require.Less(t, count(t, db, `SELECT count(*) FROM (`+journeys+`) WHERE n > 200`), int64(40))
		require.Greater(t,
			count(t, db, `SELECT count(*) FROM session_sources WHERE event_time >= '18:00:00'`),
			3*count(t, db, `SELECT count(*) FROM session_sources WHERE event_time < '06:00:00'`))

		report, err := Validate(t.Context(), db, findings.Options{})
		require.NoError(t, err)
		require.NoError(t, report.Err())
		for _, f := range report.List {
			require.Contains(t, []string{"unknown_session", "without_cost", "without_sessions"}, f.Code)
		}
		require.Equal(t, "2023-06-01", report.FirstSession)
		require.Equal(t, "2023-08-31", report.LastSession)
		require.LessOrEqual(t, report.LastConversion, "2023-08-31")
	}
}

func TestShopIsThatOfItsSeed(t *testing.T) {
	t.Parallel()
	small := shop.Config{Seed: 7, Sessions: 500}
	a, _ := generate(t, small)
	b, _ := generate(t, small)
	require.Equal(t, allRows(t, a), allRows(t, b))
	small.Seed++
	c, _ := generate(t, small)
	require.NotEqual(t, allRows(t, a), allRows(t, c))
}

func TestShopIsOfTheSizeAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []shop.Config{
		{Sessions: 50_000, Conversions: 5_000, Touchpoints: 250_000, MaxJourney: 1_000},
		{Sessions: 50_000, Conversions: 10_000, Touchpoints: 40_000, MaxJourney: 50, Days: 400, Start: "2020-02-28"},
		{Sessions: 20_000, Conversions: 2_000, MaxJourney: 1},
		{Sessions: 3_000, Conversions: 300, Touchpoints: 30_000, MaxJourney: 300},
	} {
		db, stats := generate(t, c)
		require.Equal(t, int64(c.Sessions), stats.Sessions)
		require.Equal(t, stats.Sessions, count(t, db, `SELECT count(*) FROM session_sources`))
		require.InEpsilon(t, c.Conversions, stats.Conversions, 0.15)
		if c.Touchpoints > 0 {
			require.InEpsilon(t, c.Touchpoints, stats.Touchpoints, 0.2)
		}
		require.LessOrEqual(t, stats.LongestJourney, int64(c.MaxJourney))
		require.LessOrEqual(t, count(t, db, `SELECT max(n) FROM (SELECT count(*) AS n FROM session_sources GROUP BY user_id)`), int64(c.MaxJourney))
	}
}

func TestTinyShops(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 60; n += 7 {
		db, stats := generate(t, shop.Config{Sessions: n, Days: 1 + n%3})
		require.Equal(t, int64(n), stats.Sessions)
		require.Equal(t, int64(n), count(t, db, `SELECT count(*) FROM session_sources`))
	}
}

func TestShopThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []shop.Config{
		{Sessions: -1}, {Sessions: 100, Conversions: 51}, {Conversions: -1}, {MaxJourney: -1}, {Days: -1}, {Days: 36_501},
		{Start: "yesterday"}, {Touchpoints: -5}, {Sessions: 100, Conversions: 10, Touchpoints: 1_000_000},
		{Sessions: 100, Conversions: 10, Touchpoints: 1},
	} {
		_, err := GenerateShop(t.Context(), filepath.Join(dir, "shop.db"), c, false)
		require.Equal(t, errkind.Input, errkind.KindOf(err), "%+v: %v", c, err)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestShopReplacesAFileOnlyIfToldTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new directory", "shop.db")
	_, err := GenerateShop(t.Context(), path, shop.Config{Sessions: 10}, false)
	require.NoError(t, err)
	before, err := os.ReadFile(path)
	require.NoError(t, err)

	_, err = GenerateShop(t.Context(), path, shop.Config{Sessions: 20}, false)
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)

	stats, err := GenerateShop(t.Context(), path, shop.Config{Sessions: 20}, true)
	require.NoError(t, err)
	require.Equal(t, int64(20), stats.Sessions)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left")
}

func TestShopThatIsCancelledLeavesNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := GenerateShop(ctx, filepath.Join(dir, "shop.db"), shop.Config{}, false)
	require.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
