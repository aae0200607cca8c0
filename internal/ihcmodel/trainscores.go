package ihcmodel

import (
	"iter"
	"slices"
	"strings"
)

const (
	// scoreWeight is how firmly a guessed score is held to be 1, in sessions
	// expected. It says that scores differ from 1 by 1/√100 = 0.1, as the
	// published do (0.14, 0.05 and 0.09 in the three phases).
	scoreWeight = 100
	// A guessed score is kept within these, whatever the data.
	leastScore, mostScore = 0.5, 2
)

// guessScores counts roles and makes channel scores: a guess at what nothing is
// known of. A channel's score in a phase is the number of its sessions that took
// the phase's role ÷ the number expected if, within each journey, all sessions
// were equally likely to; drawn towards 1. The roles: the first after the cut
// (initializer), holder engaged (holder), closer engaged or the last (closer). It cuts journeys by
// the initializer curve, which must be there.
func (t *Trained) guessScores(journeys iter.Seq[[]Session]) {
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
