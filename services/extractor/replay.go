package extractor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// replay starts a run from the stored messages of another, without a look at the
// source tables, but for whether its conversions are still there: from its journeys
// by publishing them again under the new run's name, from its results by telling the
// writer where they are.
func (e *extractor) replay(ctx context.Context, replay *ihcv1.RunRequest, asked string) (*ihcv1.Counts, error) {
	origin := &run.State{ID: replay.GetReplayOf()}
	accepted, err := e.Bus.Accepted(ctx, origin.ID)
	if errors.Is(err, stream.ErrNotFound) {
		return nil, errkind.Inputf("run %s is not known, so it cannot be replayed; `ihc runs` lists those that are", origin.ID)
	}
	if err != nil {
		return nil, err
	}
	extracted, err := e.Bus.Extracted(ctx, origin.ID)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return nil, err
	}
	origin.Apply(run.Entry{Event: &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: accepted}}})
	if err == nil {
		origin.Apply(run.Entry{Event: &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Extracted{Extracted: extracted}}})
	}
	announce, stored, err := run.Replay(origin, replay)
	if err != nil {
		return nil, err
	}
	req := announce.GetRequest()
	if req.GetReplayFrom() == run.FromJourneys { // before it is announced: one that is refused has begun nothing
		if err := e.whole(ctx, stored, extracted.GetChunks()); err != nil {
			return nil, err
		}
	}
	if err := e.stillSold(ctx, req, stored); err != nil {
		return nil, err
	}
	announce.Asked = asked
	if announce.GetScoring() == nil && req.GetReplayFrom() == run.FromJourneys {
		if announce.Scoring, err = e.scoring(ctx, run.ToSettle(origin, announce)); err != nil {
			return nil, err
		}
	}
	if err := e.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: req.GetRunId(), Event: &ihcv1.RunEvent_Accepted{Accepted: announce}}); err != nil {
		return nil, err
	}
	if req.GetReplayFrom() == run.FromJourneys {
		if err := e.copyChunks(ctx, stored, announce, extracted.GetChunks(), nil); err != nil {
			return nil, err
		}
	}
	return extracted.GetCounts(), e.finish(ctx, req.GetRunId(), extracted.GetChunks(), extracted.GetCounts())
}

// whole returns an input fault if not all chunks of a run are stored.
func (e *extractor) whole(ctx context.Context, of string, chunks uint32) error {
	stored, err := e.Bus.Stored(ctx, of)
	if err != nil {
		return err
	}
	return complete(len(within(stored, chunks)), chunks, of)
}

// askedAtOnce is of how many conversions it is asked at once whether they are there.
const askedAtOnce = 500

// stillSold returns an input fault if none of the conversions that have, or are to
// get, an attribution by the stored messages is in the database any more: what
// such a replay would show is nothing. That some are missing is told in its report.
// Where there is no database yet, the writer waits for it.
func (e *extractor) stillSold(ctx context.Context, replay *ihcv1.RunRequest, stored string) error {
	var asking []string
	asked, found := 0, 0
	ask := func() error {
		err := e.patiently(ctx, replay.GetRunId(), func() error {
			n, err := e.db.Sold(ctx, asking)
			if errors.Is(err, fs.ErrNotExist) {
				return errNoDatabase
			}
			found += n
			return err
		})
		asked += len(asking)
		asking = asking[:0]
		if err == nil && found > 0 {
			return errFound
		}
		return err
	}
	look := func(outcomes []*ihcv1.Outcome, scored iter.Seq[string]) error {
		asking = slices.AppendSeq(asking, scored)
		for _, o := range outcomes {
			if run.OutcomeOf(o.GetKind()).Attributed {
				asking = append(asking, o.GetConvId())
			}
		}
		if len(asking) < askedAtOnce {
			return nil
		}
		return ask()
	}
	err := e.eachOf(ctx, replay.GetReplayFrom(), stored, look)
	if err == nil && len(asking) > 0 {
		err = ask()
	}
	switch {
	case errors.Is(err, errFound), errors.Is(err, errNoDatabase):
		return nil
	case err == nil && asked > 0:
		return errkind.Inputf("none of the %s that run %s attributed is in the database any more, so a replay of it would show nothing: start a new run from the database",
			human.Count(asked, "conversion"), replay.GetReplayOf())
	}
	return err
}

var (
	errFound      = errors.New("a conversion is there")
	errNoDatabase = errors.New("there is no database yet")
)

// eachOf calls look with what each stored message of a run, of the kind that a
// replay starts from, has of conversions, and stops at its first error.
func (e *extractor) eachOf(ctx context.Context, from, stored string, look func([]*ihcv1.Outcome, iter.Seq[string]) error) error {
	if from == run.FromResults {
		return e.Bus.EachResult(ctx, stored, func(r *ihcv1.AttributionResult) error { return look(r.GetOutcomes(), ids(r.GetAttributions())) })
	}
	return e.Bus.EachChunk(ctx, stored, func(c *ihcv1.JourneyChunk) error { return look(c.GetOutcomes(), ids(c.GetJourneys())) })
}

func ids[C interface{ GetConvId() string }](all []C) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, c := range all {
			if !yield(c.GetConvId()) {
				return
			}
		}
	}
}

// within returns the chunks from 1 to last.
func within[V any](all map[uint32]V, last uint32) map[uint32]V {
	maps.DeleteFunc(all, func(chunk uint32, _ V) bool { return chunk < 1 || chunk > last })
	return all
}

func complete(n int, want uint32, of string) error {
	if n == int(want) {
		return nil
	}
	return errkind.Inputf("only %d of the %d chunks of run %s are still stored; start a new run from the database", n, want, of)
}

// copyChunks publishes the chunks of one run as those of another, but for those
// that are done with: it is nil where the run begins.
func (e *extractor) copyChunks(ctx context.Context, from string, announce *ihcv1.RunAccepted, want uint32, done []uint32) error {
	to := announce.GetRequest().GetRunId()
	scoring := run.ScoringDigest(announce.GetScoring())
	chunks, err := e.Bus.NewChunkPublisher(ctx, to, false)
	if err != nil {
		return err
	}
	if done != nil {
		chunks.Restore(done)
	}
	seen := map[uint32]bool{}
	err = e.Bus.EachChunk(ctx, from, func(c *ihcv1.JourneyChunk) error {
		if e.ended.Over(to) {
			return errEnded
		}
		if seen[c.GetChunk()] || c.GetChunk() > want {
			return nil // put back once: the same journeys; or of somebody who lost the run to another
		}
		seen[c.GetChunk()] = true
		c.RunId, c.Revision, c.Scoring = to, 0, scoring
		return chunks.Publish(ctx, c)
	})
	if err != nil {
		return err
	}
	if err := complete(len(seen), want, from); err != nil {
		return err
	}
	if err := chunks.Flush(ctx); err != nil {
		return fmt.Errorf("copy the chunks of run %s: %w", from, err)
	}
	return nil
}
