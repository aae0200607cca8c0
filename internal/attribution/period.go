package attribution

import (
	"math"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Period is how conversions are divided by time.
type Period string

// The periods there are. Weeks begin on Monday, UTC.
const (
	ByNothing Period = ""
	ByWeek    Period = "week"
	ByMonth   Period = "month"
)

// always stands for all periods together; it comes before each of them.
const always int32 = math.MinInt32

const dayMicros = 24 * 3600 * 1_000_000

// ParsePeriod reads what `--by` says: channel, week or month.
func ParsePeriod(text string) (Period, error) {
	switch text {
	case "", "channel":
		return ByNothing, nil
	case "week":
		return ByWeek, nil
	case "month":
		return ByMonth, nil
	default:
		return "", errkind.Inputf("by %q: use channel, week or month", text)
	}
}

// of returns the number of the period that a time is in, in microseconds.
func (p Period) of(micros int64) int32 {
	switch p {
	case ByWeek:
		day := micros / dayMicros
		if micros%dayMicros < 0 {
			day--
		}
		day += 3 // 1970-01-01 was a Thursday
		week := day / 7
		if day%7 < 0 {
			week--
		}
		return int32(week)
	case ByMonth:
		t := time.UnixMicro(micros).UTC()
		return int32(t.Year()*12 + int(t.Month()) - 1)
	default:
		return 0
	}
}

// name writes a period by its number.
func (p Period) name(number int32) string {
	switch p {
	case ByWeek:
		return time.UnixMicro((int64(number)*7 - 3) * dayMicros).UTC().Format(time.DateOnly)
	case ByMonth:
		return time.Date(int(number)/12, time.Month(number%12+1), 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	default:
		return ""
	}
}

// Of returns the name of the period that a date, YYYY-MM-DD, is in.
func (p Period) Of(date string) string {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return ""
	}
	return p.name(p.of(t.UnixMicro()))
}
