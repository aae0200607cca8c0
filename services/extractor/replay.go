package extractor

import (
	"context"
	"errors"
	"fmt"

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
		if err := e.copyChunks(ctx, stored, announce, extracted.GetChunks()); err != nil {
			return nil, err
		}
	}
	return extracted.GetCounts(), e.finish(ctx, req.GetRunId(), extracted.GetChunks(), extracted.GetCounts())
}

func (e *extractor) copyChunks(ctx context.Context, from string, announce *ihcv1.RunAccepted, want uint32) error {
	to := announce.GetRequest().GetRunId()
	scoring := run.ScoringDigest(announce.GetScoring())
	chunks, err := e.Bus.NewChunkPublisher(ctx, to, false)
	if err != nil {
		return err
	}
	seen := map[uint32]bool{}
	err = e.Bus.EachChunk(ctx, from, func(c *ihcv1.JourneyChunk) error {
		if e.ended.Has(to) {
			return errEnded
		}
		if seen[c.GetChunk()] {
			return nil // put back from the dead letters once: the same journeys
		}
		seen[c.GetChunk()] = true
		c.RunId, c.Revision, c.Scoring = to, 0, scoring
		return chunks.Publish(ctx, c)
	})
	if err != nil {
		return err
	}
	if len(seen) != int(want) {
		return errkind.Inputf("only %d of the %d chunks of run %s are still stored; start a new run from the database", len(seen), want, from)
	}
	if err := chunks.Flush(ctx); err != nil {
		return fmt.Errorf("copy the chunks of run %s: %w", from, err)
	}
	return nil
}
