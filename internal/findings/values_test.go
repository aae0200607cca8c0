package findings

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

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

func FuzzDatesAndTimes(f *testing.F) {
	for _, s := range []string{"2023-09-01", "2024-02-29", "10:00:00", "10:00:00.5", "10:00:00+02:00", "0000-00-00", "24:00:00", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if IsDate(s) {
			if _, err := time.Parse(time.DateOnly, s); err != nil {
				t.Fatal(err)
			}
		}
		if IsTime(s) {
			if _, err := time.Parse("15:04:05.999999", s); err != nil {
				t.Fatal(err)
			}
		}
		if IsDate(s) && IsTime(s) {
			t.Fatalf("%q is both", s)
		}
	})
}
