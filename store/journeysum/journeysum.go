// Package journeysum adds scored journeys up to what a report tells of them: how
// long they take, which channels open and close them, and which ways people go.
package journeysum

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
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// Shares is the share of a session, as a whole and in each phase, in
// ten-thousandths.
type Shares struct{ IHC, Initializer, Holder, Closer int64 }

func (s *Shares) add(o Shares) {
	s.IHC += o.IHC
	s.Initializer += o.Initializer
	s.Holder += o.Holder
	s.Closer += o.Closer
}

// Journey is a scored journey of a conversion that is there.
type Journey struct {
	Run     int64  // that scored it
	Date    string // of the conversion, UTC, YYYY-MM-DD, and the same as Day
	Day     civil.Date
	Revenue unit.Money
	// Groups are its sessions, in order, by the number of their group, or
	// [sessionindex.NoGroup]; Shares are theirs.
	Groups []uint32
	Shares []Shares
	// Phased: the shares in each phase are known.
	Phased bool
}

// Sums adds up journeys, one after the other.
type Sums struct {
	req  *ihcv1.RunRequest
	out  *store.Journeys
	runs map[int64]int64
	most int // paths held

	// Of each group.
	channel []uint32
	day     []civil.Date
	in      []bool

	names  []string // of channels, by number
	number map[string]uint32

	phases []Shares // by channel
	pairs  []int64  // by initializer × number of channels + closer
	paths  map[string]*path

	// Of the journey at hand.
	steps []step
	key   []byte
	own   map[uint32]*Shares
}

type step struct {
	channel uint32
	visits  int64
	Shares
}

type path struct {
	conversions int64
	revenue     unit.Sum
	steps       []step
	cut         bool
}

// pathsHeld is how many ways are counted at a time, in some 20 MiB.
const pathsHeld = 1 << 16

// New returns sums for the range of a request, which count so many ways at a time,
// and as many as usual for 0.
func New(req *ihcv1.RunRequest, paths int) *Sums {
	return &Sums{req: req, out: &store.Journeys{}, runs: map[int64]int64{}, most: cmp.Or(paths, pathsHeld),
		number: map[string]uint32{}, paths: map[string]*path{}, own: map[uint32]*Shares{}}
}

// Groups enters the groups that came: keys are all that are there, by number.
func (a *Sums) Groups(keys []sessionindex.Key) {
	for _, k := range keys[len(a.channel):] {
		a.group(k.Channel, k.Date)
	}
}

func (a *Sums) group(channel, date string) {
	c, ok := a.number[channel]
	if !ok {
		c = uint32(len(a.names))
		a.names = append(a.names, channel)
		a.number[channel] = c
		a.phases = append(a.phases, Shares{})
		a.growPairs()
	}
	day, _ := civil.ParseDate(date)
	a.channel, a.day, a.in = append(a.channel, c), append(a.day, day), append(a.in, run.InRange(a.req, date))
}

// Channels returns the names of the channels by number, in the order in which
// they came.
func (a *Sums) Channels() []string { return a.names }

// Channel returns the number of a group's channel.
func (a *Sums) Channel(group uint32) uint32 { return a.channel[group] }

// growPairs makes room for a channel that came; none is kept of too many.
func (a *Sums) growPairs() {
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

// Add adds a journey.
func (a *Sums) Add(j *Journey) {
	a.out.Last = max(a.out.Last, j.Date)
	first := j.Day
	for i, g := range j.Groups {
		if g == sessionindex.NoGroup {
			continue
		}
		lag := min(max(j.Day-a.day[g], 0), store.LongestWait)
		first = min(first, a.day[g])
		a.out.Lags = grow(a.out.Lags, int(lag))
		a.out.Lags[lag] += j.Shares[i].IHC
		if a.in[g] && j.Phased {
			a.phases[a.channel[g]].add(j.Shares[i])
		}
	}
	if !run.InRange(a.req, j.Date) {
		return
	}
	a.out.Conversions++
	a.runs[j.Run]++
	wait := min(j.Day-first, store.LongestWait)
	a.out.Days = grow(a.out.Days, int(wait))
	a.out.Days[wait]++
	n := len(j.Groups)
	a.out.Lengths = grow(a.out.Lengths, n)
	a.out.Lengths[n]++
	if n >= len(a.out.LengthRevenue) {
		a.out.LengthRevenue = append(a.out.LengthRevenue, make([]unit.Sum, n+1-len(a.out.LengthRevenue))...)
	}
	a.out.LengthRevenue[n].Add(int64(j.Revenue))
	a.walk(j)
	if j.Phased {
		a.out.WithPhases++
		a.addPairs()
	}
	a.addPath(j.Revenue)
}

func grow(s []int64, to int) []int64 {
	if to < len(s) {
		return s
	}
	return append(s, make([]int64, to+1-len(s))...)
}

// walk takes visits of one channel in a row together.
func (a *Sums) walk(j *Journey) {
	a.steps = a.steps[:0]
	for i, g := range j.Groups {
		if g == sessionindex.NoGroup {
			continue
		}
		c := a.channel[g]
		if n := len(a.steps); n == 0 || a.steps[n-1].channel != c {
			a.steps = append(a.steps, step{channel: c})
		}
		last := &a.steps[len(a.steps)-1]
		last.visits++
		last.add(j.Shares[i])
	}
}

// addPairs adds, for each channel that opened and each that closed, the product
// of their shares: over one conversion they sum to 1.
func (a *Sums) addPairs() {
	if a.pairs == nil {
		return
	}
	clear(a.own)
	for i := range a.steps {
		s := &a.steps[i]
		if own := a.own[s.channel]; own != nil {
			own.add(s.Shares)
			continue
		}
		own := s.Shares
		a.own[s.channel] = &own
	}
	for opened, by := range a.own {
		for closed, too := range a.own {
			a.pairs[int(opened)*len(a.names)+int(closed)] += by.Initializer * too.Closer
		}
	}
}

// addPath counts the way of the journey at hand, whose steps it shortens.
func (a *Sums) addPath(revenue unit.Money) {
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
		p.steps[i].add(steps[i].Shares)
	}
}

// forget makes room for other ways by letting the rarest go. What is let go of a
// way is at most what all of the times cost the rarest together.
func (a *Sums) forget() {
	counts := make([]int64, 0, len(a.paths))
	for _, p := range a.paths {
		counts = append(counts, p.conversions)
	}
	slices.Sort(counts)
	enough := counts[len(counts)/2]
	maps.DeleteFunc(a.paths, func(_ string, p *path) bool { return p.conversions <= enough })
	a.out.PathsShort += enough
}

// Of returns how many of the conversions in range a run scored.
func (a *Sums) Of(run int64) int64 { return a.runs[run] }

// Result returns the sums, in an order that does not depend on that of the
// journeys, and nil where there was none. Their Runs are the caller's to fill in.
func (a *Sums) Result() *store.Journeys {
	if a.out.Last == "" {
		return nil
	}
	for n, s := range a.phases {
		if s != (Shares{}) {
			a.out.Phases = append(a.out.Phases, store.ChannelPhases{Channel: a.names[n], IHC: s.IHC, Initializer: s.Initializer, Holder: s.Holder, Closer: s.Closer})
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
			shown.Steps = append(shown.Steps, store.Step{Channel: a.names[s.channel], Visits: s.visits, IHC: s.IHC, Initializer: s.Initializer, Holder: s.Holder, Closer: s.Closer})
		}
		a.out.Paths = append(a.out.Paths, shown)
	}
	return a.out
}

func (a *Sums) compareSteps(p, q *path) int {
	byName := func(s, t step) int { return cmp.Compare(a.names[s.channel], a.names[t.channel]) }
	fewer := cmp.Or(slices.CompareFunc(p.steps, q.steps, byName), len(p.steps)-len(q.steps))
	if fewer == 0 && p.cut != q.cut {
		return map[bool]int{true: 1, false: -1}[p.cut]
	}
	return fewer
}
