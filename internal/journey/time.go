package journey

import "fmt"

// ParseTime reads `YYYY-MM-DD HH:MM:SS`, with up to six digits of a second's
// fraction, as UTC, and returns microseconds since 1970-01-01 00:00:00 UTC.
// Any other form is an error that shows it.
func ParseTime(s string) (int64, error) {
	bad := func() (int64, error) {
		return 0, fmt.Errorf("unreadable time %.80q: write YYYY-MM-DD HH:MM:SS, in UTC", s)
	}
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return bad()
	}
	y, ok1 := number(s[0:4])
	mo, ok2 := number(s[5:7])
	d, ok3 := number(s[8:10])
	h, ok4 := number(s[11:13])
	mi, ok5 := number(s[14:16])
	sec, ok6 := number(s[17:19])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || mo < 1 || mo > 12 || d < 1 || d > daysIn(y, mo) || h > 23 || mi > 59 || sec > 59 {
		return bad()
	}
	micros := int64(0)
	if len(s) > 19 {
		digits := s[20:]
		f, ok := number(digits)
		if s[19] != '.' || len(digits) == 0 || len(digits) > 6 || !ok {
			return bad()
		}
		for range 6 - len(digits) {
			f *= 10
		}
		micros = f
	}
	return (daysSinceEpoch(y, mo, d)*86400+h*3600+mi*60+sec)*1_000_000 + micros, nil
}

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

func daysIn(y, m int64) int64 {
	switch {
	case m == 2 && (y%4 == 0 && y%100 != 0 || y%400 == 0):
		return 29
	case m == 2:
		return 28
	case m == 4 || m == 6 || m == 9 || m == 11:
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
	era := (y + 400) / 400 // years here are 0 to 9999; +400 keeps the division of year -1 right
	yoe := y + 400 - era*400
	doy := (153*(m-3)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return (era-1)*146097 + doe - 719468
}
