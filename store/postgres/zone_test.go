package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/civil"
)

func TestPartsOfADateSayWhatClocksShow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Marquesas", "Pacific/Kiritimati", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Monrovia"}).Draw(t, "zone")
		zone, err := civil.Zone(name)
		require.NoError(t, err)
		date := rapid.OneOf(
			rapid.SampledFrom([]string{"2023-03-26", "2023-10-29", "2011-12-29", "2011-12-30", "2011-12-31", "2018-11-04", "0000-01-01", "0001-01-01", "9999-12-31", "2023-02-30", "", "1972-01-07"}),
			rapid.Map(rapid.Int64Range(-60_000, 60_000), func(d int64) string { return civil.Date(d).String() })).Draw(t, "date")
		at := timeOfDay(rapid.Int64Range(0, secondsPerDay-1).Draw(t, "time")) + rapid.SampledFrom([]string{"", ".5", ".999999"}).Draw(t, "fraction")
		got := date
		for _, p := range partsOf(date, zone) {
			require.NotEqual(t, date, p.local)
			if p.date == date && at >= p.begins && at < p.ends {
				require.Equal(t, date, got, "parts do not overlap")
				got = p.local
			}
		}
		require.Equal(t, civil.DateIn(date, at, zone), got)
	})
}
