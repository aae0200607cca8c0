package sqlite

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/source"
)

func generate(t *testing.T, cfg Config) (*sql.DB, Stats) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	stats, err := Generate(t.Context(), path, cfg)
	require.NoError(t, err)
	db, err := source.Open(t.Context(), path, source.Read)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db, stats
}

func number(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	require.NoError(t, db.QueryRow(query).Scan(&n), query)
	return n
}

// content is every row of the input tables, in the order they were written.
func content(t *testing.T, db *sql.DB) []string {
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

func TestDemonstration(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		db, stats := generate(t, Config{Seed: seed})
		require.Equal(t, int64(6000), stats.Sessions)
		require.InDelta(t, 700, stats.Conversions, 100)

		// What is told is what is there.
		require.Equal(t, Stats{
			Users:           number(t, db, `SELECT count(DISTINCT user_id) FROM session_sources`),
			Sessions:        number(t, db, `SELECT count(*) FROM session_sources`),
			Conversions:     number(t, db, `SELECT count(*) FROM conversions`),
			WithoutSessions: number(t, db, `SELECT count(*) FROM (`+journeys+`) WHERE n = 0`),
			Touchpoints:     number(t, db, `SELECT sum(n) FROM (`+journeys+`)`),
			LongestJourney:  number(t, db, `SELECT max(n) FROM (`+journeys+`)`),
			Costs:           number(t, db, `SELECT count(*) FROM session_costs`),
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
			require.NotZero(t, number(t, db, query), what)
		}
		require.Equal(t, int64(len(channels)), number(t, db, `SELECT count(DISTINCT channel_name) FROM session_sources`))
		require.Less(t, number(t, db, `SELECT count(*) FROM (`+journeys+`) WHERE n > 200`), int64(40))
		require.Greater(t,
			number(t, db, `SELECT count(*) FROM session_sources WHERE event_time >= '18:00:00'`),
			3*number(t, db, `SELECT count(*) FROM session_sources WHERE event_time < '06:00:00'`))

		report, err := source.Validate(t.Context(), db, source.Options{})
		require.NoError(t, err)
		require.NoError(t, report.Err())
		for _, f := range report.Findings {
			require.Contains(t, []string{"unknown_session", "without_cost", "without_sessions"}, f.Code)
		}
		require.Equal(t, "2023-06-01", report.FirstSession)
		require.Equal(t, "2023-08-31", report.LastSession)
		require.LessOrEqual(t, report.LastConversion, "2023-08-31")
	}
}

func TestSeedDecides(t *testing.T) {
	t.Parallel()
	small := Config{Seed: 7, Sessions: 500}
	a, _ := generate(t, small)
	b, _ := generate(t, small)
	require.Equal(t, content(t, a), content(t, b))
	small.Seed++
	c, _ := generate(t, small)
	require.NotEqual(t, content(t, a), content(t, c))
}

// Rows do not depend on the stretches of time they are worked out in.
func TestStretches(t *testing.T) {
	t.Parallel()
	town := &town{seed: 3, sizes: []int{0, 50, 20, 10, 5, 2}, guests: 5, start: 19_500 * day, days: 20, odds: .2}
	visits, orders := town.between(town.start, town.end(), nil, nil)
	require.Len(t, visits, 50+40+30+20+10)
	require.Greater(t, len(orders), 5)
	var piecewise []visit
	var ordersPiecewise []order
	for from := town.start; from < town.end(); from += day {
		v, o := town.between(from, from+day, nil, nil)
		piecewise, ordersPiecewise = append(piecewise, v...), append(ordersPiecewise, o...)
	}
	require.Equal(t, visits, piecewise)
	require.Equal(t, orders, ordersPiecewise)
}

func TestAim(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Sessions: 50_000, Conversions: 5_000, Touchpoints: 250_000, MaxJourney: 1_000},
		{Sessions: 50_000, Conversions: 10_000, Touchpoints: 40_000, MaxJourney: 50, Days: 400, Start: "2020-02-28"},
		{Sessions: 20_000, Conversions: 2_000, MaxJourney: 1},
		{Sessions: 3_000, Conversions: 300, Touchpoints: 30_000, MaxJourney: 300},
	} {
		db, stats := generate(t, c)
		require.Equal(t, int64(c.Sessions), stats.Sessions)
		require.Equal(t, stats.Sessions, number(t, db, `SELECT count(*) FROM session_sources`))
		require.InEpsilon(t, c.Conversions, stats.Conversions, 0.15)
		if c.Touchpoints > 0 {
			require.InEpsilon(t, c.Touchpoints, stats.Touchpoints, 0.2)
		}
		require.LessOrEqual(t, stats.LongestJourney, int64(c.MaxJourney))
		require.LessOrEqual(t, number(t, db, `SELECT max(n) FROM (SELECT count(*) AS n FROM session_sources GROUP BY user_id)`), int64(c.MaxJourney))
	}
}

func TestTinyShops(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 60; n += 7 {
		db, stats := generate(t, Config{Sessions: n, Days: 1 + n%3})
		require.Equal(t, int64(n), stats.Sessions)
		require.Equal(t, int64(n), number(t, db, `SELECT count(*) FROM session_sources`))
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []Config{
		{Sessions: -1}, {Sessions: 100, Conversions: 51}, {Conversions: -1}, {MaxJourney: -1}, {Days: -1}, {Days: maxDays + 1},
		{Start: "yesterday"}, {Touchpoints: -5}, {Sessions: 100, Conversions: 10, Touchpoints: 1_000_000},
		{Sessions: 100, Conversions: 10, Touchpoints: 1},
	} {
		_, err := Generate(t.Context(), filepath.Join(dir, "shop.db"), c)
		require.Equal(t, errkind.Input, errkind.KindOf(err), "%+v: %v", c, err)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new directory", "shop.db")
	_, err := Generate(t.Context(), path, Config{Sessions: 10})
	require.NoError(t, err)
	before, err := os.ReadFile(path)
	require.NoError(t, err)

	_, err = Generate(t.Context(), path, Config{Sessions: 20})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)

	stats, err := Generate(t.Context(), path, Config{Sessions: 20, Replace: true})
	require.NoError(t, err)
	require.Equal(t, int64(20), stats.Sessions)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left")
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Generate(ctx, filepath.Join(dir, "shop.db"), Config{})
	require.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
