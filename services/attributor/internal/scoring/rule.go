package scoring

import (
	"context"
	"sync"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Rule scores with a model of package attribution. Its shares are the overall
// ones; the phases are of the IHC model alone, and 0.
type Rule struct {
	name    string
	scratch sync.Pool
}

type ruleScratch struct {
	rule    attribution.Rule
	touches []attribution.Touch
	shares  []float64
	fixed   []unit.Share
}

// NewRule returns the scorer of a model as [attribution.ParseRule] reads it.
func NewRule(model string) (*Rule, error) {
	rule, err := attribution.ParseRule(model)
	if err != nil {
		return nil, err
	}
	r := &Rule{name: rule.Name()}
	r.scratch.New = func() any {
		rule, _ := attribution.ParseRule(model) // which was read before
		return &ruleScratch{rule: rule}
	}
	return r, nil
}

// Name is the model's name with its settings.
func (r *Rule) Name() string { return r.name }

// Score never fails: a rule has shares for every journey.
func (r *Rule) Score(_ context.Context, chunk *ihcv1.JourneyChunk) (*Scored, error) {
	s := r.scratch.Get().(*ruleScratch)
	defer r.scratch.Put(s)
	done := &Scored{Attributions: make([]*ihcv1.Attribution, len(chunk.GetJourneys()))}
	for i, j := range chunk.GetJourneys() {
		s.touches = s.touches[:0]
		at := int64(0)
		for k, delta := range j.GetTimeDeltas() {
			at += delta
			s.touches = append(s.touches, attribution.Touch{Channel: int32(j.GetChannels()[k]), Engaged: unit.Engagement(j.GetFlags()[k]), Time: at})
		}
		n := len(s.touches)
		if cap(s.shares) < n {
			s.shares, s.fixed = make([]float64, 2*n), make([]unit.Share, 2*n)
		}
		shares, fixed := s.shares[:n], s.fixed[:n]
		s.rule.Shares(attribution.Journey{Channels: chunk.GetChannels(), Touches: s.touches}, shares)
		ihcmodel.Fix(shares, fixed)
		a := newAttribution(j)
		for k, share := range fixed {
			a.Ihc[k] = uint32(share)
		}
		done.Attributions[i] = a
	}
	return done, nil
}
