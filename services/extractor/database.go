package extractor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/extractor/internal/packing"
	"github.com/ihc-pipeline/ihc/store"
)

// fromDatabase runs an ordinary request: check, announce, extract.
func (e *extractor) fromDatabase(ctx context.Context, req *ihcv1.RunRequest, asked string) (*ihcv1.Counts, error) {
	b, err := e.begin(ctx, req, asked)
	if err == nil {
		err = e.readInto(ctx, b)
	}
	if errors.Is(err, stream.ErrSourceChanged) && !e.takenOver(ctx, req.GetRunId()) {
		return nil, errkind.As(errkind.Run, &supersededError{by: successorOf(req.GetRunId())})
	}
	if err != nil {
		return nil, err
	}
	return b.counts, e.finish(ctx, req.GetRunId(), b.chunk, b.counts)
}

// readInto gives the builder the journeys of its run.
func (e *extractor) readInto(ctx context.Context, b *builder) error {
	start, end := run.Range(b.req)
	err := e.db.Journeys(ctx, journey.Options{
		Start: start, End: end, LookbackDays: int(b.req.GetLookbackDays()),
		IncludeSimultaneous: b.req.GetIncludeSimultaneous(), MaxSessions: int(b.req.GetMaxSessions()),
	}, b.add)
	if err != nil {
		return err
	}
	return b.flush()
}

// begin makes sure that the run may be extracted and returns what its journeys
// go to. The event accepted tells an attempt after an interruption from a first
// one, whose data are to be checked and which has no chunks stored yet.
func (e *extractor) begin(ctx context.Context, req *ihcv1.RunRequest, asked string) (*builder, error) {
	accepted, err := e.Bus.Accepted(ctx, req.GetRunId())
	first := errors.Is(err, stream.ErrNotFound)
	switch {
	case first:
		if accepted, err = e.accept(ctx, req, asked); errors.Is(err, stream.ErrTaken) {
			first = false // another was faster, perhaps with other data
			if accepted, err = e.Bus.Accepted(ctx, req.GetRunId()); err == nil {
				err = e.unchanged(ctx, accepted)
			}
		}
	case err == nil:
		err = e.unchanged(ctx, accepted)
	}
	if err != nil {
		return nil, err
	}
	stored, err := e.adopt(ctx, req)
	if err != nil {
		return nil, err
	}
	chunks, err := e.Bus.NewChunkPublisher(ctx, req.GetRunId(), first)
	if err != nil {
		return nil, err
	}
	e.under.add(accepted)
	return newBuilder(ctx, e, accepted, chunks, stored), nil
}

// accept checks the source data and, if they can give a true result, announces
// the run, which the database knows from then on.
func (e *extractor) accept(ctx context.Context, req *ihcv1.RunRequest, asked string) (*ihcv1.RunAccepted, error) {
	found, err := e.db.Validate(ctx, findings.Options{StartDate: req.GetStartDate(), EndDate: req.GetEndDate(), Alone: true})
	if err != nil {
		return nil, err
	}
	if err := found.Err(); err != nil {
		return nil, &unsoundError{lines: found.Lines(), err: err}
	}
	// Now, and not when everything is scored and paid for.
	over := e.Slow(ctx, "waiting to write to the database: is another program changing it?", req.GetRunId())
	err = e.db.Rehearse(ctx)
	over()
	if err != nil {
		return nil, err
	}
	warnings := found.Warnings()
	unknown, err := e.unknownLabels(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, label := range unknown {
		warnings = append(warnings, fmt.Sprintf("warning: redistribution label %q matches no channel of the data and changes nothing", label))
	}
	for _, w := range warnings {
		e.Log.Warn("source data", "run", req.GetRunId(), "finding", w)
	}
	accepted := &ihcv1.RunAccepted{Request: req, Warnings: warnings, SourceDigest: found.Digest, Asked: asked}
	if accepted.Scoring, err = e.scoring(ctx, req); err != nil {
		return nil, err
	}
	if err := e.enter(ctx, accepted); err != nil {
		return nil, err
	}
	return accepted, e.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: req.GetRunId(), Event: &ihcv1.RunEvent_Accepted{Accepted: accepted}})
}

// unknownLabels returns the redistribution labels no session's channel has.
func (e *extractor) unknownLabels(ctx context.Context, req *ihcv1.RunRequest) ([]string, error) {
	rules := run.Redistribution(req.GetRedistributionParameter())
	if rules == nil {
		return nil, nil
	}
	return e.db.UnknownChannels(ctx, rules.Labels())
}

// maxOutcomes bounds the conversions that ride on one chunk without a journey.
const maxOutcomes = 1000

// builder turns journeys into chunks: the packer decides which journeys travel
// together, and conversions without one ride along.
type builder struct {
	ctx      context.Context //nolint:containedctx // the packer calls back without one
	e        *extractor
	req      *ihcv1.RunRequest
	limits   packing.Limits
	packer   *packing.Packer
	chunks   *stream.ChunkPublisher
	meter    *stream.Meter
	chunk    uint32 // number of the last chunk
	counts   *ihcv1.Counts
	outcomes []*ihcv1.Outcome // not yet on a chunk
	weight   int              // of outcomes
	prints   *journey.Fingerprints
	scoring  []byte       // digest of what scores the run, nil where that is not settled
	stored   store.Stored // what an interrupted run has stored; nil for none
}

func newBuilder(ctx context.Context, e *extractor, accepted *ihcv1.RunAccepted, chunks *stream.ChunkPublisher, stored store.Stored) *builder {
	req := accepted.GetRequest()
	b := &builder{ctx: ctx, e: e, req: req, chunks: chunks, counts: &ihcv1.Counts{}, meter: e.Bus.Meter(req.GetRunId()),
		prints: journey.NewFingerprints(), scoring: run.ScoringDigest(accepted.GetScoring()), stored: stored}
	b.limits = packing.Limits{Sessions: int(req.GetMaxSessions()), Journeys: int(req.GetMaxJourneys()), Bytes: stream.MaxMessage * 3 / 4}
	b.packer = packing.New(b.limits, b.publish)
	return b
}

// add takes the next conversion in the order of reading.
func (b *builder) add(j journey.Journey) error {
	o := &ihcv1.Outcome{ConvId: j.ConvID, Sessions: uint64(j.Count)}
	switch {
	case j.Count == 0:
		o.Kind = ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS
		o.Reason = "no session of the user comes before the conversion"
		if b.req.GetLookbackDays() > 0 {
			o.Reason = fmt.Sprintf("no session of the user comes within %d days before the conversion", b.req.GetLookbackDays())
		}
	case j.Count > b.limits.Sessions:
		o.Kind = ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED
		o.Reason = fmt.Sprintf("the journey has more than %d sessions, the most one request may hold", b.limits.Sessions)
	case !b.limits.Fits(j):
		o.Kind = ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED
		o.Reason = fmt.Sprintf("the journey takes more than %d bytes, the most one message may hold", b.limits.Bytes)
	default:
		j.Fingerprint = b.prints.Of(j)
		there, err := b.isStored(j)
		if err != nil {
			return err
		}
		if !there {
			run.Add(b.counts, ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED, 1, uint64(j.Count))
			return b.packer.Add(j)
		}
		o.Kind = ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED
	}
	run.Add(b.counts, o.GetKind(), 1, o.GetSessions())
	b.outcomes = append(b.outcomes, o)
	b.weight += len(o.GetConvId()) + len(o.GetReason()) + 24
	if len(b.outcomes) >= maxOutcomes || b.weight > b.limits.Bytes/4 {
		return b.publish(nil)
	}
	return nil
}

// isStored says whether a journey was scored by the run that was interrupted
// (invariant 11).
func (b *builder) isStored(j journey.Journey) (bool, error) {
	if b.stored == nil || b.scoring == nil {
		return false, nil
	}
	return b.stored.Has(b.ctx, j.ConvID, journey.ScoredBy(j.Fingerprint, b.scoring))
}

func (b *builder) flush() error {
	if err := b.packer.Flush(); err != nil {
		return err
	}
	if len(b.outcomes) > 0 {
		if err := b.publish(nil); err != nil {
			return err
		}
	}
	if err := b.chunks.Flush(b.ctx); err != nil {
		return err
	}
	b.meter.Add(b.ctx, func(p *ihcv1.Progress) { p.ConversionsTotal = b.counts.GetInRange() })
	b.meter.Tell(b.ctx)
	return nil
}

// publish sends one chunk with the journeys and all outcomes at hand.
func (b *builder) publish(journeys []journey.Journey) error {
	if b.e.ended.Over(b.req.GetRunId()) {
		return errEnded
	}
	b.chunk++
	chunk := encode(journeys)
	chunk.RunId, chunk.Chunk, chunk.Outcomes, chunk.Scoring = b.req.GetRunId(), b.chunk, b.outcomes, b.scoring
	conversions := uint64(len(journeys) + len(b.outcomes))
	b.outcomes, b.weight = nil, 0
	if err := b.chunks.Publish(b.ctx, chunk); err != nil {
		return err
	}
	b.meter.Add(b.ctx, func(p *ihcv1.Progress) {
		p.Conversions += conversions
		p.Chunks++
	})
	return nil
}

// encode writes journeys as the message has them.
func encode(journeys []journey.Journey) *ihcv1.JourneyChunk {
	c := &ihcv1.JourneyChunk{Journeys: make([]*ihcv1.Journey, len(journeys))}
	index := map[string]uint32{}
	for i, j := range journeys {
		n := len(j.Sessions)
		m := &ihcv1.Journey{ConvId: j.ConvID, SessionIds: make([]string, n), TimeDeltas: make([]int64, n), Channels: make([]uint32, n), Flags: make([]byte, n), Fingerprint: j.Fingerprint}
		before := int64(0)
		for k, s := range j.Sessions {
			channel, ok := index[s.Channel]
			if !ok {
				channel = uint32(len(c.Channels))
				index[s.Channel] = channel
				c.Channels = append(c.Channels, s.Channel)
			}
			m.SessionIds[k], m.TimeDeltas[k], m.Channels[k], m.Flags[k] = s.ID, s.Time-before, channel, s.Flags
			before = s.Time
		}
		c.Journeys[i] = m
	}
	c.Channels = slices.Clip(c.Channels)
	return c
}
