package source

import (
	"database/sql/driver"
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// check looks at one value as it is stored (nil, int64, float64, string or
// []byte) and reports every rule it breaks.
type check func(value driver.Value, report func(rule))

const (
	longBytes    = 1 << 10  // longText
	tooLongBytes = 64 << 10 // tooLong

	// MaxAmount is the least amount of money, in either direction, that is
	// refused: times 10,000 for its own decimals and 10,000 for those of ihc it
	// is the most that fits a 64-bit integer.
	MaxAmount = 9e10
)

// textOf returns the value's text, or reports why it has none.
func textOf(value driver.Value, report func(rule)) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case nil:
		report(isNull)
	default:
		report(wrongType.with("text"))
	}
	return "", false
}

// checkText reports what is odd about free text.
func checkText(s string, report func(rule)) {
	if len(s) <= longBytes && printable(s) {
		return
	}
	switch {
	case len(s) > tooLongBytes:
		report(tooLong)
	case len(s) > longBytes:
		report(longText)
	}
	switch {
	case !utf8.ValidString(s):
		report(notUTF8)
	case strings.ContainsFunc(s, unicode.IsControl):
		report(controlChar)
	}
}

// printable tells whether s is printable ASCII throughout, as nearly all is.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func checkID(value driver.Value, report func(rule)) {
	s, ok := textOf(value, report)
	if !ok {
		return
	}
	if blank(s) {
		report(blankID)
	}
	checkText(s, report)
}

// checkChannel leaves blank and similar names to the check of all channels.
func checkChannel(value driver.Value, report func(rule)) {
	if s, ok := textOf(value, report); ok {
		checkText(s, report)
	}
}

func checkDate(value driver.Value, report func(rule)) {
	if s, ok := textOf(value, report); ok && !IsDate(s) {
		report(unreadableDate)
	}
}

func checkTime(value driver.Value, report func(rule)) {
	s, ok := textOf(value, report)
	switch {
	case !ok, IsTime(s):
	case zoned.MatchString(s):
		report(zonedTime)
	default:
		report(unreadableTime)
	}
}

var zoned = regexp.MustCompile(`^\d\d:\d\d:\d\d(\.\d+)? ?([Zz]|UTC|GMT|[+-]\d\d(:?\d\d)?)$`)

func checkFlag(value driver.Value, report func(rule)) {
	switch value := value.(type) {
	case int64:
		if value != 0 && value != 1 {
			report(badFlag)
		}
	case nil:
		report(isNull)
	default:
		report(wrongType.with("an integer, 0 or 1"))
	}
}

func checkRevenue(value driver.Value, report func(rule)) {
	if value == nil {
		report(isNull)
		return
	}
	checkAmount(value, 4, negativeRevenue, revenueDecimals, report)
}

func checkCost(value driver.Value, report func(rule)) {
	if value == nil {
		report(nullCost)
		return
	}
	checkAmount(value, 6, negativeCost, costDecimals, report)
}

func checkAmount(value driver.Value, decimals int, negative, finer rule, report func(rule)) {
	var amount float64
	switch value := value.(type) {
	case float64:
		amount = value
	case int64:
		amount = float64(value)
	default:
		report(wrongType.with("a number"))
		return
	}
	switch {
	case math.IsInf(amount, 0) || math.IsNaN(amount):
		report(notFinite)
		return
	case math.Abs(amount) >= MaxAmount:
		report(tooLarge)
		return
	case amount < 0:
		report(negative)
	}
	// What floating point adds of itself, as in 0.1 + 0.2, does not count.
	scaled := amount * math.Pow10(decimals)
	if math.Abs(scaled-math.Round(scaled)) > 1e-6+math.Abs(scaled)*4e-16 {
		report(finer)
	}
}

// IsDate tells whether s is a date of the calendar written YYYY-MM-DD.
func IsDate(s string) bool {
	if len(s) != len("2006-01-02") || s[4] != '-' || s[7] != '-' {
		return false
	}
	year, ok1 := digits(s[:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:])
	return ok1 && ok2 && ok3 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month)
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// IsTime tells whether s is a time of day written HH:MM:SS, from 00:00:00 to
// 23:59:59, optionally with a point and 1 to 6 further digits.
func IsTime(s string) bool {
	if len(s) < len("15:04:05") || s[2] != ':' || s[5] != ':' {
		return false
	}
	hour, ok1 := digits(s[:2])
	minute, ok2 := digits(s[3:5])
	second, ok3 := digits(s[6:8])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return false
	}
	if len(s) == len("15:04:05") {
		return true
	}
	fraction := s[9:]
	_, ok := digits(fraction)
	return s[8] == '.' && ok && len(fraction) <= 6
}

// digits reads ASCII digits, at least one, as a number; at most six are asked for.
func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}
