// Package daily spreads what channels cost by day over the sessions of these days,
// in the same way in every kind of database.
package daily

import (
	"errors"
	"slices"
	"time"

	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// Cost is what a channel cost on a day, which is from Begins until before Ends.
type Cost struct {
	Date, Channel, Begins, Ends string
	Cost                        int64 // in millionths
	Sessions                    int64 // over which it is spread
	given                       int64
}

// Share returns the part of the next session, in the order of ids: parts differ
// by no more than one millionth, the larger ones first, and their sum is the cost.
func (c *Cost) Share() unit.Cost {
	base, left := c.Cost/c.Sessions, c.Cost%c.Sessions
	c.given++
	switch {
	case left > 0 && c.given <= left:
		base++
	case left < 0 && c.given <= -left:
		base--
	}
	return unit.Cost(base)
}

// Costs are the days that have a cost, by channel.
type Costs map[string][]*Cost

// By returns days, which are in order, by their channels.
func By(all []*Cost) Costs {
	by := Costs{}
	for _, c := range all {
		by[c.Channel] = append(by[c.Channel], c)
	}
	return by
}

// At returns the day that a session of a channel is on, at YYYY-MM-DD HH:MM:SS in
// UTC, nil where that has no cost.
func (by Costs) At(channel, at string) *Cost {
	days := by[channel]
	n, exact := slices.BinarySearchFunc(days, at, func(c *Cost, at string) int {
		if c.Begins <= at {
			return -1
		}
		return 1
	})
	if n--; exact || n < 0 || at >= days[n].Ends {
		return nil
	}
	return days[n]
}

// Told returns where the costs are: read is how many an import was given.
func Told(read int64, all []*Cost) store.Spread {
	done := store.Spread{Read: read}
	for _, c := range all {
		done.Days++
		done.Cost += unit.Cost(c.Cost)
		done.Sessions += c.Sessions
		if c.Sessions == 0 {
			done.Alone++
			done.AloneCost += unit.Cost(c.Cost)
		}
	}
	return done
}

// Range returns the beginning of the day of the first of two moments, and the end
// of that of the last, as clocks in a zone have them. All are YYYY-MM-DD HH:MM:SS in
// UTC.
func Range(first, last string, zone *time.Location) (from, until string, err error) {
	a, err1 := time.Parse("2006-01-02 15:04:05.999999", first)
	b, err2 := time.Parse("2006-01-02 15:04:05.999999", last)
	a, b = a.In(zone), b.In(zone)
	from = time.Date(a.Year(), a.Month(), a.Day(), 0, 0, 0, 0, zone).UTC().Format(time.DateTime)
	until = time.Date(b.Year(), b.Month(), b.Day()+1, 0, 0, 0, 0, zone).UTC().Format(time.DateTime)
	return from, until, errors.Join(err1, err2)
}
