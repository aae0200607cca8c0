package sqlite

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// noGroup stands for a session that is not in the database any more.
const noGroup = math.MaxUint32

// phaseShares is the share of a session, as a whole and in each phase.
type phaseShares struct{ ihc, initializer, holder, closer int64 }

func (s *phaseShares) add(o phaseShares) {
	s.ihc += o.ihc
	s.initializer += o.initializer
	s.holder += o.holder
	s.closer += o.closer
}

// journeySums adds up journeys, one after the other.
type journeySums struct {
	req   *ihcv1.RunRequest
	query string
	x     *sessionIndex
	out   *store.Journeys
	runs  map[int64]int64
	most  int // paths held

	// Of each group of the index in use.
	channel []uint32
	day     []civil.Date
	in      []bool

	names  []string // of channels, by number
	number map[string]uint32

	phases []phaseShares // by channel
	pairs  []int64       // by initializer × number of channels + closer
	paths  map[string]*path

	// Of the journey at hand.
	groups []uint32
	shares []phaseShares
	phased bool
	steps  []step
	key    []byte
	own    map[uint32]*phaseShares
}

type step struct {
	channel uint32
	visits  int64
	phaseShares
}

type path struct {
	conversions int64
	revenue     unit.Sum
	steps       []step
	cut         bool
}

// pathsHeld is how many ways are counted at a time, in some 20 MiB.
const pathsHeld = 1 << 16

func newJourneySums(s *summing) *journeySums {
	return &journeySums{req: s.req, query: s.journeys(), out: &store.Journeys{}, runs: map[int64]int64{}, most: cmp.Or(s.size.paths, pathsHeld),
		number: map[string]uint32{}, paths: map[string]*path{}, own: map[uint32]*phaseShares{}}
}

// see takes an index into use, whose sessions are all entered.
func (a *journeySums) see(x *sessionIndex) {
	a.x = x
	n := len(x.keys)
	a.channel, a.day, a.in = make([]uint32, n), make([]civil.Date, n), make([]bool, n)
	for g, k := range x.keys {
		c, ok := a.number[k.channel]
		if !ok {
			c = uint32(len(a.names))
			a.names = append(a.names, k.channel)
			a.number[k.channel] = c
		}
		a.channel[g] = c
		a.day[g], _ = civil.ParseDate(k.date)
		a.in[g] = run.InRange(a.req, k.date)
	}
	a.phases = append(a.phases, make([]phaseShares, len(a.names)-len(a.phases))...)
	a.growPairs()
}

// growPairs makes room for channels that came since; none is kept of too many.
func (a *journeySums) growPairs() {
	n := len(a.names)
	if n > store.MostPaired {
		a.pairs = nil
		return
	}
	was := int(math.Sqrt(float64(len(a.pairs))))
	if was == n {
		return
	}
	grown := make([]int64, n*n)
	for i := range was {
		copy(grown[i*n:], a.pairs[i*was:(i+1)*was])
	}
	a.pairs = grown
}

// journey adds the journey whose groups and shares were found.
func (a *journeySums) journey(number int64, date string, day civil.Date, revenue unit.Money) {
	a.out.Last = max(a.out.Last, date)
	first := day
	for i, g := range a.groups {
		if g == noGroup {
			continue
		}
		lag := min(max(day-a.day[g], 0), store.LongestWait)
		first = min(first, a.day[g])
		a.out.Lags = grow(a.out.Lags, int(lag))
		a.out.Lags[lag] += a.shares[i].ihc
		if a.in[g] && a.phased {
			a.phases[a.channel[g]].add(a.shares[i])
		}
	}
	if !run.InRange(a.req, date) {
		return
	}
	a.out.Conversions++
	a.runs[number]++
	wait := min(day-first, store.LongestWait)
	a.out.Days = grow(a.out.Days, int(wait))
	a.out.Days[wait]++
	n := len(a.groups)
	a.out.Lengths = grow(a.out.Lengths, n)
	a.out.Lengths[n]++
	if n >= len(a.out.LengthRevenue) {
		a.out.LengthRevenue = append(a.out.LengthRevenue, make([]unit.Sum, n+1-len(a.out.LengthRevenue))...)
	}
	a.out.LengthRevenue[n].Add(int64(revenue))
	a.walk()
	if a.phased {
		a.out.WithPhases++
		a.addPairs()
	}
	a.addPath(revenue)
}

func grow(s []int64, to int) []int64 {
	if to < len(s) {
		return s
	}
	return append(s, make([]int64, to+1-len(s))...)
}

// walk takes visits of one channel in a row together.
func (a *journeySums) walk() {
	a.steps = a.steps[:0]
	for i, g := range a.groups {
		if g == noGroup {
			continue
		}
		c := a.channel[g]
		if n := len(a.steps); n == 0 || a.steps[n-1].channel != c {
			a.steps = append(a.steps, step{channel: c})
		}
		last := &a.steps[len(a.steps)-1]
		last.visits++
		last.add(a.shares[i])
	}
}

// addPairs adds, for each channel that opened and each that closed, the product
// of their shares: over one conversion they sum to 1.
func (a *journeySums) addPairs() {
	if a.pairs == nil {
		return
	}
	clear(a.own)
	for i := range a.steps {
		s := &a.steps[i]
		if own := a.own[s.channel]; own != nil {
			own.add(s.phaseShares)
			continue
		}
		own := s.phaseShares
		a.own[s.channel] = &own
	}
	for opened, by := range a.own {
		for closed, too := range a.own {
			a.pairs[int(opened)*len(a.names)+int(closed)] += by.initializer * too.closer
		}
	}
}

// addPath counts the way of the journey at hand, whose steps it shortens.
func (a *journeySums) addPath(revenue unit.Money) {
	steps, cut := a.steps, len(a.steps) > store.MostSteps
	if cut {
		steps = append(steps[:store.MostSteps/2], steps[len(steps)-store.MostSteps/2:]...)
	}
	a.key = a.key[:0]
	for i, s := range steps {
		if cut && i == store.MostSteps/2 {
			a.key = append(a.key, 0)
		}
		a.key = binary.AppendUvarint(a.key, uint64(s.channel)+1)
	}
	p := a.paths[string(a.key)]
	if p == nil {
		if len(a.paths) >= a.most {
			a.forget()
		}
		p = &path{steps: make([]step, len(steps)), cut: cut}
		for i, s := range steps {
			p.steps[i].channel = s.channel
		}
		a.paths[string(a.key)] = p
		a.out.DistinctPaths++
	}
	p.conversions++
	p.revenue.Add(int64(revenue))
	for i := range steps {
		p.steps[i].visits += steps[i].visits
		p.steps[i].add(steps[i].phaseShares)
	}
}

// forget makes room for other ways by letting the rarest go. What is let go of a
// way is at most what all of the times cost the rarest together.
func (a *journeySums) forget() {
	counts := make([]int64, 0, len(a.paths))
	for _, p := range a.paths {
		counts = append(counts, p.conversions)
	}
	slices.Sort(counts)
	enough := counts[len(counts)/2]
	maps.DeleteFunc(a.paths, func(_ string, p *path) bool { return p.conversions <= enough })
	a.out.PathsShort += enough
}

// finish brings all into an order that does not depend on that of the rows.
func (a *journeySums) finish() {
	for n, s := range a.phases {
		if s != (phaseShares{}) {
			a.out.Phases = append(a.out.Phases, store.ChannelPhases{Channel: a.names[n], IHC: s.ihc, Initializer: s.initializer, Holder: s.holder, Closer: s.closer})
		}
	}
	slices.SortFunc(a.out.Phases, func(p, q store.ChannelPhases) int { return cmp.Compare(p.Channel, q.Channel) })
	for i, weight := range a.pairs {
		if weight != 0 {
			a.out.Pairs = append(a.out.Pairs, store.Pair{Initializer: a.names[i/len(a.names)], Closer: a.names[i%len(a.names)], Weight: weight})
		}
	}
	slices.SortFunc(a.out.Pairs, func(p, q store.Pair) int {
		return cmp.Or(cmp.Compare(p.Initializer, q.Initializer), cmp.Compare(p.Closer, q.Closer))
	})
	paths := slices.Collect(maps.Values(a.paths))
	slices.SortFunc(paths, func(p, q *path) int {
		return cmp.Or(cmp.Compare(q.conversions, p.conversions), q.revenue.Cmp(p.revenue), a.compareSteps(p, q))
	})
	for _, p := range paths[:min(len(paths), store.MostPaths)] {
		shown := store.Path{Conversions: p.conversions, Revenue: p.revenue, Cut: p.cut}
		for _, s := range p.steps {
			shown.Steps = append(shown.Steps, store.Step{Channel: a.names[s.channel], Visits: s.visits, IHC: s.ihc, Initializer: s.initializer, Holder: s.holder, Closer: s.closer})
		}
		a.out.Paths = append(a.out.Paths, shown)
	}
}

func (a *journeySums) compareSteps(p, q *path) int {
	byName := func(s, t step) int { return cmp.Compare(a.names[s.channel], a.names[t.channel]) }
	fewer := cmp.Or(slices.CompareFunc(p.steps, q.steps, byName), len(p.steps)-len(q.steps))
	if fewer == 0 && p.cut != q.cut {
		return map[bool]int{true: 1, false: -1}[p.cut]
	}
	return fewer
}
