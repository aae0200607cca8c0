package storetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// A survey in a zone is that of a shop which had written down its own clocks,
// and what it sums up over all dates is what UTC has.
func surveyInAZoneIsThatOfItsClocks(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f, _, _ := b.scoredShop(t)
		req := drawRange(t)
		req.RunId = ""
		f.exec(`UPDATE session_sources SET event_time = printf('%02d:%02d:07.5', rowid * 7 % 24, rowid * 11 % 60)`)
		f.exec(`UPDATE conversions SET conv_time = printf('%02d:%02d:07', rowid * 5 % 24, rowid * 13 % 60)`)
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

		for _, of := range [][3]string{{"session_sources", "event_date", "event_time"}, {"conversions", "conv_date", "conv_time"}} {
			f.exec(fmt.Sprintf(`UPDATE %[1]s SET %[2]s = date(%[2]s||' '||%[3]s, '%[4]d minutes'), %[3]s = time(%[2]s||' '||%[3]s, '%[4]d minutes')||substr(%[3]s, 9)`, of[0], of[1], of[2], zone.minutes))
		}
		want, err := f.Survey(t.Context(), req, store.View{})
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func daysWhenClocksChangeHave23And25Hours(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.exec(`WITH hours (at) AS (SELECT '2023-03-24 00:00:00' UNION ALL SELECT datetime(at, '1 hour') FROM hours WHERE at < '2023-11-01')
		INSERT INTO session_sources (session_id, user_id, event_date, event_time, channel_name, holder_engagement, closer_engagement, impression_interaction)
		SELECT at, 'u', date(at), time(at), 'SEO', 0, 0, 0 FROM hours`)
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
