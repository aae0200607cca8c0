package ops

import (
	"cmp"
	"context"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// FailedConversion is a conversion that was not scored because something was
// wrong with it or its reply.
type FailedConversion struct {
	Conversion string `json:"conv_id"`
	Chunk      uint32 `json:"chunk"`
	Sessions   uint64 `json:"sessions"` // in its journey
	Reason     string `json:"reason"`
}

// Failed reads from a run's stored results which conversions failed so far, in
// the order of their chunks. It needs no database.
func (r *Runs) Failed(ctx context.Context, s *run.State) ([]FailedConversion, error) {
	type answer struct {
		revision uint32
		failed   []FailedConversion
	}
	chunks := map[uint32]answer{}
	err := r.client.EachResult(ctx, cmp.Or(s.ResultsRun, s.ID), func(result *ihcv1.AttributionResult) error {
		if was, ok := chunks[result.GetChunk()]; ok && was.revision >= result.GetRevision() {
			return nil // as the writer decides
		}
		a := answer{revision: result.GetRevision()}
		for _, o := range result.GetOutcomes() {
			if o.GetKind() == ihcv1.OutcomeKind_OUTCOME_KIND_FAILED {
				a.failed = append(a.failed, FailedConversion{o.GetConvId(), result.GetChunk(), o.GetSessions(), o.GetReason()})
			}
		}
		chunks[result.GetChunk()] = a
		return nil
	})
	if err != nil {
		return nil, err
	}
	failed := []FailedConversion{}
	for _, a := range chunks {
		failed = append(failed, a.failed...)
	}
	slices.SortStableFunc(failed, func(a, b FailedConversion) int {
		return cmp.Or(cmp.Compare(a.Chunk, b.Chunk), cmp.Compare(a.Conversion, b.Conversion))
	})
	return failed, nil
}
