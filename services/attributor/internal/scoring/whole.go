package scoring

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// ByStrategy scores a run by its model, and by the built-in one the journeys that
// are too long for the former, where the run asks for that.
type ByStrategy struct {
	Scorer
	Builtin *Builtin
}

// Score scores a chunk of journeys of one strategy, as the extractor makes them.
// Those that the built-in model scored say so.
func (s ByStrategy) Score(ctx context.Context, chunk *ihcv1.JourneyChunk) (*Scored, error) {
	if chunk.GetJourneys()[0].GetApproximation().GetStrategy() != run.LongBuiltin {
		return s.Scorer.Score(ctx, chunk)
	}
	done, err := s.Builtin.Score(ctx, chunk)
	if err != nil {
		return nil, err
	}
	for _, a := range done.Attributions {
		if a.GetApproximation() != nil {
			a.Approximation.Model = s.Builtin.Name()
		}
	}
	return done, nil
}
