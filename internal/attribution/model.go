package attribution

import (
	"fmt"
	"slices"
	"strings"
)

// newModel returns the model of that name, ready to take users.
func newModel(name string, o Options, by Period) (model, error) {
	repeats := &repeats{how: o.Collapse, seen: map[int32]bool{}}
	switch name {
	case Participation:
		return &coverage{tallies: newTallies(by)}, nil
	case Markov:
		return newMarkov(o, by, repeats), nil
	case IHC:
		repeats.how = CollapseNone
	}
	rule, err := NewRule(name, o)
	if err != nil {
		return nil, err
	}
	return &scoring{name: name, rule: rule, tallies: newTallies(by), repeats: repeats, undirected: name == LastNonDirect && len(o.Direct) == 0}, nil
}

// repeats takes repeated channels out of journeys.
type repeats struct {
	how  string
	room []Touch
	seen map[int32]bool
}

// without returns the touches that stay.
func (r *repeats) without(touches []Touch) []Touch {
	if r.how == CollapseNone {
		return touches
	}
	r.room = collapse(r.how, touches, r.room, r.seen)
	return r.room
}

// scoring is a rule at work on all users.
type scoring struct {
	name    string
	rule    Rule
	tallies *tallies
	repeats *repeats
	shares  []float64
	// undirected: it passes over direct channels, and was told of none.
	undirected bool
}

func (m *scoring) user(channels []string, p *person) error {
	for i := range p.sales {
		v := &p.sales[i]
		touches := m.repeats.without(p.touches[v.from:v.to])
		one := m.tallies.in(v.period)
		if len(touches) == 0 {
			m.tallies.all.add(0, 1, v.revenue)
			if one != nil {
				one.add(0, 1, v.revenue)
			}
			continue
		}
		if cap(m.shares) < len(touches) {
			m.shares = make([]float64, 2*len(touches))
		}
		shares := m.shares[:len(touches)]
		m.rule.Shares(Journey{channels, touches}, shares)
		for k, share := range shares {
			if share == 0 {
				continue
			}
			m.tallies.all.add(touches[k].Channel, share, share*v.revenue)
			if one != nil {
				one.add(touches[k].Channel, share, share*v.revenue)
			}
			if m.name == Shapley {
				m.tallies.all.place(touches[k].Channel, k, share)
			}
		}
	}
	m.tallies.endUser()
	return nil
}

func (m *scoring) result(channels []string, period int32) (Result, error) {
	r := Result{Model: m.name, Label: m.rule.Name(), Credits: m.tallies.get(period).credits(channels)}
	if m.undirected {
		note := "no channel is named as direct: the same as last"
		if likely := LikelyDirect(channels); likely != "" {
			note += fmt.Sprintf("; with --direct %q that channel is passed over", likely)
		}
		r.Notes = []string{note}
	}
	return r, nil
}

// LikelyDirect returns the channel that by its name holds visits without a
// source, "" if there is none.
func LikelyDirect(channels []string) string {
	for _, name := range slices.Sorted(slices.Values(channels)) {
		switch strings.ToLower(strings.Trim(name, "() ")) {
		case "direct", "direct traffic", "direct visit", "direct visits", "direct) / (none", "direct / none", "typed/bookmarked":
			return name
		}
	}
	return ""
}

// mostPlaces is how many places of a journey are told apart; later ones count
// as the last of these.
const mostPlaces = 20

// place adds to a channel's credit by the place in the journey, 0 and up.
func (t *tally) place(channel int32, at int, share float64) {
	c := &t.channels[channel]
	at = min(at, mostPlaces-1)
	if n := at + 1 - len(c.positions); n > 0 {
		c.positions = append(c.positions, make([]float64, n)...)
	}
	c.positions[at] += share
}

// coverage counts the conversions that a channel had a part in.
type coverage struct {
	tallies *tallies
	seen    []bool
}

func (m *coverage) user(channels []string, p *person) error {
	if n := len(channels); len(m.seen) < n {
		m.seen = make([]bool, n)
	}
	for i := range p.sales {
		v := &p.sales[i]
		touches := p.touches[v.from:v.to]
		one := m.tallies.in(v.period)
		if len(touches) == 0 {
			touches = []Touch{{Channel: 0}}
		}
		for k := range touches {
			channel := touches[k].Channel
			if m.seen[channel] {
				continue
			}
			m.seen[channel] = true
			m.tallies.all.add(channel, 1, v.revenue)
			if one != nil {
				one.add(channel, 1, v.revenue)
			}
		}
		for k := range touches {
			m.seen[touches[k].Channel] = false
		}
	}
	m.tallies.endUser()
	return nil
}

func (m *coverage) result(channels []string, period int32) (Result, error) {
	return Result{Model: Participation, Label: Participation, Coverage: true, Credits: m.tallies.get(period).credits(channels),
		Notes: []string{"coverage, not attribution: each channel counts every conversion that it had a part in"}}, nil
}
