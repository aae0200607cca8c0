package inspect

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/findings"
)

// mostSampled is how many rows of a table are kept in a sample at the most, a
// megabyte of them: so many that a few journeys of thousands of sessions do not count
// for more than they are.
const mostSampled = 1 << 16

// sample is what some users did, one in 2^level of them, who are the same in all
// tables and in whatever order rows come.
type sample struct {
	level uint
	rows  []moment
}

// moment is when a user did something, in microseconds since 1970.
type moment struct {
	user uint64 // its hash
	at   int64
}

// in says whether users of a hash are in the sample.
func (s *sample) in(user uint64) bool { return user<<(64-s.level)>>(64-s.level) == 0 }

// add takes a row into the sample. What has no user or no time is left out.
func (s *sample) add(user, date, time any) {
	var hash uint64
	switch user := user.(type) {
	case string:
		hash = xxhash.Sum64String(user)
	case int64:
		hash = xxhash.Sum64String(strconv.FormatInt(user, 10))
	default:
		return
	}
	if !s.in(hash) {
		return
	}
	day, ok := date.(string)
	clock, too := time.(string)
	if !ok || !too {
		return
	}
	d, ok := civil.ParseDate(day)
	t, too := civil.ParseTimeOfDay(clock)
	if ok && too {
		s.rows = append(s.rows, moment{hash, d.Micros() + t})
		s.thin()
	}
}

// take adds a sample of other rows of the table.
func (s *sample) take(other *sample) {
	s.rows = append(s.rows, other.rows...)
	s.narrow(max(s.level, other.level))
	s.thin()
}

// thin leaves out half of the users as often as there are too many rows.
func (s *sample) thin() {
	for len(s.rows) > mostSampled && s.level < 63 {
		s.narrow(s.level + 1)
	}
}

// narrow leaves the users of a level.
func (s *sample) narrow(level uint) {
	if s.level = level; level > 0 {
		s.rows = slices.DeleteFunc(s.rows, func(m moment) bool { return !s.in(m.user) })
	}
}

// fewestSampled is of how many conversions a sample tells what they have in the mean.
const fewestSampled = 30

// PerConversion returns about how many touchpoints a conversion in the range of the
// options has, by what some users did: the sessions before it, within the lookback. It
// is 0 where there are too few to tell, or where a scan is nil.
func PerConversion(sessions, conversions *Scan, o findings.Options) float64 {
	if sessions == nil || conversions == nil {
		return 0
	}
	visits, orders := &sessions.sample, &conversions.sample
	level := max(visits.level, orders.level)
	visits.narrow(level)
	orders.narrow(level)
	slices.SortFunc(visits.rows, moment.compare)
	first, _ := civil.ParseDate(cmp.Or(o.StartDate, civil.First))
	last, _ := civil.ParseDate(cmp.Or(o.EndDate, civil.Last))
	counted, touchpoints := 0, 0
	for _, order := range orders.rows {
		if order.at < first.Micros() || order.at >= (last+1).Micros() {
			continue
		}
		begin := moment{order.user, math.MinInt64}
		if o.LookbackDays > 0 {
			begin.at = order.at - civil.Date(o.LookbackDays).Micros()
		}
		i, _ := slices.BinarySearchFunc(visits.rows, begin, moment.compare)
		j, _ := slices.BinarySearchFunc(visits.rows, order, moment.compare)
		counted++
		touchpoints += max(j-i, 0)
	}
	if counted < fewestSampled {
		return 0
	}
	return float64(touchpoints) / float64(counted)
}

func (m moment) compare(o moment) int {
	return cmp.Or(cmp.Compare(m.user, o.user), cmp.Compare(m.at, o.at))
}
