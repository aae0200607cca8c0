// Package scoring turns journeys into attributions: by the IHC API ([API]) or
// by the built-in model ([Builtin]).
package scoring

import (
	"context"
	"fmt"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Scorer scores the journeys of a chunk. Every journey has, in what it
// returns, either an attribution or an outcome that says why not.
type Scorer interface {
	// Score may be called by any number of goroutines. Its error concerns the
	// chunk as a whole, of which nothing is scored then.
	Score(ctx context.Context, chunk *ihcv1.JourneyChunk) (*Scored, error)
	// Name says what scores, for the record: "builtin published-shop", "api".
	Name() string
}

// Scored is what became of a chunk's journeys.
type Scored struct {
	Attributions []*ihcv1.Attribution
	// Outcomes are of journeys that could not be scored.
	Outcomes []*ihcv1.Outcome
	// Requests is how many requests the values took; 0 for the built-in model.
	Requests uint32
	// Seconds is how long these requests took, all together.
	Seconds float64

	divided bool // refused as a whole; its halves are to be asked
}

func (s *Scored) fail(j *ihcv1.Journey, reason string) {
	s.Outcomes = append(s.Outcomes, &ihcv1.Outcome{ConvId: j.GetConvId(), Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED,
		Reason: reason, Sessions: uint64(len(j.GetSessionIds()))})
}

// Check returns an error if the chunk is not what the contract says: parallel
// lists of equal length, channels that exist, at least one session a journey.
func Check(c *ihcv1.JourneyChunk) error {
	for _, j := range c.GetJourneys() {
		n := len(j.GetSessionIds())
		switch {
		case n == 0:
			return fmt.Errorf("conversion %q has no session", j.GetConvId())
		case len(j.GetTimeDeltas()) != n, len(j.GetChannels()) != n, len(j.GetFlags()) != n:
			return fmt.Errorf("conversion %q: its lists of sessions, times, channels and flags differ in length", j.GetConvId())
		}
		for _, ch := range j.GetChannels() {
			if int(ch) >= len(c.GetChannels()) {
				return fmt.Errorf("conversion %q: channel %d is not in the chunk's list of %d", j.GetConvId(), ch, len(c.GetChannels()))
			}
		}
	}
	return nil
}
