package ihcmodel

import (
	"iter"
	"math"
	"slices"
	"sort"
)

// What training goes by: docs/ihc-model.md says what of it was found in one
// trained model, and what is calibrated on it.
const (
	rampStartQuantile = 0.493 // of the gaps between sessions: where f leaves 0
	rampEndQuantile   = 0.892 // of the gaps: where f reaches 1, and journeys are cut
	rampBend          = 0.30  // how much f rises less where gaps are frequent
	rampSteps         = 50    // of the distribution of the gaps, that make knots of f
	almostOne         = 0.9999

	closerCutQuantile = 0.9 // of the gaps before closer engaged sessions: where the last part of a journey begins
	closerRounding    = 0.1 // hours, of each journey's median
	// g falls by equal steps from the first to the last of these percentiles.
	closerFirst, closerLast = 10, 90

	// Less than this teaches no curve.
	leastGaps    = 100
	leastClosers = 50
	leastRamp    = 1. // hours between the ends of f
)

// The curves that are used where there is too little to learn from: those of the
// published shop, rounded.
var (
	defaultInitializer = Curve{{1.7, 0}, {52.7, 1}}
	defaultCloser      = Curve{{0, 1}, {0.1, 1}, {0.1, 0.85}, {0.5, 0.64}, {2, 0.51}, {10, 0.39}, {24, 0.17}, {45.5, 0}}
)

// trainInitializer makes f: with u the part of the way between the ends and q
// the part of the gaps within them that are not longer, f = u + rampBend·(u-q).
func (t *Trained) trainInitializer(gaps *sample, straight bool) {
	t.Gaps = gaps.seen
	start, end := gaps.quantile(rampStartQuantile), gaps.quantile(rampEndQuantile)
	if gaps.seen < leastGaps || end-start < leastRamp {
		t.DefaultInitializer = true
		t.Params.InitializerCurve = slices.Clone(defaultInitializer)
		t.InitializerEnd = TrainedEnd{52.7, 52.7, 52.7}
		return
	}
	low, high := gaps.quantileRange(rampEndQuantile)
	t.InitializerEnd = TrainedEnd{end, low, high}
	start, end = round(start, 4), round(end, 4)
	c := Curve{{start, 0}}
	if !straight {
		sorted := gaps.sorted()
		from := sort.Search(len(sorted), func(i int) bool { return sorted[i] > start })
		to := sort.Search(len(sorted), func(i int) bool { return sorted[i] >= end })
		within := &sample{values: sorted[from:to]}
		for step := 1; step < rampSteps && to > from; step++ { // the ends are knots already
			q := float64(step) / rampSteps
			x := within.quantile(q)
			u := (x - start) / (end - start)
			f := round(min(max(u+rampBend*(u-q), 0), almostOne), 5)
			x = round(x, 4)
			if last := c[len(c)-1]; x > last.Hours && x < end {
				c = append(c, Knot{x, max(f, last.Value)})
			}
		}
	}
	c = append(c, Knot{end, 1})
	t.Params.InitializerCurve = c
}

// trainCloser makes g, with one time for each journey: the median of the hours
// to the last session from the closer engaged ones of the journey's last part.
func (t *Trained) trainCloser(before *sample, journeys iter.Seq[[]Session]) {
	t.CloserGaps = before.seen
	t.Cut = before.quantile(closerCutQuantile)
	medians := newSample()
	if before.seen >= leastGaps {
		var ordered []Session
		var times []float64
		for journey := range journeys {
			if len(journey) < 2 {
				continue
			}
			ordered = byTime(journey, ordered)
			if times = closerTimes(ordered, t.Cut, times); len(times) > 0 {
				medians.add(math.Round(median(times)/closerRounding) * closerRounding)
			}
		}
	}
	t.Closers = medians.seen
	if medians.seen < leastClosers {
		t.DefaultCloser = true
		t.Params.CloserCurve = slices.Clone(defaultCloser)
		t.CloserEnd = TrainedEnd{45.5, 45.5, 45.5}
		return
	}
	low, high := medians.quantileRange(closerLast / 100.)
	t.CloserEnd = TrainedEnd{medians.quantile(closerLast / 100.), low, high}
	t.Params.CloserCurve = closerCurve(medians)
}

// closerTimes returns the hours to the last session from the closer engaged
// ones after the last gap of cut hours or more, without the last itself.
func closerTimes(ordered []Session, cut float64, times []float64) []float64 {
	last, start := len(ordered)-1, 0
	for k := 1; k <= last; k++ {
		if hours(ordered[k-1], ordered[k]) >= cut {
			start = k
		}
	}
	times = times[:0]
	for k := start; k < last; k++ {
		if ordered[k].Closer {
			times = append(times, hours(ordered[k], ordered[last]))
		}
	}
	return times
}

// median returns the middle of v, or the mean of the two in the middle. It sorts v.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// closerCurve makes g of the medians: 1 before the first percentile, 0 from the
// last on, with equal steps between. Equal percentiles make a jump. One at 0
// stands just behind it: what is at the time of the last session is as close as
// the last session.
func closerCurve(medians *sample) Curve {
	const least = 1e-6 // hours
	c := Curve{{0, 1}}
	for p := closerFirst; p <= closerLast; p++ {
		k := Knot{max(round(medians.quantile(float64(p)/100), 6), least), float64(closerLast-p) / (closerLast - closerFirst)}
		n := len(c)
		if n >= 2 && c[n-1].Hours == k.Hours && c[n-2].Hours == k.Hours {
			c[n-1].Value = k.Value // the end of the jump
			continue
		}
		c = append(c, k)
	}
	return c
}
