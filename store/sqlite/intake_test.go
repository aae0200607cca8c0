package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

func imported(t *testing.T, path string, o store.IntakeOptions, fill func(store.Intake)) store.Imported {
	t.Helper()
	done, err := Import(t.Context(), path, o, func(i store.Intake) error { fill(i); return nil })
	require.NoError(t, err)
	return done
}

// visits gives sessions of one user, by their ids and times.
func visits(t require.TestingT, i store.Intake, channel string, idsAndTimes ...string) {
	for n := 0; n < len(idsAndTimes); n += 2 {
		at := idsAndTimes[n+1]
		require.NoError(t, i.Session(idsAndTimes[n], "u", at[:10], at[11:], channel, false, false, false))
	}
}

func cell(t *testing.T, path, query string) string {
	t.Helper()
	rows, err := Rows(t.Context(), path, query)
	require.NoError(t, err)
	defer rows.Close()
	row, err := rows.Next()
	require.NoError(t, err)
	return row[0]
}

func TestRowsAreToldByTheirIds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	first := func(i store.Intake) {
		visits(t, i, "SEO", "s1", "2024-01-01 10:00:00", "s2", "2024-01-02 10:00:00")
		require.NoError(t, i.Conversion("c1", "u", "2024-01-03", "10:00:00", 12.5))
		require.NoError(t, i.Cost("s1", 0.5))
	}
	require.Equal(t, store.Imported{Sessions: store.Taken{Read: 2, New: 2}, Conversions: store.Taken{Read: 1, New: 1}, Costs: store.Taken{Read: 1, New: 1}}, imported(t, path, store.IntakeOptions{}, first))
	require.Equal(t, store.Imported{Sessions: store.Taken{Read: 2, Equal: 2}, Conversions: store.Taken{Read: 1, Equal: 1}, Costs: store.Taken{Read: 1, Equal: 1}}, imported(t, path, store.IntakeOptions{}, first))
	done := imported(t, path, store.IntakeOptions{}, func(i store.Intake) {
		visits(t, i, "SEA", "s2", "2024-01-02 10:00:00", "s3", "2024-01-02 10:00:00", "s3", "2024-01-02 11:00:00")
	})
	require.Equal(t, store.Taken{Read: 3, New: 1, Changed: 1, Repeated: 1}, done.Sessions)
	require.Equal(t, "s1 SEO 10:00:00,s2 SEA 10:00:00,s3 SEA 11:00:00", cell(t, path, `SELECT group_concat(session_id || ' ' || channel_name || ' ' || event_time) FROM session_sources`))
}

func TestDaysAreReplacedInTheirZone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	imported(t, path, store.IntakeOptions{}, func(i store.Intake) {
		visits(t, i, "SEO", "before", "2024-01-01 22:59:59", "first", "2024-01-01 23:00:00", "last", "2024-01-02 22:59:59", "after", "2024-01-02 23:00:00")
		require.NoError(t, i.Cost("last", 1))
	})
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	done := imported(t, path, store.IntakeOptions{ReplaceRange: true, Zone: zone}, func(i store.Intake) { visits(t, i, "SEO", "new", "2024-01-02 10:00:00") })
	require.Equal(t, store.Taken{Read: 1, New: 1, Removed: 2}, done.Sessions)
	require.Equal(t, "after,before,new", cell(t, path, `SELECT group_concat(session_id) FROM (SELECT * FROM session_sources ORDER BY 1)`))
	require.Equal(t, "0", cell(t, path, `SELECT count(*) FROM session_costs`))
}

func TestAnImportThatFailsLeavesTheFileAsItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.db")
	broken := errors.New("broken")
	fail := func(i store.Intake) error {
		visits(t, i, "SEO", "s1", "2024-01-01 10:00:00")
		return broken
	}
	_, err := Import(t.Context(), path, store.IntakeOptions{}, fail)
	require.ErrorIs(t, err, broken)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	imported(t, path, store.IntakeOptions{}, func(i store.Intake) { visits(t, i, "SEO", "s0", "2024-01-01 10:00:00") })
	_, err = Import(t.Context(), path, store.IntakeOptions{}, fail)
	require.ErrorIs(t, err, broken)
	require.Equal(t, "s0", cell(t, path, `SELECT group_concat(session_id) FROM session_sources`))
}

// Whatever a day's cost and sessions, its parts are the cost to the millionth and
// differ by one at most.
func TestDailyCostsAreSpreadToTheLastUnit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := &dayCost{cost: rapid.Int64Range(-1e12, 1e12).Draw(t, "cost"), sessions: rapid.Int64Range(1, 500).Draw(t, "sessions")}
		var sum unit.Cost
		least, most := unit.Cost(1<<62), unit.Cost(-1<<62)
		for range d.sessions {
			s := d.share()
			sum, least, most = sum+s, min(least, s), max(most, s)
		}
		require.Equal(t, unit.Cost(d.cost), sum)
		require.LessOrEqual(t, most-least, unit.Cost(1))
	})
}

func TestDailyCostsFollowTheSessions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	day := func(i store.Intake, date, channel string, cost unit.Cost) {
		require.NoError(t, i.DailyCost(date, date+" 00:00:00", date[:8]+fmt.Sprintf("%02d", int(date[8]-'0')*10+int(date[9]-'0')+1)+" 00:00:00", channel, cost))
	}
	all := func() string {
		return cell(t, path, `SELECT group_concat(session_id || '=' || printf('%.6f', cost)) FROM (SELECT * FROM session_costs ORDER BY 1)`)
	}
	done := imported(t, path, store.IntakeOptions{}, func(i store.Intake) {
		visits(t, i, "SEA", "s3", "2024-01-01 00:00:00", "s1", "2024-01-01 23:59:59.9", "s2", "2024-01-01 12:00:00", "s4", "2024-01-02 00:00:00")
		visits(t, i, "SEO", "s5", "2024-01-01 10:00:00")
		day(i, "2024-01-01", "SEA", 5_000_000)
		day(i, "2024-01-01", "SEA", 5_000_000) // of another campaign
		day(i, "2024-01-03", "SEA", 2_000_000)
	})
	require.Equal(t, store.Spread{Read: 3, Days: 2, Cost: 12_000_000, Sessions: 3, Alone: 1, AloneCost: 2_000_000}, done.DailyCosts)
	require.Equal(t, "s1=3.333334,s2=3.333333,s3=3.333333", all())

	require.Equal(t, "2024-01-01 SEA 10000000 3,2024-01-03 SEA 2000000 0", cell(t, path, `SELECT group_concat(date || ' ' || channel || ' ' || cost || ' ' || sessions) FROM pipeline_daily_costs`))

	// Another day's visits, and another amount of a day that was there.
	imported(t, path, store.IntakeOptions{}, func(i store.Intake) { visits(t, i, "SEA", "s6", "2024-01-03 10:00:00") })
	require.Equal(t, "s1=3.333334,s2=3.333333,s3=3.333333,s6=2.000000", all())
	imported(t, path, store.IntakeOptions{}, func(i store.Intake) { day(i, "2024-01-01", "SEA", 3_000_000) })
	require.Equal(t, "s1=1.000000,s2=1.000000,s3=1.000000,s6=2.000000", all())
}

func TestViewsAndQueriesOfOtherFilesAreRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := create(path)
	require.NoError(t, err)
	_, err = db.Exec(`CREATE TABLE visits (id integer, at timestamp, "odd ""name" blob, r real, n); INSERT INTO visits VALUES (1, '2024-01-01 10:00:00', x'6162', 0.1, NULL), (2, 1711324800, 'x', 1e20, 3);
		CREATE VIEW v AS SELECT id, at, r FROM visits WHERE id = 1`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for what, want := range map[string][][]string{
		"visits":                        {{"id", "at", `odd "name`, "r", "n"}, {"1", "2024-01-01 10:00:00", "ab", "0.1", ""}, {"2", "1711324800", "x", "100000000000000000000", "3"}},
		"v":                             {{"id", "at", "r"}, {"1", "2024-01-01 10:00:00", "0.1"}},
		"SELECT id + 1 AS next FROM v;": {{"next"}, {"2"}},
	} {
		rows, err := Rows(t.Context(), path, what)
		require.NoError(t, err)
		got := [][]string{rows.Columns()}
		for {
			row, err := rows.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			got = append(got, append([]string(nil), row...))
		}
		require.NoError(t, rows.Close())
		require.Equal(t, want, got)
	}
	for _, what := range []string{"none", "SELECT", "SELECT 1; DROP TABLE visits", "select load_extension('x')"} {
		_, err := Rows(t.Context(), path, what)
		require.Error(t, err, what)
	}
}
