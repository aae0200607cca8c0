package scoring

import (
	"context"
	"sync"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Builtin scores with the built-in model.
type Builtin struct {
	model   *ihcmodel.Model
	scratch sync.Pool
}

type scratch struct {
	scorer   *ihcmodel.Scorer
	sessions []ihcmodel.Session
	scores   []ihcmodel.Score
}

// NewBuiltin returns a scorer with a model's parameters and a redistribution,
// which may be nil and must have been validated.
func NewBuiltin(m *ihcmodel.Model, r *ihcmodel.Redistribution) *Builtin {
	b := &Builtin{model: m}
	b.scratch.New = func() any { return &scratch{scorer: m.Scorer(r)} }
	return b
}

// Name names the model's parameters, since its numbers are theirs.
func (b *Builtin) Name() string { return "builtin " + b.model.Name() }

// Score never fails: the model has a value for every journey.
func (b *Builtin) Score(_ context.Context, chunk *ihcv1.JourneyChunk) (*Scored, error) {
	s := b.scratch.Get().(*scratch)
	defer b.scratch.Put(s)
	done := &Scored{Attributions: make([]*ihcv1.Attribution, len(chunk.GetJourneys()))}
	for i, j := range chunk.GetJourneys() {
		s.sessions = s.sessions[:0]
		at := int64(0)
		for k, delta := range j.GetTimeDeltas() {
			at += delta
			engaged := unit.Engagement(j.GetFlags()[k])
			s.sessions = append(s.sessions, ihcmodel.Session{TimeMicros: at, Channel: chunk.GetChannels()[j.GetChannels()[k]],
				Holder: engaged.Holder(), Closer: engaged.Closer(), Impression: engaged.Impression()})
		}
		s.scores = s.scorer.Score(s.sessions, s.scores)
		a := newAttribution(j)
		for k, score := range s.scores {
			a.Ihc[k], a.Initializer[k], a.Holder[k], a.Closer[k] = uint32(score.IHC), uint32(score.Initializer), uint32(score.Holder), uint32(score.Closer)
		}
		done.Attributions[i] = a
	}
	return done, nil
}

// newAttribution returns a journey's attribution with room for its shares,
// which are 0.
func newAttribution(j *ihcv1.Journey) *ihcv1.Attribution {
	n := len(j.GetSessionIds())
	shares := make([]uint32, 4*n)
	return &ihcv1.Attribution{ConvId: j.GetConvId(), SessionIds: j.GetSessionIds(), Fingerprint: j.GetFingerprint(), Approximation: j.GetApproximation(),
		Ihc: shares[:n:n], Initializer: shares[n : 2*n : 2*n], Holder: shares[2*n : 3*n : 3*n], Closer: shares[3*n:]}
}
