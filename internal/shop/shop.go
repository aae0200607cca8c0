// Package shop makes up a believable shop's database: visits, orders and
// marketing costs for the tables of package tables, for demonstrations, tests
// and measurements. Everything in it is invented.
//
// It has what real shops have and pipelines stumble over: buyers who come back,
// visits that lead nowhere, orders of people who were never seen, a few
// customers with hundreds of visits, channels that differ in cost and
// engagement, days and weeks with a rhythm, visits without cost, costs without
// visit, events in the same second.
package shop

import (
	"context"
	"math"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Config says how large a shop to make up. The zero value is the shop of the
// demonstration. Sessions are met exactly; Conversions and Touchpoints are
// aimed at, and missed by a few in a hundred, as orders are drawn by chance.
type Config struct {
	// Seed chooses among shops of the same size. The same seed and sizes give
	// the same rows.
	Seed uint64
	// Sessions is how many visits there are. 0 means 6,000.
	Sessions int
	// Conversions is how many orders to aim at, at most half of Sessions. 0
	// means 7 for every 60 sessions.
	Conversions int
	// Touchpoints is the sum over all conversions of the sessions before them
	// to aim at: how heavily the visits are heaped on few customers. 0 means 15
	// for each conversion, or as near as the other sizes allow.
	Touchpoints int
	// MaxJourney is the most sessions a customer has, and thus a journey. 0
	// means 400: a few journeys are longer than the 200 sessions of a request.
	MaxJourney int
	// Start is the first UTC date, YYYY-MM-DD, and Days how many days the data
	// cover. Empty and 0 mean 92 days from 2023-06-01.
	Start string
	Days  int
}

// Stats counts what was made up.
type Stats struct {
	Users       int64 // customers with sessions
	Sessions    int64
	Conversions int64
	// WithoutSessions counts the conversions with no session strictly before.
	WithoutSessions int64
	// Touchpoints is the sum over conversions of the sessions strictly before.
	Touchpoints    int64
	LongestJourney int64
	Costs          int64
}

const (
	maxSessions = 1 << 31 // keeps all ids apart
	maxDays     = 36_500
)

func (c Config) withDefaults() (Config, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Sessions, 6_000)
	def(&c.Conversions, max(c.Sessions*7/60, 1))
	def(&c.MaxJourney, 400)
	def(&c.Days, 92)
	if c.Start == "" {
		c.Start = "2023-06-01"
	}
	switch {
	case c.Sessions < 1 || c.Sessions > maxSessions:
		return c, errkind.Inputf("a shop of %d sessions: choose 1 to %d", c.Sessions, maxSessions)
	case c.Conversions < 1 || c.Conversions > max(c.Sessions/2, 1):
		return c, errkind.Inputf("a shop of %d conversions: choose 1 to half of its %d sessions", c.Conversions, c.Sessions)
	case c.MaxJourney < 1:
		return c, errkind.Inputf("journeys of at most %d sessions: choose 1 or more", c.MaxJourney)
	case c.Days < 1 || c.Days > maxDays:
		return c, errkind.Inputf("a shop over %d days: choose 1 to %d", c.Days, maxDays)
	case !civil.IsDate(c.Start):
		return c, errkind.Inputf("start date %q is no date of the calendar written YYYY-MM-DD", c.Start)
	case c.Touchpoints < 0:
		return c, errkind.Inputf("%d touchpoints: choose 1 or more", c.Touchpoints)
	}
	return c, nil
}

// Rows takes the rows of a shop's source tables, in order of time: dates are
// written YYYY-MM-DD, times of day HH:MM:SS.
type Rows interface {
	Session(id, user, date, clock, channel string, holder, closer, impression bool) error
	Conversion(id, user, date, clock string, revenue float64) error
	Cost(session string, cost float64) error
}

// Generate makes up a shop and gives its rows, in memory that does not grow
// with its size. A million sessions take about four seconds to be written.
// Sizes that do not go together are an input error.
func Generate(ctx context.Context, cfg Config, into Rows) (Stats, error) {
	given := cfg.Touchpoints > 0
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Stats{}, err
	}
	sizes, err := crowd(cfg, given)
	if err != nil {
		return Stats{}, err
	}
	start, _ := civil.ParseDate(cfg.Start) // withDefaults has looked at it
	t := &town{seed: cfg.Seed, sizes: sizes, start: start.Micros() / 1_000_000, days: cfg.Days}
	t.guests = int(math.Round(float64(cfg.Conversions) * guestShare))
	sessions := float64(cfg.Sessions)
	t.odds = float64(cfg.Conversions-t.guests) / sessions / meanFactor(float64(t.customers())/sessions)
	w := &writer{town: t, into: into, stats: Stats{Users: int64(t.customers())}}
	err = w.all(ctx, cfg.Sessions)
	return w.stats, err
}

// crowd decides how many customers have how many sessions: sizes[n] customers
// have n. The share of customers with n sessions falls with n like a power of
// it, as it does in real shops; the power is the one that gives the
// touchpoints.
func crowd(cfg Config, touchpointsGiven bool) ([]int, error) {
	perOrder := 15.0
	if touchpointsGiven {
		perOrder = float64(cfg.Touchpoints) / float64(cfg.Conversions)
	}
	perOrder /= 1 - guestShare
	// The steeper the power, the fewer the touchpoints.
	lo, hi := -30.0, 30.0
	most, least := perSession(sizesFor(cfg, lo)), perSession(sizesFor(cfg, hi))
	if touchpointsGiven && (perOrder > most*1.01 || perOrder < least*0.99) {
		return nil, errkind.Inputf("%d touchpoints do not go with %d sessions, %d conversions and journeys of at most %d: choose %.0f to %.0f",
			cfg.Touchpoints, cfg.Sessions, cfg.Conversions, cfg.MaxJourney,
			least*float64(cfg.Conversions), most*float64(cfg.Conversions))
	}
	for range 60 {
		mid := (lo + hi) / 2
		if perSession(sizesFor(cfg, mid)) > perOrder {
			lo = mid
		} else {
			hi = mid
		}
	}
	return sizesFor(cfg, hi), nil
}

// sizesFor spreads the sessions over customers by the given power.
func sizesFor(cfg Config, power float64) []int {
	most := min(cfg.MaxJourney, cfg.Sessions)
	share := make([]float64, most+1)
	var total, mean float64
	for n := 1; n <= most; n++ {
		share[n] = math.Pow(float64(n), -power)
		total += share[n]
		mean += share[n] * float64(n)
	}
	mean /= total
	users := float64(cfg.Sessions) / mean
	sizes := make([]int, most+1)
	left := cfg.Sessions
	// From the largest down, each rounded with what is above it, so that the
	// few largest are there at all; what is left over are single visits.
	var above float64
	placed := 0
	for n := most; n > 1; n-- {
		above += share[n] / total * users
		want := min(int(math.Round(above))-placed, left/n)
		sizes[n] = want
		placed += want
		left -= want * n
	}
	sizes[1] = left
	return sizes
}

// perSession returns how many sessions an order has before it, on average. It
// may follow each session, but a customer's first is a little less likely.
func perSession(sizes []int) float64 {
	first := meanFactor(1) / meanFactor(0)
	var before, sessions float64
	for n := 1; n < len(sizes); n++ {
		users, n := float64(sizes[n]), float64(n)
		before += users * (first + n*(n+1)/2 - 1)
		sessions += users * (first + n - 1)
	}
	return before / sessions
}
