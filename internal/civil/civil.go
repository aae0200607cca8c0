// Package civil reads and writes calendar dates and times of day as the
// pipeline spells them: dates YYYY-MM-DD, times HH:MM:SS with up to six further
// digits, all in UTC, years 0000 to 9999. Points in time are microseconds
// since 1970-01-01 00:00:00 UTC.
//
// Package time reads the same, and more than that (one-digit hours, any number
// of digits), at several times the cost: these functions read hundreds of
// millions of rows.
package civil

import (
	"fmt"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// First and Last are the dates between which all others are.
const (
	First = "0000-01-01"
	Last  = "9999-12-31"
)

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond
)

// Date is a date of the calendar: days since 1970-01-01.
type Date int64

// String returns the date as YYYY-MM-DD.
func (d Date) String() string { return DateOf(d.Micros()) }

// Micros returns when the date begins.
func (d Date) Micros() int64 { return int64(d) * microsPerDay }

// ParseDate reads YYYY-MM-DD; it is not ok where s is anything else, or no
// date of the calendar.
func ParseDate(s string) (d Date, ok bool) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	year, ok1 := number(s[:4])
	month, ok2 := number(s[5:7])
	day, ok3 := number(s[8:])
	if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	return Date(daysSinceEpoch(year, month, day)), true
}

// IsDate says whether s is a date of the calendar written YYYY-MM-DD.
func IsDate(s string) bool {
	_, ok := ParseDate(s)
	return ok
}

// ParseTimeOfDay reads HH:MM:SS, from 00:00:00 to 23:59:59, optionally with a
// point and 1 to 6 further digits, as microseconds since midnight; it is not
// ok where s is anything else.
func ParseTimeOfDay(s string) (micros int64, ok bool) {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return 0, false
	}
	hour, ok1 := number(s[:2])
	minute, ok2 := number(s[3:5])
	second, ok3 := number(s[6:8])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	if len(s) > 8 {
		digits := s[9:]
		fraction, ok := number(digits)
		if s[8] != '.' || len(digits) == 0 || len(digits) > 6 || !ok {
			return 0, false
		}
		for range 6 - len(digits) {
			fraction *= 10
		}
		micros = fraction
	}
	return (hour*3600+minute*60+second)*microsPerSecond + micros, true
}

// IsTime says whether [ParseTimeOfDay] reads s.
func IsTime(s string) bool {
	_, ok := ParseTimeOfDay(s)
	return ok
}

// ParseTime reads `YYYY-MM-DD HH:MM:SS`, with up to six digits of a second's
// fraction, as UTC. Any other form is an error that shows it.
func ParseTime(s string) (micros int64, err error) {
	if len(s) > 10 && s[10] == ' ' {
		d, ok1 := ParseDate(s[:10])
		at, ok2 := ParseTimeOfDay(s[11:])
		if ok1 && ok2 {
			return d.Micros() + at, nil
		}
	}
	return 0, fmt.Errorf("unreadable time %.80q: write YYYY-MM-DD HH:MM:SS, in UTC", s)
}

// Format returns a point in time as `YYYY-MM-DD HH:MM:SS`, with as many digits
// of a second's fraction as it takes. [ParseTime] reads it back.
func Format(micros int64) string {
	return time.UnixMicro(micros).UTC().Format("2006-01-02 15:04:05.999999")
}

// DateOf returns the date of a point in time as YYYY-MM-DD.
func DateOf(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.DateOnly) }

// CheckRange returns an input error unless start and end, which go by the
// given names, are each empty or a date written YYYY-MM-DD, and start is not
// after end.
func CheckRange(startName, start, endName, end string) error {
	for _, d := range [...]struct{ name, value string }{{startName, start}, {endName, end}} {
		if d.value != "" && !IsDate(d.value) {
			return errkind.Inputf("%s %.80q is no date: write it as YYYY-MM-DD, for example 2023-09-01", d.name, d.value)
		}
	}
	if start != "" && end != "" && start > end {
		return errkind.Inputf("%s %s is after %s %s; swap them", startName, start, endName, end)
	}
	return nil
}

// InRange says whether a date is from start to end, both included; an empty
// one bounds nothing.
func InRange(date, start, end string) bool {
	return (start == "" || date >= start) && (end == "" || date <= end)
}

// number reads ASCII digits. More of them than an int64 holds wrap around; the
// callers check the length.
func number(s string) (n int64, ok bool) {
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, true
}

func daysIn(year, month int64) int64 {
	switch {
	case month == 2 && (year%4 == 0 && year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	default:
		return 31
	}
}

// daysSinceEpoch counts days in the proleptic Gregorian calendar, with years
// beginning in March so that the leap day comes last (Howard Hinnant,
// "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
func daysSinceEpoch(y, m, d int64) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	era := (y + 400) / 400 // years here are -1 to 9999; +400 keeps the division of year -1 right
	yoe := y + 400 - era*400
	doy := (153*(m-3)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return (era-1)*146097 + doe - 719468
}
