package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// retime gives each session and conversion another date and time of day, by its
// table, its number and those it has.
func (f *fixture) retime(to func(table string, n int, date, at string) (string, string)) {
	f.t.Helper()
	for _, of := range [][4]string{{"session_sources", "session_id", "event_date", "event_time"}, {"conversions", "conv_id", "conv_date", "conv_time"}} {
		for i, row := range f.rows(fmt.Sprintf(`SELECT %[2]s, %[3]s, %[4]s FROM %[1]s`, of[0], of[1], of[2], of[3])) {
			was := strings.Split(row, "|")
			date, at := to(of[0], i+1, was[1], was[2])
			f.exec(fmt.Sprintf(`UPDATE %[1]s SET %[3]s = $1, %[4]s = $2 WHERE %[2]s = $3`, of[0], of[1], of[2], of[3]), date, at, was[0])
		}
	}
}

// A survey in a zone is that of a shop which had written down its own clocks,
// and what it sums up over all dates is what UTC has.
func surveyInAZoneIsThatOfItsClocks(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f, _, _ := b.scoredShop(t)
		req := drawRange(t)
		req.RunId = ""
		f.retime(func(table string, n int, date, _ string) (string, string) {
			if table == "session_sources" {
				return date, fmt.Sprintf("%02d:%02d:07.5", n*7%24, n*11%60)
			}
			return date, fmt.Sprintf("%02d:%02d:07", n*5%24, n*13%60)
		})
		utc, err := f.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{})
		require.NoError(t, err)
		zone := rapid.SampledFrom([]struct {
			name    string
			minutes int // ahead of UTC, on the dates of the shop
		}{{"Europe/Berlin", 60}, {"Asia/Kolkata", 330}, {"Pacific/Marquesas", -570}, {"Pacific/Kiritimati", 840}, {"UTC", 0}}).Draw(t, "zone")
		view := store.View{Zone: zone.name}
		got, err := f.Survey(t.Context(), req, view)
		require.NoError(t, err)
		all, err := f.Survey(t.Context(), &ihcv1.RunRequest{}, view)
		require.NoError(t, err)

		require.Equal(t, []unit.Sum{utc.Share, utc.Credit, utc.Cost, utc.KnownCosts}, []unit.Sum{all.Share, all.Credit, all.Cost, all.KnownCosts})
		require.Equal(t, utc.Range, all.Range)
		require.Equal(t, utc.Unattributed, all.Unattributed)

		f.retime(func(_ string, _ int, date, at string) (string, string) {
			micros, err := civil.ParseTime(date + " " + at)
			require.NoError(t, err)
			shown := time.UnixMicro(micros).UTC().Add(time.Duration(zone.minutes) * time.Minute)
			return shown.Format(time.DateOnly), shown.Format("15:04:05.999999")
		})
		want, err := f.Survey(t.Context(), req, store.View{})
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func daysWhenClocksChangeHave23And25Hours(t *testing.T, b Backend) {
	f := b.fresh(t)
	tx, err := f.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	for at := time.Date(2023, 3, 24, 0, 0, 0, 0, time.UTC); at.Before(time.Date(2023, 11, 1, 0, 0, 0, 0, time.UTC)); at = at.Add(time.Hour) {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO session_sources (session_id, user_id, event_date, event_time, channel_name, holder_engagement, closer_engagement, impression_interaction)
			VALUES ($1, 'u', $2, $3, 'SEO', 0, 0, 0)`, at.Format(time.DateTime), at.Format(time.DateOnly), at.Format(time.TimeOnly))
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	f.exec(`INSERT INTO session_costs (session_id, cost) SELECT session_id, 1 FROM session_sources`)
	cost := func(date, zone string) float64 {
		// The range is of local days: that date alone.
		totals, err := f.Survey(t.Context(), &ihcv1.RunRequest{StartDate: date, EndDate: date}, store.View{Zone: zone})
		require.NoError(t, err)
		require.Len(t, totals.Covered, 1)
		require.Equal(t, totals.Dates.Cost, totals.Dates.KnownCosts)
		require.Equal(t, totals.Covered[0].Cost, totals.Dates.Cost.Float(unit.CostDecimals))
		return totals.Covered[0].Cost
	}
	for date, hours := range map[string]float64{"2023-03-25": 24, "2023-03-26": 23, "2023-10-28": 24, "2023-10-29": 25, "2023-10-30": 24} {
		require.Equal(t, hours, cost(date, "Europe/Berlin"), date)
		require.Equal(t, float64(24), cost(date, ""), date)
	}
}

func surveyInAZoneThatIsNoneIsRefused(t *testing.T, b Backend) {
	_, err := b.fresh(t).Survey(t.Context(), &ihcv1.RunRequest{}, store.View{Zone: "Middle/Earth"})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, `"Middle/Earth"`)
}
