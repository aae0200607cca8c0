package extractor

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// replay starts a run from the stored messages of another, without a look at
// the database: from its journeys by publishing them again under the new run's
// name, from its results by telling the writer where they are.
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
