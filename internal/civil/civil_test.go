package civil

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func TestParseTimeAgreesWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for at := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 10000; at = at.AddDate(0, 0, 13).Add(7*time.Hour + 11*time.Minute + 13*time.Second) {
		got, err := ParseTime(at.Format(time.DateTime))
		require.NoError(t, err)
		require.Equal(t, at.UnixMicro(), got, at)
	}
}

func TestParseTimeFractions(t *testing.T) {
	t.Parallel()
	for text, micros := range map[string]int64{
		"1970-01-01 00:00:00.5":      500_000,
		"1970-01-01 00:00:01.000001": 1_000_001,
		"1970-01-01 00:00:00.0":      0,
	} {
		got, err := ParseTime(text)
		require.NoError(t, err, text)
		require.Equal(t, micros, got, text)
	}
}

func TestATimeThatCannotBeReadIsShown(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "2023-09-01", "2023-09-01 ", "2023-09-01T10:00:00", "2023-02-29 10:00:00", "2023-09-01 24:00:00"} {
		_, err := ParseTime(s)
		require.ErrorContains(t, err, `"`+s+`": write YYYY-MM-DD HH:MM:SS, in UTC`)
	}
	_, err := ParseTime(strings.Repeat("9", 1000))
	require.Less(t, len(err.Error()), 150)
}

// What is written is read back.
func TestTimesAndDatesSurvive(t *testing.T) {
	t.Parallel()
	first, last := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Int64Range(first.UnixMicro(), last.UnixMicro()).Draw(t, "micros")
		got, err := ParseTime(Format(micros))
		require.NoError(t, err)
		require.Equal(t, micros, got)

		d, ok := ParseDate(DateOf(micros))
		require.True(t, ok)
		require.Equal(t, DateOf(micros), d.String())
		require.LessOrEqual(t, d.Micros(), micros)
		require.Less(t, micros, (d + 1).Micros())
	})
	require.Equal(t, First, DateOf(first.UnixMicro()))
	require.Equal(t, Last, DateOf(last.UnixMicro()))
	require.Equal(t, "2023-09-01 13:01:28", Format(time.Date(2023, 9, 1, 13, 1, 28, 0, time.UTC).UnixMicro()))
}

// The standard library's calendar is the judge.
func TestIsDate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-9]{4}-[0-1][0-9]-[0-3][0-9]`).Draw(t, "date")
		_, err := time.Parse(time.DateOnly, s)
		require.Equal(t, err == nil, IsDate(s), s)
	})
	for _, s := range []string{"", "2023-09-1", "2023-09-011", "２０２３-09-01", "2023/09/01", "-023-09-01", "+023-09-01", "2023-09-01\x00", " 2023-09-01"} {
		require.False(t, IsDate(s), s)
	}
}

func TestIsTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,6})?`).Draw(t, "time")
		_, err := time.Parse(time.TimeOnly, s)
		require.Equal(t, err == nil, IsTime(s), s)
	})
	for _, s := range []string{"", "23:59:60", "10:00", "10:00:00.", "10:00:00,5", "10:00:00.1234567", "10:00:00Z", "10:00:00 ", "1a:00:00", "10:00:00.1x", "10-00-00"} {
		require.False(t, IsTime(s), s)
	}
}

func TestCheckRangeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	check := func(start, end string) error { return CheckRange("start_date", start, "--end", end) }
	for _, r := range [][2]string{{"", ""}, {"2023-09-01", ""}, {"", "2023-09-01"}, {"2023-09-01", "2023-09-01"}, {First, Last}} {
		require.NoError(t, check(r[0], r[1]))
	}
	for _, wrong := range []struct{ start, end, says string }{
		{"2023-02-29", "", `start_date "2023-02-29" is no date: write it as YYYY-MM-DD, for example 2023-09-01`},
		{"2023-01-01", "1.2.2023", `--end "1.2.2023" is no date: write it as YYYY-MM-DD, for example 2023-09-01`},
		{"2023-09-02", "2023-09-01", `start_date 2023-09-02 is after --end 2023-09-01; swap them`},
	} {
		err := check(wrong.start, wrong.end)
		require.EqualError(t, err, wrong.says)
		require.Equal(t, errkind.Input, errkind.KindOf(err))
	}
}

func TestInRangeIncludesBothEnds(t *testing.T) {
	t.Parallel()
	for _, in := range [][2]string{{"", ""}, {"2023-09-05", ""}, {"", "2023-09-05"}, {"2023-09-05", "2023-09-05"}} {
		require.True(t, InRange("2023-09-05", in[0], in[1]), in)
	}
	for _, out := range [][2]string{{"2023-09-06", ""}, {"", "2023-09-04"}, {"2023-09-06", "2023-09-30"}} {
		require.False(t, InRange("2023-09-05", out[0], out[1]), out)
	}
}

// Package time is the judge of what is a time, but for the forms it reads beyond ours.
func FuzzAgainstPackageTime(f *testing.F) {
	for _, s := range []string{
		"2023-09-01 13:01:28", "2024-02-29 00:00:00.123456", "2023-02-29 00:00:00", "2023-09-01T13:01:28Z", "2023-09-01 24:00:00", "",
		"2023-09-01 13:01:28.", "0000-01-01  0:00:00", "2023-09-01", "10:00:00.5", "0000-00-00", "10:00:00+02:00", "\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s)
		want, e := time.Parse("2006-01-02 15:04:05.999999", s)
		ours := e == nil && strings.HasPrefix(s, want.Format(time.DateTime)) && (len(s) == 19 || s[19] == '.' && len(s) > 20 && len(s) <= 26)
		require.Equal(t, ours, err == nil)
		if ours {
			require.Equal(t, want.UnixMicro(), got)
		}

		d, ok := ParseDate(s)
		day, e := time.Parse(time.DateOnly, s)
		require.Equal(t, e == nil, ok)
		if ok {
			require.Equal(t, day.UnixMicro(), d.Micros())
			require.Equal(t, s, d.String())
		}

		if IsTime(s) {
			_, err := time.Parse("15:04:05.999999", s)
			require.NoError(t, err)
			require.False(t, IsDate(s), "both a date and a time")
		}
	})
}
