package scoring

import (
	"context"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Node is one node of a chunk's bisection: the journeys that are sent in one
// request. Number counts the nodes as in a binary heap: 1 is the whole chunk,
// and the halves of node n are 2n and 2n+1.
type Node struct {
	Run                     string
	Chunk, Revision, Number uint32
}

// halves returns the nodes of the first and the second half of the journeys.
func (n Node) halves() (first, second Node) {
	first, second = n, n
	first.Number, second.Number = 2*n.Number, 2*n.Number+1
	return first, second
}

// Parts keeps the results of a divided chunk's nodes. They survive a crash.
type Parts interface {
	// Part returns the kept result of a node, nil if there is none.
	Part(ctx context.Context, id Node) (*ihcv1.AttributionResult, error)
	// KeepPart stores the result of a node. It returns when that is on disk.
	KeepPart(ctx context.Context, id Node, r *ihcv1.AttributionResult) error
}

// message returns the result of a node to keep. A result without content
// means that the node was divided.
func (s *Scored) message(id Node) *ihcv1.AttributionResult {
	return &ihcv1.AttributionResult{RunId: id.Run, Chunk: id.Chunk, Revision: id.Revision,
		Attributions: s.Attributions, Outcomes: s.Outcomes, Requests: s.Requests, RequestSeconds: s.Seconds}
}

// take adds the result of a node to s. If the node was divided, it scores the
// two halves instead.
func (s *Scored) take(kept *ihcv1.AttributionResult, id Node, journeys []*ihcv1.Journey, score func(Node, []*ihcv1.Journey) error) error {
	if len(kept.GetAttributions()) == 0 && len(kept.GetOutcomes()) == 0 {
		half := len(journeys) / 2
		first, second := id.halves()
		if err := score(first, journeys[:half]); err != nil {
			return err
		}
		return score(second, journeys[half:])
	}
	s.Attributions = append(s.Attributions, kept.GetAttributions()...)
	s.Outcomes = append(s.Outcomes, kept.GetOutcomes()...)
	s.Requests += kept.GetRequests()
	s.Seconds += kept.GetRequestSeconds()
	return nil
}
