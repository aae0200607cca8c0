package extractor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/packing"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// fromDatabase runs an ordinary request: check, announce, extract.
func (e *extractor) fromDatabase(ctx context.Context, req *ihcv1.RunRequest, asked string) (*ihcv1.Counts, error) {
	b, err := e.begin(ctx, req, asked)
	if err == nil {
		err = e.share(ctx, b)
	}
	if err != nil && !e.takenOver(ctx, req.GetRunId()) {
		err = changed(err, req.GetRunId())
	}
	if err != nil {
		return nil, err
	}
	counts := b.counts()
	e.allRead(ctx, req.GetRunId())
	return counts, e.finish(ctx, req.GetRunId(), b.chunk, counts)
}

// changed returns the error that ends a run whose chunks are not those that were
// published before; another error as it is.
func changed(err error, id string) error {
	if errors.Is(err, stream.ErrSourceChanged) {
		return errkind.As(errkind.Run, &supersededError{by: successorOf(id)})
	}
	return err
}

// readInto gives the builder the journeys of its run, slice by slice, so that the
// chunks are those that extractors make who share the slices.
func (e *extractor) readInto(ctx context.Context, b *builder) error {
	err := e.db.Slices(ctx, run.Journeys(b.req), e.sliceSize, func(ctx context.Context, slices []journey.Options) error {
		return e.readSlices(ctx, b, slices...)
	})
	if err != nil {
		return err
	}
	return b.flush()
}

func (e *extractor) readSlices(ctx context.Context, b *builder, slices ...journey.Options) error {
	for _, o := range slices {
		b.reading = b.reading[:0]
		for _, s := range b.stored {
			near, err := s.For(ctx, o)
			if err != nil {
				return err
			}
			b.reading = append(b.reading, near)
		}
		if err := e.db.Journeys(ctx, o, b.chunks.Add); err != nil {
			return err
		}
		if err := b.chunks.Flush(); err != nil {
			return err
		}
	}
	return nil
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
				err = e.stillThere(ctx, accepted)
			}
		}
	case err == nil:
		err = e.stillThere(ctx, accepted)
	}
	if err != nil {
		return nil, err
	}
	e.under.add(accepted)
	e.beginMeter(ctx, req.GetRunId())
	return e.builder(ctx, accepted, first)
}

// stillThere is unchanged of a run that was interrupted, which waits for a
// database that is away.
func (e *extractor) stillThere(ctx context.Context, accepted *ihcv1.RunAccepted) error {
	return e.patiently(ctx, accepted.GetRequest().GetRunId(), func() error { return e.unchanged(ctx, accepted) })
}

// builder returns what the journeys of a run, or of a slice of it, go to. With
// fresh it does not look which chunks are stored.
func (e *extractor) builder(ctx context.Context, accepted *ihcv1.RunAccepted, fresh bool) (*builder, error) {
	stored, err := e.adopt(ctx, accepted.GetRequest())
	if err != nil {
		return nil, err
	}
	reusable, err := e.reuse(ctx, accepted)
	if err != nil {
		return nil, err
	}
	chunks, err := e.Bus.NewChunkPublisher(ctx, accepted.GetRequest().GetRunId(), fresh)
	if err != nil {
		return nil, err
	}
	b, err := newBuilder(ctx, e, accepted, chunks, stored, reusable)
	if err == nil {
		b.fresh, b.work = fresh, e.work(ctx, b.req)
	}
	return b, err
}

// accept checks the source data and, if they can give a true result, announces
// the run, which the database knows from then on.
func (e *extractor) accept(ctx context.Context, req *ihcv1.RunRequest, asked string) (*ihcv1.RunAccepted, error) {
	if err := e.unlocked(ctx, req.GetRunId()); err != nil {
		return nil, err
	}
	found, err := e.check(ctx, req, findings.Options{StartDate: req.GetStartDate(), EndDate: req.GetEndDate(), LookbackDays: req.GetLookbackDays(), Alone: true})
	if err != nil {
		return nil, err
	}
	if err := found.Err(); err != nil {
		return nil, &unsoundError{lines: found.Lines(), err: err}
	}
	// Now, and not when everything is scored and paid for.
	over := e.Slow(ctx, awaitsTurn, req.GetRunId())
	err = e.db.Rehearse(ctx)
	over()
	if err != nil {
		return nil, err
	}
	e.Bus.MeterOf(req.GetRunId()).Add(ctx, func(p *ihcv1.Progress) { p.ConversionsTotal = uint64(found.ConversionsInRange) })
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
	e.settled(ctx, accepted)
	if err := e.enter(ctx, accepted); err != nil {
		return nil, err
	}
	return accepted, e.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: req.GetRunId(), Event: &ihcv1.RunEvent_Accepted{Accepted: accepted}})
}

// lockPatience is how long a run waits for whoever has locked the database
// before it is begun.
const lockPatience = 30 * time.Second

// unlocked waits until the database can be read and says so meanwhile, which the
// reading itself, where SQLite waits for the lock, does not. Any other fault of
// the database is left to whoever reads it.
func (e *extractor) unlocked(ctx context.Context, id string) error {
	for begun, waited := time.Now(), false; ; waited = true {
		err := e.db.Check(ctx)
		locked := errors.Is(err, store.ErrLocked) && ctx.Err() == nil
		if locked && time.Since(begun) < lockPatience {
			e.SetReady(err)
			e.Bus.Waiting(ctx, id, err.Error())
			if err := retry.Sleep(ctx, retry.Real, retry.Lock.Delay(1)); err != nil {
				return err
			}
			continue
		}
		if waited {
			e.SetReady(nil)
			e.Bus.Waiting(ctx, id, "")
		}
		if locked {
			return err
		}
		return nil
	}
}

// unknownLabels returns the redistribution labels no session's channel has.
func (e *extractor) unknownLabels(ctx context.Context, req *ihcv1.RunRequest) ([]string, error) {
	rules := run.Redistribution(req.GetRedistributionParameter())
	if rules == nil {
		return nil, nil
	}
	return e.db.UnknownChannels(ctx, rules.Labels())
}

// builder publishes the chunks of a run.
type builder struct {
	ctx       context.Context //nolint:containedctx // the packer calls back without one
	e         *extractor
	req       *ihcv1.RunRequest // with the model that was settled
	chunks    *packing.Chunks
	publisher *stream.ChunkPublisher
	meter     *stream.Meter
	chunk     uint32         // number of the last chunk
	stored    []store.Stored // what other runs have stored
	reading   []store.Stored // the same, for the journeys that are read
	scoring   []byte         // digest of what scores the run, nil where that is not settled
	told      bool           // that the first chunk is there
	fresh     bool           // nothing of the run is stored yet
	work      store.Work
	part      *part // where it is of a slice, whose first chunk has a number that others know
}

// counts returns the conversions so far.
func (b *builder) counts() *ihcv1.Counts {
	counts := b.chunks.Counts
	counts.Reused = b.chunks.Reused
	return counts
}

// newBuilder returns one; stored is what other runs have stored, each nil for
// none, which is not scored again (invariant 11).
func newBuilder(ctx context.Context, e *extractor, accepted *ihcv1.RunAccepted, publisher *stream.ChunkPublisher, stored ...store.Stored) (*builder, error) {
	req := proto.CloneOf(accepted.GetRequest())
	if settled := accepted.GetScoring(); settled != nil {
		req.Model, req.ModelParams = settled.GetModel(), settled.GetModelParams()
	}
	b := &builder{ctx: ctx, e: e, req: req, publisher: publisher, meter: e.Bus.MeterOf(req.GetRunId()), scoring: run.ScoringDigest(accepted.GetScoring())}
	var known func(string, []byte) (bool, error)
	if b.scoring != nil {
		b.stored = slices.DeleteFunc(stored, func(s store.Stored) bool { return s == nil })
	}
	if len(b.stored) > 0 {
		known = func(conv string, fingerprint []byte) (there bool, err error) {
			scoredBy := journey.ScoredBy(fingerprint, b.scoring)
			for i := 0; i < len(b.reading) && !there && err == nil; i++ {
				there, err = b.reading[i].Has(ctx, conv, scoredBy)
			}
			return there, err
		}
	}
	var err error
	b.chunks, err = packing.NewChunks(req, e.Bus.MaxMessage(), known, b.publish)
	return b, err
}

// beginMeter begins to tell the progress of an attempt at a run.
func (e *extractor) beginMeter(ctx context.Context, id string) {
	was := e.Bus.MeterOf(id).Now() // as the check has it
	e.Bus.Meter(id).Add(ctx, func(p *ihcv1.Progress) {
		p.ConversionsTotal, p.Steps = was.GetConversionsTotal(), was.GetSteps()
		stream.BeginStep(p, run.StepSort, time.Now(), 0)
	})
}

// flush returns when all chunks are published.
func (b *builder) flush() error {
	if err := b.publisher.Flush(b.ctx); err != nil {
		return err
	}
	if b.part == nil {
		b.meter.Add(b.ctx, func(p *ihcv1.Progress) { p.ConversionsTotal = b.chunks.Counts.GetInRange() })
	}
	b.meter.Tell(b.ctx)
	return nil
}

// packed is a chunk that is ready to be sent once its number is known.
type packed struct {
	body        stream.ChunkBody
	conversions int
}

// publish sends one chunk, or has it sent when its number is known.
func (b *builder) publish(c packing.Chunk) error {
	if b.e.ended.Over(b.req.GetRunId()) {
		return errEnded
	}
	for _, o := range c.Outcomes {
		o.Fingerprint = journey.ScoredBy(o.GetFingerprint(), b.scoring)
	}
	chunk := encode(c.Journeys)
	chunk.Outcomes, chunk.Scoring = c.Outcomes, b.scoring
	body, err := stream.BodyOf(chunk)
	if err != nil {
		return fmt.Errorf("encode a chunk of run %s: %w", b.req.GetRunId(), err)
	}
	p := packed{body, len(c.Journeys) + len(c.Outcomes)}
	if b.part != nil {
		if held, err := b.part.hold(p); held || err != nil {
			return err
		}
	}
	return b.send(p)
}

// send sends a chunk with the next number.
func (b *builder) send(p packed) error {
	if b.chunk++; !b.told {
		b.told = true
		b.begun()
	}
	if err := b.publisher.PublishBody(b.ctx, b.chunk, p.body); err != nil {
		return err
	}
	b.meter.Add(b.ctx, func(to *ihcv1.Progress) {
		to.Conversions += uint64(p.conversions)
		to.Chunks++
		b.replan(to)
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
		if j.Strategy != "" {
			m.Approximation = &ihcv1.Approximation{Strategy: j.Strategy, LeftOut: uint64(j.LeftOut())}
		}
		c.Journeys[i] = m
	}
	c.Channels = slices.Clip(c.Channels)
	return c
}
