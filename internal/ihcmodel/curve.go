package ihcmodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/ihc-pipeline/ihc/internal/strictjson"
)

// microsPerHour converts the journeys' clock (microseconds) to the curves' (hours).
const microsPerHour = 3_600_000_000

// Knot is one point of a [Curve]; in JSON, [hours, value].
type Knot struct {
	Hours float64 // at or above 0
	Value float64 // within 0 to 1
}

// MarshalJSON writes the knot as [hours, value].
func (k Knot) MarshalJSON() ([]byte, error) { return json.Marshal([2]float64{k.Hours, k.Value}) }

// UnmarshalJSON reads a knot written as [hours, value].
func (k *Knot) UnmarshalJSON(data []byte) error {
	var pair []*float64
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 || pair[0] == nil || pair[1] == nil {
		return fmt.Errorf("want a knot [hours, value], have %s", strictjson.Brief(data))
	}
	k.Hours, k.Value = *pair[0], *pair[1]
	return nil
}

// Curve is a membership as a function of hours: linear between its knots,
// constant before the first and after the last. Two knots at the same hours
// are a jump, and the later one's value holds from there on.
type Curve []Knot

// maxKnots bounds a curve in a parameter file: the published ones have about 150.
const maxKnots = 100_000

// check refuses a curve that is empty, not finite, out of bounds, not ordered
// by hours, or that turns: it must rise throughout, or fall throughout.
func (c Curve) check(rising bool) error {
	if len(c) == 0 {
		return errors.New("has no knots")
	}
	if len(c) > maxKnots {
		return fmt.Errorf("has %d knots; at most %d are taken", len(c), maxKnots)
	}
	for i, k := range c {
		switch {
		case math.IsNaN(k.Hours) || math.IsInf(k.Hours, 0) || k.Hours < 0:
			return fmt.Errorf("knot %d: hours %v are not a number from 0 up", i+1, k.Hours)
		case !(k.Value >= 0 && k.Value <= 1): // also refuses NaN
			return fmt.Errorf("knot %d: value %v is not within 0 to 1", i+1, k.Value)
		case i == 0:
		case k.Hours < c[i-1].Hours:
			return fmt.Errorf("knot %d: hours %v after %v; knots go by rising hours", i+1, k.Hours, c[i-1].Hours)
		case i > 1 && k.Hours == c[i-2].Hours:
			return fmt.Errorf("knot %d: a third knot at %v hours; a jump has two", i+1, k.Hours)
		case rising && k.Value < c[i-1].Value:
			return fmt.Errorf("knot %d: value falls from %v to %v; this curve may only rise", i+1, c[i-1].Value, k.Value)
		case !rising && k.Value > c[i-1].Value:
			return fmt.Errorf("knot %d: value rises from %v to %v; this curve may only fall", i+1, c[i-1].Value, k.Value)
		}
	}
	return nil
}

// At returns the curve's value at the given hours.
func (c Curve) At(hours float64) float64 {
	// next is the first knot beyond hours, so that at a jump the later knot
	// is the one before it.
	next := sort.Search(len(c), func(i int) bool { return c[i].Hours > hours })
	switch {
	case next == 0:
		return c[0].Value
	case next == len(c):
		return c[next-1].Value
	}
	a, b := c[next-1], c[next]
	return a.Value + (hours-a.Hours)*(b.Value-a.Value)/(b.Hours-a.Hours)
}

// reachesOne returns the time in microseconds from which the rising curve is
// 1, and whether there is such a time.
func (c Curve) reachesOne() (micros uint64, ok bool) {
	for _, k := range c {
		if k.Value == 1 {
			at := math.Round(k.Hours * microsPerHour)
			if at >= math.MaxInt64 {
				return 0, false // centuries beyond any journey
			}
			return uint64(at), true
		}
	}
	return 0, false
}
