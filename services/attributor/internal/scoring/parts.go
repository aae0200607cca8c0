package scoring

import (
	"context"
	"sync"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// PartID names a part of a chunk: 1 is the whole, 2n and 2n+1 are the halves
// of n.
type PartID struct {
	Run                   string
	Chunk, Revision, Part uint32
}

// Parts keeps what the parts of a divided chunk gave, over crashes too.
type Parts interface {
	// Part returns what is kept of a part, nil for nothing.
	Part(ctx context.Context, id PartID) (*ihcv1.AttributionResult, error)
	// KeepPart returns when the part is on disk.
	KeepPart(ctx context.Context, id PartID, r *ihcv1.AttributionResult) error
}

// message returns what is kept of a part. One without content was divided.
func (s *Scored) message(id PartID) *ihcv1.AttributionResult {
	return &ihcv1.AttributionResult{RunId: id.Run, Chunk: id.Chunk, Revision: id.Revision,
		Attributions: s.Attributions, Outcomes: s.Outcomes, Requests: s.Requests}
}

// take adds a part to the whole: what it gave or, where it was divided, what
// its halves give.
func (s *Scored) take(kept *ihcv1.AttributionResult, part uint32, journeys []*ihcv1.Journey, score func(uint32, []*ihcv1.Journey) error) error {
	if len(kept.GetAttributions()) == 0 && len(kept.GetOutcomes()) == 0 {
		half := len(journeys) / 2
		if err := score(2*part, journeys[:half]); err != nil {
			return err
		}
		return score(2*part+1, journeys[half:])
	}
	s.Attributions = append(s.Attributions, kept.GetAttributions()...)
	s.Outcomes = append(s.Outcomes, kept.GetOutcomes()...)
	s.Requests += kept.GetRequests()
	return nil
}

// Stubborn counts how often the same journeys met trouble while the API
// answered others: what tells their own trouble from the API's. The zero value
// is ready.
type Stubborn struct {
	mu      sync.Mutex
	answers uint64
	streaks map[PartID]streak
}

type streak struct {
	times   int
	answers uint64 // of all, when it last failed
	row     int    // failures of any kind since it was last answered
}

// Repeated says how often in a row the same journeys met trouble. What is to
// wait longer each time goes by this and not by how often the chunk was
// delivered, since of a divided chunk one part after the other gets through.
type Repeated struct {
	error
	Times uint64
}

// Unwrap returns the trouble itself.
func (r *Repeated) Unwrap() error { return r.error }

// again counts a failure of any kind.
func (s *Stubborn) again(id PartID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.streak(id)
	now.row++
	s.streaks[id] = now
	return uint64(now.row)
}

// streak returns that of a part, with room to store it.
func (s *Stubborn) streak(id PartID) streak {
	if s.streaks == nil || len(s.streaks) > 10_000 { // of runs long gone
		s.streaks = map[PartID]streak{}
	}
	return s.streaks[id]
}

// failed returns how many times in a row the part has failed, counting only
// those between which something else was answered.
func (s *Stubborn) failed(id PartID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.streak(id)
	if now.times == 0 || s.answers > now.answers {
		now.times++
	}
	now.answers = s.answers
	s.streaks[id] = now
	return now.times
}

func (s *Stubborn) answered(id PartID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers++
	delete(s.streaks, id)
}
