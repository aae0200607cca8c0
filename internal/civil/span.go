package civil

import (
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Span is the dates from First to Last, both included.
type Span struct{ First, Last Date }

// otherSpellings are those beside YYYY-MM-DD.
const otherSpellings = "2023-09, 2023-W36, today, yesterday, -7d, -4w, -1m or -1y"

// Today returns the date that it is at t, in the time zone of t.
func Today(t time.Time) Date {
	year, month, day := t.Date()
	return Date(daysSinceEpoch(int64(year), int64(month), int64(day)))
}

// ParseSpan reads the dates that s means on the day it is today:
//
//	2023-09-01         that date
//	2023-09            the month
//	2023-W36           the week by ISO 8601, Monday to Sunday
//	today, yesterday   that date
//	-7d, -4w           so many days or weeks before today
//	-1m, -2y           the same day so many months or years before, or that
//	                   month's last day where it has no such day
//
// It is not ok where s is anything else, or is not within the years 0000 to
// 9999.
func ParseSpan(s string, today Date) (span Span, ok bool) {
	one := func(d Date) (Span, bool) {
		first, _ := ParseDate(First)
		last, _ := ParseDate(Last)
		return Span{d, d}, first <= d && d <= last
	}
	switch {
	case s == "today":
		return one(today)
	case s == "yesterday":
		return one(today - 1)
	case strings.HasPrefix(s, "-"):
		d, ok := before(s[1:], today)
		if !ok {
			return Span{}, false
		}
		return one(d)
	case len(s) == 7: // 2023-09
		first, ok := ParseDate(s + "-01")
		if !ok {
			return Span{}, false
		}
		year, month, _ := first.split()
		return Span{first, first + Date(daysIn(year, month)) - 1}, true
	case len(s) == 8: // 2023-W36
		return week(s)
	}
	d, ok := ParseDate(s)
	return Span{d, d}, ok
}

// before reads 7d, 4w, 1m or 2y as a date so long before today.
func before(s string, today Date) (Date, bool) {
	if len(s) < 2 || len(s) > 6 {
		return 0, false
	}
	n, ok := number(s[:len(s)-1])
	if !ok {
		return 0, false
	}
	switch s[len(s)-1] {
	case 'd':
		return today - Date(n), true
	case 'w':
		return today - Date(7*n), true
	case 'm':
		return monthsBefore(today, n), true
	case 'y':
		return monthsBefore(today, 12*n), true
	default:
		return 0, false
	}
}

func monthsBefore(d Date, n int64) Date {
	year, month, day := d.split()
	months := year*12 + month - 1 - n
	if months < 0 {
		return -1 << 40 // before all years there are
	}
	year, month = months/12, months%12+1
	return Date(daysSinceEpoch(year, month, min(day, daysIn(year, month))))
}

// Months returns how many months the one of a date is after that of another,
// less than 0 where it is before.
func Months(from, to Date) int {
	fromYear, fromMonth, _ := from.split()
	year, month, _ := to.split()
	return int(12*(year-fromYear) + month - fromMonth)
}

// week reads 2023-W36. The first week of a year is the one with its fourth of
// January.
func week(s string) (Span, bool) {
	if s[4:6] != "-W" {
		return Span{}, false
	}
	year, ok1 := number(s[:4])
	n, ok2 := number(s[6:])
	if !ok1 || !ok2 || n < 1 {
		return Span{}, false
	}
	fourth := Date(daysSinceEpoch(year, 1, 4))
	monday := fourth - fourth.weekday() + Date(7*(n-1))
	// A 53rd week that does not have the year's last Thursday is the next year's.
	if thursday, _, _ := (monday + 3).split(); thursday != year {
		return Span{}, false
	}
	first, _ := ParseDate(First)
	last, _ := ParseDate(Last)
	return Span{monday, monday + 6}, first <= monday && monday+6 <= last
}

// weekday counts from Monday, 0, to Sunday, 6.
func (d Date) weekday() Date { return ((d+3)%7 + 7) % 7 }

// split returns the parts of a date.
func (d Date) split() (year, month, day int64) {
	t := time.Unix(int64(d)*86_400, 0).UTC()
	return int64(t.Year()), int64(t.Month()), int64(t.Day())
}

// ResolveRange returns the dates, YYYY-MM-DD, from the first of what start means
// to the last of what end means (see [ParseSpan]); an empty one stays empty. It
// is an input error, which calls them by the given names, where one of them is
// no date or start is after end.
func ResolveRange(startName, start, endName, end string, today Date) (first, last string, err error) {
	for _, d := range [...]struct {
		name, value string
		to          *string
		of          func(Span) Date
	}{
		{startName, start, &first, func(s Span) Date { return s.First }},
		{endName, end, &last, func(s Span) Date { return s.Last }},
	} {
		if d.value == "" {
			continue
		}
		span, ok := ParseSpan(d.value, today)
		if !ok {
			return "", "", errkind.Inputf("%s %.80q is no date: write it as YYYY-MM-DD, for example 2023-09-01, or as %s", d.name, d.value, otherSpellings)
		}
		*d.to = d.of(span).String()
	}
	if first != "" && last != "" && first > last {
		return "", "", errkind.Inputf("%s %s is after %s %s; swap them", startName, shown(start, first), endName, shown(end, last))
	}
	return first, last, nil
}

// shown is a date as it was written and, where that is another, as it is.
func shown(written, date string) string {
	if written == date {
		return date
	}
	return written + " (" + date + ")"
}
