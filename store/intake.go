package store

import (
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// Intake is what an import asks of a database: to take rows of other people's
// tables into the source tables, all at once or not at all.
type Intake interface {
	Session(id, user, date, clock, channel string, holder, closer, impression bool) error
	Conversion(id, user, date, clock string, revenue float64) error
	Cost(session string, cost float64) error // not a number where it is not known
	// DailyCost takes what a channel cost on a day, which is from begins until before
	// ends, both as YYYY-MM-DD HH:MM:SS in UTC. Several of one day and channel are added up.
	DailyCost(date, begins, ends, channel string, cost unit.Cost) error
	// Currency returns what the amounts in the database are in, as an earlier import
	// said; "" where none did.
	Currency() (string, error)
	// Denominate says what all amounts are in, those that are there and those given.
	// Where an earlier import said otherwise, this one is refused, an input fault.
	Denominate(currency string)
}

// Denominates says whether an import is the first to name the currency of a database
// that has none yet; "" is none. One in another currency than the database's is an
// input fault.
func Denominates(has, given string) (first bool, err error) {
	if given == "" || given == has {
		return false, nil
	}
	if has == "" {
		return true, nil
	}
	return false, errkind.Inputf("amounts are in %s, those in the database in %s: nothing was imported; name %[2]s as the currency and give a rate in the mapping, such as rates: {%[1]s: \"0.92\"}, or make a database of its own", given, has)
}

// IntakeOptions say how rows are taken.
type IntakeOptions struct {
	// ReplaceRange takes sessions, conversions and daily costs that are not among
	// those given away, on the days from the first to the last that are given.
	ReplaceRange bool
	// Zone is in which days begin and end for that.
	Zone *time.Location
}

// Taken is what an import did to a table's rows.
type Taken struct {
	Read    int64 `json:"read"`
	New     int64 `json:"new"`
	Changed int64 `json:"changed"`
	Equal   int64 `json:"equal"`
	// Repeated rows have the id of a later one, which counts.
	Repeated int64 `json:"repeated"`
	// Removed rows were there and are not in a range that was replaced.
	Removed int64 `json:"removed"`
}

// Imported is what an import did.
type Imported struct {
	Sessions    Taken  `json:"sessions"`
	Conversions Taken  `json:"conversions"`
	Costs       Taken  `json:"costs"`
	DailyCosts  Spread `json:"daily_costs"`
}

// Spread is where the daily costs of a database are, all that it has.
type Spread struct {
	Read     int64     `json:"read"`
	Days     int64     `json:"days_and_channels"`
	Cost     unit.Cost `json:"cost_millionths"`
	Sessions int64     `json:"sessions"` // over which they are spread
	// Alone are days and channels without sessions, and what they cost.
	Alone     int64     `json:"without_sessions"`
	AloneCost unit.Cost `json:"cost_without_sessions_millionths"`
}
