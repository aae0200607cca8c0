package attribution

import (
	"math"
	"slices"
	"strings"
)

// normal95 is how many standard errors a 95 % interval reaches to either side.
const normal95 = 1.959963984540054

// tally adds up credit by channel, and how it varies between users.
type tally struct {
	channels []credited
	touched  []int32 // channels of the user under way
}

type credited struct {
	conversions, revenue               float64
	conversionsSquared, revenueSquared float64 // sums over users of what each gives, squared
	ofUser, revenueOfUser              float64
	touched                            bool
	positions                          []float64
}

func (t *tally) add(channel int32, conversions, revenue float64) {
	if int(channel) >= len(t.channels) {
		t.channels = append(t.channels, make([]credited, int(channel)+1-len(t.channels))...)
	}
	c := &t.channels[channel]
	if !c.touched {
		c.touched = true
		t.touched = append(t.touched, channel)
	}
	c.ofUser += conversions
	c.revenueOfUser += revenue
}

// endUser settles what the user under way gave.
func (t *tally) endUser() {
	for _, channel := range t.touched {
		c := &t.channels[channel]
		c.conversions += c.ofUser
		c.revenue += c.revenueOfUser
		c.conversionsSquared += c.ofUser * c.ofUser
		c.revenueSquared += c.revenueOfUser * c.revenueOfUser
		c.ofUser, c.revenueOfUser, c.touched = 0, 0, false
	}
	t.touched = t.touched[:0]
}

// credits returns the estimates by channel. The error of a total is √Σ credit²
// over the users: the limit that resampling users comes to.
func (t *tally) credits(channels []string) []Credit {
	all := make([]Credit, 0, len(channels))
	for i, name := range channels {
		var c credited
		if i < len(t.channels) {
			c = t.channels[i]
		}
		if i == 0 && c.conversions == 0 {
			continue // nothing is unattributed
		}
		all = append(all, Credit{Channel: name, Conversions: within(c.conversions, c.conversionsSquared, 0), Revenue: within(c.revenue, c.revenueSquared, math.Inf(-1)),
			TooFew: c.conversions < TooFew, Positions: c.positions})
	}
	return byName(all)
}

func byName(all []Credit) []Credit {
	slices.SortFunc(all, func(a, b Credit) int { return strings.Compare(a.Channel, b.Channel) })
	return all
}

func within(value, squared, least float64) Estimate {
	half := normal95 * math.Sqrt(squared)
	return Estimate{value, max(value-half, least), value + half, true}
}

// tallies are those of all conversions and of each period.
type tallies struct {
	by      Period
	all     tally
	of      map[int32]*tally
	touched map[int32]*tally // those of the user under way
}

func newTallies(by Period) *tallies {
	return &tallies{by: by, of: map[int32]*tally{}, touched: map[int32]*tally{}}
}

// in returns the tally of a period, nil where there are no periods.
func (t *tallies) in(period int32) *tally {
	if t.by == ByNothing {
		return nil
	}
	one := t.of[period]
	if one == nil {
		one = &tally{}
		t.of[period] = one
	}
	t.touched[period] = one
	return one
}

// get returns the tally of a period or of [always], for reading.
func (t *tallies) get(period int32) *tally {
	if period == always {
		return &t.all
	}
	if one := t.of[period]; one != nil {
		return one
	}
	return &tally{}
}

func (t *tallies) endUser() {
	t.all.endUser()
	if len(t.touched) == 0 {
		return
	}
	for _, one := range t.touched {
		one.endUser()
	}
	clear(t.touched)
}
