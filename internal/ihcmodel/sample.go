package ihcmodel

import (
	"math"
	"math/rand/v2"
	"slices"
)

// sampleSize bounds the times kept for quantiles; of more, a fair sample.
const sampleSize = 1 << 20

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

// quantileRange returns where the q-quantile is with a chance of 95 %, as far as
// sampling goes: the quantiles whose ranks are two standard errors away.
func (s *sample) quantileRange(q float64) (low, high float64) {
	if s.seen == 0 {
		return 0, 0
	}
	half := 1.96 * math.Sqrt(q*(1-q)/float64(s.seen))
	return s.quantile(max(q-half, 0)), s.quantile(min(q+half, 1))
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
