// Package ihcmodel computes IHC attribution without the vendor: an open
// reconstruction of the model behind the IHC API, from published answers of
// it. docs/ihc-model.md is its mathematics; the step numbers in the comments
// here are the ones of that page.
//
// The method is the same for every customer. Its parameters ([Params]) are
// trained for each: those embedded ([DefaultParams]) are of one published
// shop, and [Train] learns a user's own from their journeys.
//
// The package needs the standard library alone.
package ihcmodel

import (
	"maps"
	"math"
	"slices"
)

// Session is one visit of a journey, as the model sees it.
type Session struct {
	TimeMicros int64  // UTC, microseconds since 1970
	Channel    string // looked up in the channel scores, letter by letter
	Holder     bool   // holder engagement: at least a product view or two
	Closer     bool   // closer engagement: checkout activity
	Impression bool   // seen, not clicked; what it does is not known, and here it does nothing
}

// Score is one session's share of its conversion: in each phase, and overall.
type Score struct {
	Initializer, Holder, Closer, IHC Share
}

// Model is a set of parameters ready for use. It does not change, and any
// number of goroutines may share it, each with a [Scorer] of its own.
type Model struct {
	params  Params
	cut     uint64 // a gap of this many microseconds or more starts the journey anew (step 3)
	cuts    bool   // whether any gap does: the initializer curve reaches 1
	channel map[string]ChannelScore
}

// New makes a model of a copy of p. The error is that of [Params.Validate].
func New(p *Params) (*Model, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	m := &Model{params: *p, channel: maps.Clone(p.ChannelScores)}
	m.params.InitializerCurve = slices.Clone(p.InitializerCurve)
	m.params.CloserCurve = slices.Clone(p.CloserCurve)
	m.params.ChannelScores = m.channel
	m.cut, m.cuts = p.InitializerCurve.reachesOne()
	return m, nil
}

// Name returns the name of the parameters, to be shown with the model's numbers.
func (m *Model) Name() string { return m.params.Name }

// Params returns the model's parameters; they are not to be changed.
func (m *Model) Params() *Params { return &m.params }

// Begin returns the place, in a journey of n sessions in order of time, at which
// the model begins: after its last gap at which the initializer curve is 1. The
// sessions before have no share.
func (m *Model) Begin(n int, micros func(int) int64) int {
	for k := n - 1; k > 0 && m.cuts; k-- {
		if uint64(micros(k))-uint64(micros(k-1)) >= m.cut {
			return k
		}
	}
	return 0
}

// score returns the channel's factors: 1 in every phase for one not listed.
func (m *Model) score(channel string) ChannelScore {
	if s, ok := m.channel[channel]; ok {
		return s
	}
	return ChannelScore{1, 1, 1}
}

// Scorer scores one journey after another with memory of its own, so that
// nothing is allocated once it has seen the longest. One goroutine each.
type Scorer struct {
	model    *Model
	rules    [3]*compiledRule
	order    []int        // the sessions' indices, by time
	phase    [3][]float64 // initializer, holder, closer by order; memberships, then shares
	combined []float64
	fixed    [4][]Share // the three phases and ihc
	role     []uint8
	rate     []float64
}

// Scorer returns a scorer of the model that redistributes by r, which may be
// nil and which the caller has validated ([ParseRedistribution] does).
func (m *Model) Scorer(r *Redistribution) *Scorer {
	return &Scorer{model: m, rules: r.compileRules()}
}

// Score scores one journey: the sessions of one conversion up to and with its
// last, in any order; those of equal time stay in the order given. It returns
// out with one Score for each session, at the same index. The ihc of a journey
// sums to exactly [Whole], and so does every phase but a holder nobody held,
// which is 0 throughout.
func (s *Scorer) Score(sessions []Session, out []Score) []Score {
	n := len(sessions)
	out = slices.Grow(out[:0], n)[:n]
	switch n {
	case 0:
		return out
	case 1: // what the steps below come to
		out[0] = Score{Initializer: Whole, Closer: Whole, IHC: Whole}
		return out
	}
	s.reset(sessions)
	start := s.memberships(sessions)
	clear(out)
	held := true
	for p := range s.phase {
		shares := s.phase[p][start:]
		if normalise(shares) == 0 {
			held = false // only holder can be without any
			clear(s.fixed[p][start:])
			continue
		}
		if rule := s.rules[p]; rule != nil {
			channel := func(k int) string { return sessions[s.order[start+k]].Channel }
			rule.apply(shares, channel, s.role[start:], s.rate[start:])
		}
		fix(shares, s.fixed[p][start:])
	}
	s.combine(start, held)
	for k := start; k < n; k++ {
		out[s.order[k]] = Score{s.fixed[0][k], s.fixed[1][k], s.fixed[2][k], s.fixed[3][k]}
	}
	return out
}

// reset makes room for the sessions and orders them by time (step 1).
func (s *Scorer) reset(sessions []Session) {
	n := len(sessions)
	if cap(s.order) < n {
		s.order = make([]int, n)
		s.role = make([]uint8, n)
		s.rate = make([]float64, n)
		s.combined = make([]float64, n)
		for i := range s.phase {
			s.phase[i] = make([]float64, n)
		}
		for i := range s.fixed {
			s.fixed[i] = make([]Share, n)
		}
	}
	s.order, s.role, s.rate, s.combined = s.order[:n], s.role[:n], s.rate[:n], s.combined[:n]
	for i := range s.phase {
		s.phase[i] = s.phase[i][:n]
	}
	for i := range s.fixed {
		s.fixed[i] = s.fixed[i][:n]
	}
	sorted := true
	for i := range s.order {
		s.order[i] = i
		sorted = sorted && (i == 0 || sessions[i-1].TimeMicros <= sessions[i].TimeMicros)
	}
	if !sorted {
		slices.SortStableFunc(s.order, func(a, b int) int {
			switch ta, tb := sessions[a].TimeMicros, sessions[b].TimeMicros; {
			case ta < tb:
				return -1
			case ta > tb:
				return 1
			}
			return 0
		})
	}
}

// memberships fills s.phase with the sessions' memberships times their
// channels' scores, in order (steps 2 to 6, before normalising), and returns
// where the journey starts: sessions before have no share.
func (s *Scorer) memberships(sessions []Session) (start int) {
	m, last := s.model, len(s.order)-1
	initializer, holder, closer := s.phase[0], s.phase[1], s.phase[2]
	end := sessions[s.order[last]].TimeMicros
	previous := sessions[s.order[0]].TimeMicros
	var sumI, sumC float64
	for k, i := range s.order {
		one := &sessions[i]
		// In order of time a difference is never negative; as unsigned
		// numbers, it cannot overflow either.
		gap := uint64(one.TimeMicros) - uint64(previous)
		previous = one.TimeMicros
		switch {
		case k == 0 || m.cuts && gap >= m.cut: // step 3, by the gap itself
			start, initializer[k] = k, 1
		default:
			initializer[k] = m.params.InitializerCurve.At(float64(gap) / microsPerHour)
		}
		closer[k] = 0
		if one.Closer || k == last {
			closer[k] = m.params.CloserCurve.At(float64(uint64(end)-uint64(one.TimeMicros)) / microsPerHour)
		}
		sumI += initializer[k]
		sumC += closer[k]
	}
	for k := start; k <= last; k++ {
		one := &sessions[s.order[k]]
		holder[k] = 0
		if one.Holder { // steps 4 and 5
			notI, notC := 1-initializer[k]/sumI, 1-closer[k]/sumC
			if both := notI + notC; both > 0 {
				holder[k] = (both/2 + 2*notI*notC/both) / 2
			}
		}
		factor := m.score(one.Channel) // step 6
		initializer[k] *= factor.Initializer
		holder[k] *= factor.Holder
		closer[k] *= factor.Closer
	}
	return start
}

// combine weighs the fixed phases into ihc (step 7 and the rounding of ihc),
// from start on.
func (s *Scorer) combine(start int, held bool) {
	w := s.model.params.PhaseWeights
	var rounded, exact float64
	for k := start; k < len(s.order); k++ {
		v := w.Initializer*float64(s.fixed[0][k]) + w.Holder*float64(s.fixed[1][k]) + w.Closer*float64(s.fixed[2][k])
		s.combined[k] = v
		exact += v
		rounded += math.RoundToEven(v)
	}
	combined := s.combined[start:]
	switch {
	case held: // the weights sum to 1 and so do the phases: in ten-thousandths, v sums to Whole
		for k := range combined {
			combined[k] /= float64(Whole)
		}
	case rounded > 0:
		for k := range combined {
			combined[k] = math.RoundToEven(combined[k]) / rounded
		}
	default: // tens of thousands of sessions, each below a half ten-thousandth
		for k := range combined {
			combined[k] /= exact
		}
	}
	fix(combined, s.fixed[3][start:])
}

// normalise divides v by its sum, which it returns; a sum of 0 divides nothing.
func normalise(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	if sum == 0 {
		return 0
	}
	for k := range v {
		v[k] /= sum
	}
	return sum
}

// Fix rounds the shares of a journey, which sum to 1, as the model rounds its
// own: fixed, of the same length, sums to exactly [Whole].
func Fix(shares []float64, fixed []Share) {
	if len(shares) > 0 {
		fix(shares, fixed)
	}
}

// fix rounds shares that sum to 1 into ten-thousandths that sum to [Whole]:
// each is rounded (a tie to the even digit), and what then lacks or is too
// much goes to the largest, the first of equals.
//
// That is the API's way as far as its answers show it, in journeys of up to 13
// sessions. In one of thousands of near equal shares the correction can be
// larger than the largest share, or every share can round to 0. There the
// rounding errors are carried from session to session instead: a share is what
// the rounded running total grows by.
func fix(v []float64, fixed []Share) {
	largest, sum := 0, Share(0)
	for k, x := range v {
		fixed[k] = Share(math.RoundToEven(x * float64(Whole)))
		sum += fixed[k]
		if fixed[k] > fixed[largest] {
			largest = k
		}
	}
	if sum > 0 && fixed[largest]+Whole-sum >= 0 {
		fixed[largest] += Whole - sum
		return
	}
	var total float64
	var before Share
	for k, x := range v {
		total += x
		now := min(Share(math.Round(total*float64(Whole))), Whole)
		fixed[k], before = now-before, now
	}
}
