package attribution

import (
	"fmt"
	"math"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

const (
	// maxTransitions bounds a chain, whose number of states grows with the
	// order: it keeps some hundred bytes for each.
	maxTransitions = 1 << 20
	// maxChannels is how many channels have a number that a state can hold.
	maxChannels = 1<<16 - 2
)

// Chain is a Markov chain of journeys: a state is the last few channels, fewer
// at a journey's beginning, and state 0 is the start. It counts transitions and
// keeps no journey. Add may be called with journeys in any order, and those that
// are alike at once: the counts, and what [Chain.Effects] makes of them, stay the
// same.
type Chain struct {
	order  int
	states map[uint64]int32 // by key: 16 bits a channel, the last one lowest
	keys   []uint64         // by state
	next   map[uint64]int32 // transition by state and channel
	moves  []move           // by transition

	// By transition; and by state, to the conversion and to none.
	counts, converted, lost []int64
	value                   []float64 // of the conversions, by last state
}

// move is a transition between two states.
type move struct{ from, to int32 }

// NewChain returns an empty chain of the given order, 1 to [MaxOrder].
func NewChain(order int) *Chain {
	c := &Chain{order: order, states: map[uint64]int32{}, next: map[uint64]int32{}}
	c.state(0)
	return c
}

func (c *Chain) state(key uint64) int32 {
	if s, ok := c.states[key]; ok {
		return s
	}
	s := int32(len(c.keys))
	c.states[key] = s
	c.keys = append(c.keys, key)
	c.converted, c.lost, c.value = append(c.converted, 0), append(c.lost, 0), append(c.value, 0)
	return s
}

// step returns the transition from a state by way of a channel, 0 and up.
func (c *Chain) step(from, channel int32) (int32, error) {
	by := uint64(from)<<32 | uint64(channel)
	if t, ok := c.next[by]; ok {
		return t, nil
	}
	t := int32(len(c.moves))
	switch {
	case channel >= maxChannels:
		return 0, errkind.Inputf("markov: there are more than %d channels", maxChannels)
	case t == maxTransitions:
		return 0, errkind.Inputf("markov: of order %d there are more than %d transitions between states; use a lower --markov-order", c.order, maxTransitions)
	}
	mask := ^uint64(0) >> (64 - 16*c.order)
	to := c.state((c.keys[from]<<16 | uint64(channel+1)) & mask)
	c.next[by] = t
	c.moves = append(c.moves, move{from, to})
	c.counts = append(c.counts, 0)
	return t, nil
}

// Path is journeys that are alike: so many that converted, with what they are
// worth together, and so many that did not.
type Path struct {
	Channels          []int32
	Conversions, Null int64
	Value             float64
}

// Add counts journeys. A chain that would become too large is an input fault.
func (c *Chain) Add(p Path) error {
	at := int32(0)
	for _, channel := range p.Channels {
		t, err := c.step(at, channel)
		if err != nil {
			return err
		}
		c.counts[t] += p.Conversions + p.Null
		at = c.moves[t].to
	}
	c.end(at, p)
	return nil
}

func (c *Chain) end(at int32, p Path) {
	c.converted[at] += p.Conversions
	c.lost[at] += p.Null
	c.value[at] += p.Value
}

// Effects is what the removal of each channel takes from a chain.
type Effects struct {
	// Base is the part of the journeys that converts.
	Base float64
	// Removal is, by channel, the part of the conversions that would be lost if
	// the channel led nowhere: the chance that a journey which converts visits
	// it. RemovalValue is the same of their value.
	Removal, RemovalValue []float64
}

// Divide divides totals among the channels in proportion to the effects.
func Divide(total float64, effects []float64) []float64 {
	sum := 0.0
	for _, e := range effects {
		sum += e
	}
	credit := make([]float64, len(effects))
	if sum == 0 {
		return credit
	}
	for i, e := range effects {
		credit[i] = total * e / sum
	}
	return credit
}

// DivideValue divides a value among the channels in proportion to what their
// removal takes from it. Where refunds make these effects cancel out, so that
// there are no proportions, it goes by the conversions.
func (e *Effects) DivideValue(total float64) []float64 {
	sum, size := 0.0, 0.0
	for _, v := range e.RemovalValue {
		sum += v
		size += math.Abs(v)
	}
	if math.Abs(sum) <= 1e-9*size {
		return Divide(total, e.Removal)
	}
	return Divide(total, e.RemovalValue)
}

// Effects returns the removal effects of channels 0 to channels-1.
func (c *Chain) Effects(channels int) (*Effects, error) {
	n := network{chain: c, counts: make([]float64, len(c.counts)), converted: floats(c.converted), lost: floats(c.lost), value: c.value}
	for t, count := range c.counts {
		n.counts[t] = float64(count)
	}
	e, err := n.effects(channels, exact)
	if err != nil {
		return nil, fmt.Errorf("markov of order %d: %w", c.order, err)
	}
	return e, nil
}

func floats(of []int64) []float64 {
	all := make([]float64, len(of))
	for i, n := range of {
		all[i] = float64(n)
	}
	return all
}
