package intake

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/civil"
)

// clock reads times, and counts what daylight saving made of them.
type clock struct {
	zone   *time.Location
	layout string // of the standard library; "" for the usual ones
	counts *Counts
}

var (
	errNoTime = errors.New("no time is there: fill it in or leave the row out")
	errTime   = errors.New("no time that can be read: write it like 2023-09-01 13:01:28, 2023-09-01T13:01:28+02:00, or as seconds since 1970; or give the layout in the mapping, such as %d/%m/%Y %H:%M")
	errNoHour = errors.New("the time of day is missing: map a column that has it too")
)

var layouts = []string{
	"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 Z07:00",
	"2006-01-02 15:04:05.999999999 -0700", "2006-01-02T15:04:05.999999999-0700", "2006-01-02 15:04:05.999999999-07",
	"2006-01-02 15:04:05.999999999 MST", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00",
	"2006-01-02T15:04:05.999999999Z07", "2006-01-02T15:04Z0700", "2006-01-02T15:04Z07",
	"20060102T150405.999999999Z07:00", "20060102T150405.999999999Z0700", "20060102T150405.999999999Z07", "20060102T1504Z0700",
}

var zoneless = []string{
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04",
	"2.1.2006 15:04:05", "2.1.2006 15:04", "20060102 15:04:05", "20060102 150405", "20060102150405",
	"20060102T150405.999999999", "20060102T1504",
}

// read returns a text as date and time of day in UTC.
func (c *clock) read(s string) (date, clock string, err error) {
	// Most are as they are stored.
	if (c.zone == time.UTC) && c.layout == "" && len(s) >= 19 && len(s) <= 26 && (s[10] == ' ' || s[10] == 'T') && civil.IsDate(s[:10]) && civil.IsTime(s[11:]) {
		return s[:10], s[11:], nil
	}
	at, err := c.parse(strings.TrimSpace(s))
	if err != nil {
		return "", "", err
	}
	if year := at.Year(); year < 0 || year > 9999 {
		return "", "", errTime
	}
	text := civil.Format(at.UnixMicro())
	return text[:10], text[11:], nil
}

func (c *clock) parse(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, errNoTime
	}
	if c.layout != "" {
		at, err := time.Parse(c.layout, s)
		if err != nil {
			return time.Time{}, errTime
		}
		if strings.Contains(c.layout, "-0700") || strings.Contains(c.layout, "Z07:00") {
			return at, nil
		}
		return c.inZone(at), nil
	}
	if at, ok := epoch(s); ok {
		return at, nil
	}
	for _, layout := range layouts {
		if at, err := time.Parse(layout, s); err == nil {
			if _, offset := at.Zone(); strings.HasSuffix(layout, "MST") && offset == 0 && !strings.HasSuffix(s, "UTC") && !strings.HasSuffix(s, "GMT") {
				continue // letters that name no zone to be sure of
			}
			return at, nil
		}
	}
	for _, layout := range zoneless {
		if at, err := time.Parse(layout, s); err == nil {
			return c.inZone(at), nil
		}
	}
	if civil.IsDate(s) {
		return time.Time{}, errNoHour
	}
	return time.Time{}, errTime
}

// epoch reads whole or broken seconds, milliseconds, microseconds or nanoseconds
// since 1970, told apart by their number of digits.
func epoch(s string) (time.Time, bool) {
	whole, fraction, broken := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(whole) < 9 || whole[0] < '0' || whole[0] > '9' {
		return time.Time{}, false
	}
	switch {
	case len(whole) <= 10:
		micros := int64(0)
		if broken {
			micros, err = strconv.ParseInt((fraction + "000000")[:6], 10, 64)
		}
		return time.UnixMicro(n*1_000_000 + micros), err == nil && len(fraction) <= 9
	case broken:
		return time.Time{}, false
	case len(whole) <= 13:
		return time.UnixMilli(n), len(whole) >= 12
	case len(whole) == 15 || len(whole) == 16:
		return time.UnixMicro(n), true
	case len(whole) >= 18:
		return time.Unix(0, n), true
	}
	return time.Time{}, false
}

// inZone takes a wall's time in the zone. Of one that is twice, when clocks are put
// back, the first is taken; one that never was, when they are put forward, is
// as much later as they are put forward. Both are counted.
func (c *clock) inZone(wall time.Time) time.Time {
	if c.zone == time.UTC {
		return wall
	}
	offset := func(at time.Time) time.Duration {
		_, seconds := at.In(c.zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	before, after := offset(wall.Add(-24*time.Hour)), offset(wall.Add(24*time.Hour))
	first := wall.Add(-before)
	if before == after {
		return first
	}
	second := wall.Add(-after)
	firstIs, secondIs := offset(first) == before, offset(second) == after
	switch {
	case firstIs && secondIs:
		c.counts.Twice++
		return first
	case firstIs:
		return first
	case secondIs:
		return second
	}
	c.counts.Never++
	return first
}

// layoutOf turns %Y and the like into the standard library's layout.
func layoutOf(s string) string {
	return strings.NewReplacer("%Y", "2006", "%y", "06", "%m", "01", "%d", "02", "%H", "15", "%I", "03", "%M", "04", "%S", "05", "%f", "999999",
		"%p", "PM", "%b", "Jan", "%z", "-0700", "%-d", "2", "%-m", "1", "%T", "15:04:05", "%F", "2006-01-02", "%%", "%").Replace(s)
}

// readDate reads a day.
func readDate(s, layout string) (string, error) {
	s = strings.TrimSpace(s)
	if layout == "" && civil.IsDate(s) {
		return s, nil
	}
	tried := []string{"20060102", "2.1.2006", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00"}
	if layout != "" {
		tried = []string{layout}
	}
	for _, form := range tried {
		if at, err := time.Parse(form, s); err == nil && at.Year() >= 0 && at.Year() <= 9999 {
			return at.Format(time.DateOnly), nil
		}
	}
	return "", errors.New("no date that can be read: write it like 2023-09-01 or 20230901, or give the layout in the mapping, such as %d/%m/%Y")
}
