package civil

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func dateOf(t time.Time) string { return t.Format(time.DateOnly) }

func TestSpansMeanWhatTheySay(t *testing.T) {
	t.Parallel()
	today, ok := ParseDate("2023-03-31")
	require.True(t, ok)
	for written, want := range map[string]string{
		"2023-09-01": "2023-09-01 2023-09-01",
		"today":      "2023-03-31 2023-03-31",
		"yesterday":  "2023-03-30 2023-03-30",
		"-0d":        "2023-03-31 2023-03-31",
		"-7d":        "2023-03-24 2023-03-24",
		"-2w":        "2023-03-17 2023-03-17",
		"-1m":        "2023-02-28 2023-02-28",
		"-37m":       "2020-02-29 2020-02-29",
		"-1y":        "2022-03-31 2022-03-31",
		"2024-02":    "2024-02-01 2024-02-29",
		"2023-12":    "2023-12-01 2023-12-31",
		"2023-W36":   "2023-09-04 2023-09-10",
		"2020-W53":   "2020-12-28 2021-01-03",
		"2021-W01":   "2021-01-04 2021-01-10",
		"2009-W01":   "2008-12-29 2009-01-04",
	} {
		s, ok := ParseSpan(written, today)
		require.True(t, ok, written)
		require.Equal(t, want, s.First.String()+" "+s.Last.String(), written)
	}
	for _, wrong := range []string{"", "-", "-d", "-7", "-7x", "7d", "+7d", "--7d", "-1234567d", "tomorrow", "Today", "2023", "2023-13", "2023-00",
		"2023-W00", "2023-W53", "2023-W54", "2023-w36", "2023-W3", "2023-9", "-9999y", "-99999d9", "9999-W53", "2023-09-31"} {
		_, ok := ParseSpan(wrong, today)
		require.False(t, ok, wrong)
	}
}

// Package time says the same of months, weeks and days before.
func TestSpansAgreeWithPackageTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-50_000_000_000, 200_000_000_000).Draw(t, "at"), 0).UTC()
		today := Today(at)
		require.Equal(t, dateOf(at), today.String())

		n := rapid.IntRange(0, 20_000).Draw(t, "days")
		s, ok := ParseSpan(fmt.Sprintf("-%dd", n), today)
		require.True(t, ok)
		require.Equal(t, dateOf(at.AddDate(0, 0, -n)), s.First.String())

		s, ok = ParseSpan(at.Format("2006-01"), today)
		require.True(t, ok)
		require.True(t, s.First <= today && today <= s.Last)
		require.Equal(t, dateOf(time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC)), s.Last.String())

		year, week := at.ISOWeek()
		s, ok = ParseSpan(fmt.Sprintf("%04d-W%02d", year, week), today)
		require.True(t, ok)
		require.True(t, s.First <= today && today <= s.Last)
		require.Equal(t, Date(6), s.Last-s.First)

		months := rapid.IntRange(0, 200).Draw(t, "months")
		s, ok = ParseSpan(fmt.Sprintf("-%dm", months), today)
		require.True(t, ok)
		first := time.Date(at.Year(), at.Month()-time.Month(months), 1, 0, 0, 0, 0, time.UTC)
		require.Equal(t, first.Format("2006-01"), s.First.String()[:7], "the month is right even where it has no such day")
		require.True(t, s.First.String()[8:] == dateOf(at)[8:] || s.First+1 == Today(first.AddDate(0, 1, 0)))
	})
}

func TestTodayDependsOnTheTimeZone(t *testing.T) {
	t.Parallel()
	late := time.Date(2023, 9, 1, 23, 30, 0, 0, time.UTC)
	require.Equal(t, "2023-09-01", Today(late).String())
	require.Equal(t, "2023-09-02", Today(late.In(time.FixedZone("", 3600))).String())
}

func TestMonthsAreCountedByTheCalendar(t *testing.T) {
	t.Parallel()
	for dates, want := range map[[2]string]int{
		{"2023-01-31", "2023-01-01"}: 0, {"2023-01-31", "2023-02-01"}: 1, {"2023-12-31", "2024-01-01"}: 1,
		{"2024-03-01", "2023-11-30"}: -4, {"2020-02-29", "2024-02-29"}: 48,
	} {
		from, _ := ParseDate(dates[0])
		to, _ := ParseDate(dates[1])
		require.Equal(t, want, Months(from, to), dates)
	}
}

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"2023-09-01", "2023-09", "2023-W36", "-7d", "-1m", "today", "yesterday"} {
		f.Add(s, int64(19600))
	}
	f.Fuzz(func(t *testing.T, s string, today int64) {
		if today < -700_000 || today > 2_900_000 {
			return
		}
		if span, ok := ParseSpan(s, Date(today)); ok {
			require.LessOrEqual(t, span.First, span.Last)
			require.True(t, IsDate(span.First.String()) && IsDate(span.Last.String()))
		}
	})
}
