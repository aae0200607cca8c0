package store

import (
	"context"
	"time"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Unchanged returns what says whether a conversion's journey of that fingerprint
// need not be scored again by a run of the request that began now and is scored
// thus; nil, where each has to be. It is how a plan knows what a run would reuse.
func Unchanged(ctx context.Context, from interface {
	Shown(ctx context.Context, since time.Time) (Stored, error)
}, req *ihcv1.RunRequest, scoring *ihcv1.Scoring,
) (func(conv string, fingerprint []byte) (bool, error), error) {
	if req.GetFull() {
		return nil, nil
	}
	shown, err := from.Shown(ctx, run.Since(req, time.Now()))
	if err != nil || shown == nil {
		return nil, err
	}
	if shown, err = shown.For(ctx, run.Journeys(req)); err != nil {
		return nil, err
	}
	digest := run.ScoringDigest(scoring)
	return func(conv string, fingerprint []byte) (bool, error) {
		return shown.Has(ctx, conv, journey.ScoredBy(fingerprint, digest))
	}, nil
}
