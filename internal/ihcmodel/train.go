package ihcmodel

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
)

// What training goes by. How the vendor trains is not known: the quantiles are
// where the published shop's curves have their ends in that shop's own data,
// the weights are this project's choice. docs/ihc-model.md argues each.
const (
	rampStartQuantile = 0.49 // of the gaps between sessions: where f leaves 0
	rampEndQuantile   = 0.89 // of the gaps: where f reaches 1, and journeys are cut
	closerEndQuantile = 0.71 // of the hours from closer engaged sessions to the last: where g reaches 0
	closerNoise       = 0.02 // hours to the last session up to which nothing is counted: reloads
	closerFull        = 0.1  // hours to the last session below which g is 1

	// curveWeight is for how many observations the published curve counts
	// against those of the data; so small data give nearly the published one.
	curveWeight = 100
	// scoreWeight is the same for a channel's score of 1, in sessions expected.
	// It says that scores differ from 1 by 1/√100 = 0.1, as the published do
	// (0.14, 0.05 and 0.09 in the three phases).
	scoreWeight = 100
	// A trained score is kept within these, whatever the data.
	leastScore, mostScore = 0.5, 2

	// sampleSize bounds the gaps kept for quantiles; of more, a fair sample.
	sampleSize = 1 << 20
	// closerSteps is how many steps of the distribution become knots of g.
	closerSteps = 100
)

// AdvisedJourneys is how many journeys the vendor advises to train with, at least.
const AdvisedJourneys = 10_000

// Trained is what training learned, and from how much.
type Trained struct {
	Params      *Params
	Journeys    int // all that were read
	Several     int // those of two sessions or more; the rest teach nothing
	Sessions    int // in those
	Mixed       int // those with more than one channel after the cut; only they tell channels apart
	Gaps        int // between sessions
	CloserTimes int // of closer engaged sessions that are not the last
	CloserShape int // of those, within the closer curve: its shape is theirs
	Channels    []TrainedChannel
}

// TrainedChannel is a channel's evidence and its scores.
type TrainedChannel struct {
	Name     string
	Sessions int // in mixed journeys, after the cut
	// Observed is how many of these took each phase's role (see [Train]), and
	// Expected how many would if channels made no difference.
	Observed, Expected Phases
	Score              ChannelScore
}

// ErrNothingToLearn says that no journey has two sessions.
var ErrNothingToLearn = errors.New("no journey has two sessions or more: nothing can be learned from it")

// Train learns parameters from journeys, each the sessions of one conversion
// up to and with its last, in any order. It ranges over them twice, and keeps
// of them only counts and a bounded sample of times. The same journeys in the
// same order give the same parameters.
//
//   - The initializer curve is a ramp from 0 to 1 between two quantiles of the
//     gaps between sessions.
//   - The closer curve is 1 at first, then one minus the empirical distribution
//     of the hours from closer engaged sessions to the last one, up to a quantile.
//   - Both are drawn towards the published shop's curves, the more the fewer
//     observations there are.
//   - A channel's score in a phase is the number of its sessions that took the
//     phase's role ÷ the number expected if, within each journey, all sessions
//     were equally likely to; drawn towards 1. The roles: the first after the
//     cut (initializer), holder engaged (holder), closer engaged or the last
//     (closer).
//   - Phase weights are the published shop's: nothing is known to tell them.
//
// All of this is a guess at what the vendor does; docs/ihc-model.md says how
// good a guess, as far as that can be known.
func Train(name, provenance string, journeys iter.Seq[[]Session]) (*Trained, error) {
	prior := DefaultParams()
	t := &Trained{Params: &Params{Name: name, Provenance: provenance, PhaseWeights: prior.PhaseWeights}}
	gaps, closers := newSample(), newSample()
	var ordered []Session
	for journey := range journeys {
		t.Journeys++
		if len(journey) < 2 {
			continue
		}
		t.Several++
		t.Sessions += len(journey)
		ordered = byTime(journey, ordered)
		last := len(ordered) - 1
		for k, s := range ordered {
			if k > 0 {
				gaps.add(hours(ordered[k-1], s))
			}
			if s.Closer && k < last {
				closers.add(hours(s, ordered[last]))
			}
		}
	}
	if t.Several == 0 {
		return nil, ErrNothingToLearn
	}
	t.Gaps, t.CloserTimes = gaps.seen, closers.seen
	t.Params.InitializerCurve = trainRamp(gaps, prior.InitializerCurve)
	t.Params.CloserCurve, t.CloserShape = trainCloser(closers, prior.CloserCurve)
	t.trainScores(journeys)
	if err := t.Params.Validate(); err != nil {
		return nil, err
	}
	return t, nil
}

// byTime copies the journey into room, sorted as [Scorer.Score] sorts.
func byTime(journey, room []Session) []Session {
	room = append(room[:0], journey...)
	slices.SortStableFunc(room, func(a, b Session) int { return cmp.Compare(a.TimeMicros, b.TimeMicros) })
	return room
}

// hours returns the time between two sessions of which b is not the earlier.
func hours(a, b Session) float64 {
	return float64(uint64(b.TimeMicros)-uint64(a.TimeMicros)) / microsPerHour
}

// drawn returns how much n observations count against the published curve: 0 to 1.
func drawn(n int) float64 { return float64(n) / float64(n+curveWeight) }

// between mixes two times, the first by weight w, on the scale of their
// logarithms, on which gaps are spread evenly.
func between(w, own, prior float64) float64 {
	const minute = 1. / 60 // the least an end point can be, so that it has a logarithm
	return math.Exp(w*math.Log(max(own, minute)) + (1-w)*math.Log(max(prior, minute)))
}

// trainRamp makes the initializer curve.
func trainRamp(gaps *sample, prior Curve) Curve {
	w := drawn(gaps.seen)
	start := between(w, gaps.quantile(rampStartQuantile), prior[0].Hours)
	end := between(w, gaps.quantile(rampEndQuantile), prior[len(prior)-1].Hours)
	start, end = round(start, 4), round(max(end, 2*start), 4)
	return Curve{{start, 0}, {end, 1}}
}

// trainCloser makes the closer curve, and returns how many of the times are within it.
func trainCloser(times *sample, prior Curve) (c Curve, within int) {
	priorEnd := prior[len(prior)-1].Hours
	end := between(drawn(times.seen), times.quantile(closerEndQuantile), priorEnd)
	end = round(max(end, 2*closerFull), 4)
	sorted := times.sorted()
	from := sort.Search(len(sorted), func(i int) bool { return sorted[i] > closerNoise })
	to := sort.Search(len(sorted), func(i int) bool { return sorted[i] > end })
	shape := sorted[from:to]
	within = times.scaled(len(shape))
	w := drawn(within)
	at := func(h float64) float64 {
		// The published curve, stretched so that both end together.
		g := (1 - w) * prior.At(h*priorEnd/end)
		if len(shape) > 0 {
			above := len(shape) - sort.Search(len(shape), func(i int) bool { return shape[i] > h })
			g += w * float64(above) / float64(len(shape))
		}
		return g
	}
	// Knots: evenly spread in the data, and the stretched knots of the published curve.
	var grid []float64
	for step := 1; step < closerSteps && len(shape) > 0; step++ {
		grid = append(grid, shape[len(shape)*step/closerSteps])
	}
	for _, k := range prior {
		grid = append(grid, k.Hours*end/priorEnd)
	}
	for i := range grid {
		grid[i] = round(grid[i], 4)
	}
	slices.Sort(grid)
	c = Curve{{0, 1}, {closerFull, 1}, {closerFull, round(min(at(closerFull), 1), 5)}}
	for _, h := range slices.Compact(grid) {
		if h > closerFull && h < end {
			c = append(c, Knot{h, min(round(at(h), 5), c[len(c)-1].Value)})
		}
	}
	return append(c, Knot{end, 0}), within
}

// trainScores counts roles and makes the channel scores. It cuts journeys by
// the initializer curve, which must be there.
func (t *Trained) trainScores(journeys iter.Seq[[]Session]) {
	cut, _ := t.Params.InitializerCurve.reachesOne() // a trained ramp does
	counts := map[string]*TrainedChannel{}
	var ordered []Session
	for journey := range journeys {
		if len(journey) < 2 {
			continue
		}
		ordered = byTime(journey, ordered)
		start := 0
		for k := 1; k < len(ordered); k++ {
			if uint64(ordered[k].TimeMicros)-uint64(ordered[k-1].TimeMicros) >= cut {
				start = k
			}
		}
		kept := ordered[start:]
		last := len(kept) - 1
		mixed := slices.ContainsFunc(kept, func(s Session) bool { return s.Channel != kept[0].Channel })
		if !mixed {
			continue // says nothing about one channel against another
		}
		t.Mixed++
		roles := func(k int) Phases {
			return Phases{Initializer: one(k == 0), Holder: one(kept[k].Holder), Closer: one(kept[k].Closer || k == last)}
		}
		var total Phases
		for k := range kept {
			r := roles(k)
			total = Phases{total.Initializer + r.Initializer, total.Holder + r.Holder, total.Closer + r.Closer}
		}
		n := float64(len(kept))
		for k := range kept {
			c := counts[kept[k].Channel]
			if c == nil {
				c = &TrainedChannel{Name: kept[k].Channel}
				counts[c.Name] = c
			}
			r := roles(k)
			c.Sessions++
			c.Observed.Initializer += r.Initializer
			c.Observed.Holder += r.Holder
			c.Observed.Closer += r.Closer
			c.Expected.Initializer += total.Initializer / n
			c.Expected.Holder += total.Holder / n
			c.Expected.Closer += total.Closer / n
		}
	}
	t.Params.ChannelScores = make(map[string]ChannelScore, len(counts))
	for name, c := range counts {
		c.Score = ChannelScore{
			Initializer: score(c.Observed.Initializer, c.Expected.Initializer),
			Holder:      score(c.Observed.Holder, c.Expected.Holder),
			Closer:      score(c.Observed.Closer, c.Expected.Closer),
		}
		t.Params.ChannelScores[name] = c.Score
		t.Channels = append(t.Channels, *c)
	}
	slices.SortFunc(t.Channels, func(a, b TrainedChannel) int { return strings.Compare(a.Name, b.Name) })
}

// score is the ratio of observed to expected after scoreWeight sessions in
// which the two were the same: the mean of a Gamma(scoreWeight, scoreWeight)
// belief about the ratio, once the counts are seen.
func score(observed, expected float64) float64 {
	s := (observed + scoreWeight) / (expected + scoreWeight)
	return round(min(max(s, leastScore), mostScore), 4)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// round rounds to so many decimals.
func round(v float64, decimals int) float64 {
	unit := math.Pow10(decimals)
	return math.Round(v*unit) / unit
}

// sample keeps values for quantiles: all of them up to sampleSize, then a fair
// sample of that size (reservoir sampling), drawn the same way each time.
type sample struct {
	seen   int
	values []float64
	random *rand.Rand
}

func newSample() *sample { return &sample{random: rand.New(rand.NewPCG(1, 1))} }

func (s *sample) add(v float64) {
	s.seen++
	if len(s.values) < sampleSize {
		s.values = append(s.values, v)
	} else if at := s.random.IntN(s.seen); at < sampleSize {
		s.values[at] = v
	}
}

// sorted returns the sample, sorted.
func (s *sample) sorted() []float64 {
	slices.Sort(s.values)
	return s.values
}

// scaled returns how many of all values n values of the sample stand for.
func (s *sample) scaled(n int) int {
	if s.seen <= len(s.values) {
		return n
	}
	return int(float64(n) * float64(s.seen) / float64(len(s.values)))
}

// quantile returns the q-quantile, linear between values; 0 of none.
func (s *sample) quantile(q float64) float64 {
	v := s.sorted()
	if len(v) == 0 {
		return 0
	}
	at := q * float64(len(v)-1)
	below := int(at)
	above := min(below+1, len(v)-1)
	return v[below] + (at-float64(below))*(v[above]-v[below])
}

// Report says in a page of text what was learned, and from how much.
func (t *Trained) Report() string {
	var b strings.Builder
	p := t.Params
	fmt.Fprintf(&b, "Learned from %d journeys, %d of them with two sessions or more (%d sessions).\n", t.Journeys, t.Several, t.Sessions)
	if t.Several < AdvisedJourneys {
		fmt.Fprintf(&b, "The vendor advises %d journeys or more; with fewer, the published shop's curves and scores of 1 weigh in.\n", AdvisedJourneys)
	}
	fmt.Fprintf(&b, "\nInitializer curve: from 0 at %.2f h to 1 at %.2f h, by %d gaps (%.0f %% the data's own).\n",
		p.InitializerCurve[0].Hours, p.InitializerCurve[1].Hours, t.Gaps, 100*drawn(t.Gaps))
	fmt.Fprintf(&b, "Closer curve: to 0 at %.2f h, by %d closer engaged sessions (end %.0f %% the data's own); shape by %d of them (%.0f %%).\n",
		p.CloserCurve[len(p.CloserCurve)-1].Hours, t.CloserTimes, 100*drawn(t.CloserTimes), t.CloserShape, 100*drawn(t.CloserShape))
	fmt.Fprintf(&b, "Phase weights: %v initializer, %v holder, %v closer, the published shop's: journeys do not tell them.\n",
		p.PhaseWeights.Initializer, p.PhaseWeights.Holder, p.PhaseWeights.Closer)
	fmt.Fprintf(&b, "Channel scores, by %d journeys with more than one channel after the cut", t.Mixed)
	if len(t.Channels) == 0 {
		b.WriteString(": none, all are 1.\n")
	} else {
		b.WriteString(" (observed/expected → score):\n\n")
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "channel\tsessions\tinitializer\tholder\tcloser") // a strings.Builder takes it all
		for _, c := range t.Channels {
			_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", printable(c.Name), c.Sessions,
				ratio(c.Observed.Initializer, c.Expected.Initializer, c.Score.Initializer),
				ratio(c.Observed.Holder, c.Expected.Holder, c.Score.Holder),
				ratio(c.Observed.Closer, c.Expected.Closer, c.Score.Closer))
		}
		_ = table.Flush()
	}
	b.WriteString("\nHow the vendor trains is not published: quantiles, shape and scores are guesses, argued in docs/ihc-model.md.\n")
	return b.String()
}

func ratio(observed, expected, score float64) string {
	return fmt.Sprintf("%.0f/%.0f → %.2f", observed, expected, score)
}

// printable keeps a name from disturbing a table.
func printable(name string) string { return strings.Join(strings.Fields(name), " ") }
