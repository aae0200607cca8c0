package civil

import (
	"regexp"
	"sync"
	"time"
	_ "time/tzdata" // an image may have none

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// zones are those that were asked for, by name; zoneName is how they are
// spelled, each in one way, so that there are no more than there are.
var (
	zones    sync.Map
	zoneName = regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$`)
)

// Zone returns the time zone of a name such as Europe/Berlin; "" is UTC. Names
// that the time zone database does not have are input errors, and so is "Local",
// which is another zone on every machine. The error does not say who gave the
// name.
func Zone(name string) (*time.Location, error) {
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), nil //nolint:forcetypeassert // nothing else is put there
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name != "" && !zoneName.MatchString(name) {
		return nil, errkind.Inputf("%.80q is not known: use a name such as UTC, Europe/Berlin or America/New_York", name)
	}
	zones.Store(name, zone)
	return zone, nil
}

// DateIn returns the date that clocks in a zone show at a date and time of day
// in UTC, as YYYY-MM-DD. Where it would be before the first or after the last
// year, or these are no date and time, it is the date itself.
func DateIn(date, timeOfDay string, zone *time.Location) string {
	d, ok1 := ParseDate(date)
	at, ok2 := ParseTimeOfDay(timeOfDay)
	if !ok1 || !ok2 {
		return date
	}
	_, offset := time.UnixMicro(d.Micros() + at).In(zone).Zone()
	local := d
	switch at += int64(offset) * microsPerSecond; {
	case at < 0:
		local--
	case at >= microsPerDay:
		local++
	}
	if local == d {
		return date
	}
	if s := local.String(); IsDate(s) {
		return s
	}
	return date
}
