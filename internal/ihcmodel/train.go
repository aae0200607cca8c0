package ihcmodel

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
)

// AdvisedJourneys is how many journeys the vendor advises to train with, at least.
const AdvisedJourneys = 10_000

// TrainOptions are choices in training. The zero value is the nearest to what
// the vendor does, as far as that could be found.
type TrainOptions struct {
	// Ramp makes the initializer curve a straight line between its ends.
	Ramp bool
	// Scores are the user's own channel scores, for all channels that have any.
	Scores map[string]ChannelScore
	// GuessScores guesses the scores from the roles that channels take.
	GuessScores bool
}

// Trained is what training learned, and from how much.
type Trained struct {
	Params   *Params
	Journeys int // all that were read
	Several  int // those of two sessions or more; the rest teach nothing
	Sessions int // in those
	Mixed    int // those with more than one channel after the cut, where scores were guessed
	Channels []TrainedChannel

	Gaps       int // between sessions
	CloserGaps int // of these, those before closer engaged sessions
	Closers    int // journeys that tell of the closer curve
	// Cut is the gap in hours from which on a session begins the last part of its
	// journey, for the closer curve.
	Cut float64
	// DefaultInitializer and DefaultCloser: there was too little to learn the
	// curve from.
	DefaultInitializer, DefaultCloser bool
	// InitializerEnd and CloserEnd are where the curves end, in hours.
	InitializerEnd, CloserEnd TrainedEnd
}

// TrainedEnd is a trained time in hours, and where it would be, 95 times in
// 100, by other data of the same kind and size.
type TrainedEnd struct{ At, Low, High float64 }

// TrainedChannel is a channel's evidence and its scores, where they were guessed.
type TrainedChannel struct {
	Name     string
	Sessions int // in mixed journeys, after the cut
	// Observed is how many of these took each phase's role, and Expected how many
	// would if channels made no difference.
	Observed, Expected Phases
	Score              ChannelScore
}

// ErrNothingToLearn says that no journey has two sessions.
var ErrNothingToLearn = errors.New("no journey has two sessions or more: nothing can be learned from it")

// Train learns parameters from journeys, each the sessions of one conversion
// up to and with its last, in any order. It ranges over them two or three times,
// and keeps of them only counts and a bounded sample of times. The same journeys
// in the same order give the same parameters.
//
//   - The closer curve is what is left of the distribution of the median hours,
//     by journey, from closer engaged sessions to the last one.
//   - The initializer curve rises from 0 to 1 between two quantiles of the gaps
//     between sessions, and less steeply where gaps are frequent.
//   - With too few journeys a curve is a default one.
//   - Phase weights are the published shop's, and channel scores are 1, unless
//     the options say otherwise: nothing is known of how they come about.
//
// docs/ihc-model.md says how these rules were found and how good they are.
func Train(name, provenance string, o TrainOptions, journeys iter.Seq[[]Session]) (*Trained, error) {
	t := &Trained{Params: &Params{Name: name, Provenance: provenance, PhaseWeights: DefaultParams().PhaseWeights, ChannelScores: map[string]ChannelScore{}}}
	gaps, before := newSample(), newSample()
	var ordered []Session
	for journey := range journeys {
		t.Journeys++
		if len(journey) < 2 {
			continue
		}
		t.Several++
		t.Sessions += len(journey)
		ordered = byTime(journey, ordered)
		for k := 1; k < len(ordered); k++ {
			gap := hours(ordered[k-1], ordered[k])
			gaps.add(gap)
			if ordered[k].Closer {
				before.add(gap)
			}
		}
	}
	if t.Several == 0 {
		return nil, ErrNothingToLearn
	}
	t.trainInitializer(gaps, o.Ramp)
	t.trainCloser(before, journeys)
	switch {
	case o.GuessScores:
		t.guessScores(journeys)
	case o.Scores != nil:
		t.Params.ChannelScores = maps.Clone(o.Scores)
	}
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
