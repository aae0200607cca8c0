package journey

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2023-09-01 13:01:28", "2024-02-29 00:00:00.123456", "2023-02-29 00:00:00", "2023-09-01T13:01:28Z", "2023-09-01 24:00:00", "", "2023-09-01 13:01:28."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s)
		want, e := time.Parse("2006-01-02 15:04:05.999999", s)
		if e != nil || len(s) > 26 || len(s) < 19 || len(s) == 20 || len(s) > 19 && s[19] != '.' {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want.UnixMicro(), got)
	})
}
