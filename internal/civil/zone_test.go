package civil

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func TestDateInAZoneIsThatOfItsClocks(t *testing.T) {
	t.Parallel()
	for _, one := range []struct{ date, at, zone, want string }{
		{"2023-06-01", "21:59:59.999999", "Europe/Berlin", "2023-06-01"},
		{"2023-06-01", "22:00:00", "Europe/Berlin", "2023-06-02"},
		{"2023-01-01", "22:59:59", "Europe/Berlin", "2023-01-01"},
		{"2023-01-01", "23:00:00", "Europe/Berlin", "2023-01-02"},
		{"2024-03-01", "04:59:59", "America/New_York", "2024-02-29"},
		{"2023-06-01", "18:29:59", "Asia/Kolkata", "2023-06-01"},
		{"2011-12-30", "09:59:59", "Pacific/Apia", "2011-12-29"}, // which had no 30th
		{"2011-12-30", "10:00:00", "Pacific/Apia", "2011-12-31"},
		{"2023-06-01", "12:00:00", "", "2023-06-01"},
		{"9999-12-31", "23:30:00", "Europe/Berlin", "9999-12-31"},
		{"0000-01-01", "00:30:00", "America/New_York", "0000-01-01"},
		{"soon", "12:00:00", "Europe/Berlin", "soon"},
		{"2023-06-01", "noon", "Europe/Berlin", "2023-06-01"},
	} {
		zone, err := Zone(one.zone)
		require.NoError(t, err)
		require.Equal(t, one.want, DateIn(one.date, one.at, zone), one)
	}
}

func TestDateInAZoneIsThatOfTheLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		zone, err := Zone(rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Apia", "Asia/Kathmandu", "Antarctica/Troll"}).Draw(t, "zone"))
		require.NoError(t, err)
		at := time.UnixMicro(rapid.Int64Range(-3e15, 5e15).Draw(t, "at")).UTC()
		require.Equal(t, at.In(zone).Format(time.DateOnly), DateIn(at.Format(time.DateOnly), at.Format("15:04:05.000000"), zone))
	})
}

// Nobody's day is longer or shorter than its clocks say.
func TestDaysWhenClocksChangeHave23And25Hours(t *testing.T) {
	t.Parallel()
	zone, err := Zone("Europe/Berlin")
	require.NoError(t, err)
	hours := map[string]int{}
	for at := time.Date(2023, 3, 24, 0, 0, 0, 0, time.UTC); at.Year() == 2023; at = at.Add(time.Hour) {
		hours[DateIn(at.Format(time.DateOnly), at.Format(time.TimeOnly), zone)]++
	}
	require.Equal(t, []int{24, 23, 24, 25, 24}, []int{hours["2023-03-25"], hours["2023-03-26"], hours["2023-10-28"], hours["2023-10-29"], hours["2023-10-30"]})
}

func TestZonesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Local", "Middle/Earth", "../etc/passwd", "CEST+2", "Europe//Berlin", "Europe/./Berlin", "'"} {
		_, err := Zone(name)
		require.Equal(t, errkind.Input, errkind.KindOf(err), name)
	}
}
