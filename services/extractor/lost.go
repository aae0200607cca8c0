package extractor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// A run waits for messages, and some may never come: they grew older than the
// stream keeps them, or a disaster took them away after they were acknowledged.
// The ledger knows which chunks have no result, the streams which messages
// there are. What is missing in both is published again, from the source as
// long as that is what it was; if it is not, another run takes the run's place.

// lookAfter sees to what is lost of a run that is under way and does not get on: to
// know what is in the streams takes reading all of the run in them. What it finds
// lost it puts back if it is still so the next time.
func (e *extractor) lookAfter(ctx context.Context, id string) error {
	return e.putBackLost(ctx, id, false)
}

func (e *extractor) putBackLost(ctx context.Context, id string, resumed bool) error {
	s, err := e.state(ctx, id)
	if err != nil {
		return err
	}
	if s.Planned == nil || s.ResultsRun != "" || s.Status() != run.StatusRunning {
		return nil // it is not all extracted, has no chunks of its own, or rests
	}
	if !resumed {
		missing, err := e.db.Missing(ctx, id, s.Planned.GetChunks())
		if err != nil || !e.missing.Again(e.ended, id, missing) {
			return err // it has all results or gets on
		}
	}
	w, lost, err := e.whatIsLost(ctx, id, s.Planned.GetChunks())
	if err != nil {
		return err
	}
	if again := e.lost.Again(e.ended, id, lost); len(lost) == 0 || !again && !resumed {
		return nil
	}
	gone := slices.DeleteFunc(slices.Clone(lost), func(chunk uint32) bool { return w.Chunks[chunk] > 0 })
	e.Log.Warn("messages of the run were lost; they are published again", "run", id, "chunks", len(lost), "from_source", len(gone))
	stored := map[uint32]uint64{}
	for _, chunk := range lost {
		if at := w.Chunks[chunk]; at > 0 && !resumed { // a run that is resumed has them back
			stored[chunk] = at
		}
	}
	if _, err := e.Bus.Republish(ctx, id, stored); err != nil || len(gone) == 0 {
		return err
	}
	err = e.extractAgain(ctx, s, gone)
	if errkind.KindOf(err) == errkind.Environment { // there is time: the run goes on as soon as it passes
		e.Bus.Waiting(ctx, id, err.Error())
		return stream.Retry(err, 2*time.Second)
	}
	return e.Outcome(ctx, err, id)
}

// state returns what the stream says of a run.
func (e *extractor) state(ctx context.Context, id string) (*run.State, error) {
	events, err := e.Bus.Events(ctx, id)
	s := &run.State{ID: id}
	for _, x := range events {
		s.Apply(run.Entry{Sequence: x.Sequence, Time: x.Time, Event: x.Event})
	}
	return s, err
}

// whatIsLost returns which chunks of a run have neither a result in the ledger
// or in the stream nor a message that somebody still has to deal with, and where
// the run's messages are. The order of the questions is that of the way a chunk
// takes, so that one that moves on meanwhile is seen.
func (e *extractor) whatIsLost(ctx context.Context, id string, chunks uint32) (stream.Whereabouts, []uint32, error) {
	done, err := e.Bus.Done(ctx, stream.Chunks)
	if err != nil {
		return stream.Whereabouts{}, nil, err
	}
	w, err := e.Bus.Whereabouts(ctx, id)
	if err != nil {
		return w, nil, err
	}
	missing, err := e.db.Missing(ctx, id, chunks)
	if err != nil {
		return w, nil, err
	}
	return w, slices.DeleteFunc(missing, func(chunk uint32) bool {
		_, scored := w.Results[chunk]
		return scored || w.Dead[chunk] || w.Chunks[chunk] > done
	}), nil
}

// extractAgain publishes chunks of a run that are in no stream any more.
func (e *extractor) extractAgain(ctx context.Context, s *run.State, gone []uint32) error {
	chunks := s.Planned.GetChunks()
	done := make([]uint32, 0, chunks)
	for chunk := range chunks {
		if !slices.Contains(gone, chunk+1) {
			done = append(done, chunk+1)
		}
	}
	accepted, err := e.Bus.Accepted(ctx, s.ID)
	if of := s.Request.GetReplayOf(); of != "" && err == nil {
		origin, err := e.Bus.Accepted(ctx, of)
		if err != nil {
			return lostForGood(s.ID, err)
		}
		return lostForGood(s.ID, e.copyChunks(ctx, cmp.Or(origin.GetResultsRun(), of), accepted, chunks, done))
	}
	if err == nil {
		err = e.stillThere(ctx, accepted)
	}
	if err != nil {
		return err
	}
	e.beginMeter(ctx, s.ID)
	b, err := e.builder(ctx, accepted, false)
	if err == nil {
		b.publisher.Restore(done)
		err = e.readInto(ctx, b)
	}
	if errors.Is(err, stream.ErrSourceChanged) || err == nil && b.chunk != chunks {
		return errkind.As(errkind.Run, &supersededError{by: successorOf(s.ID)})
	}
	return err
}

// lostForGood explains that a replay has lost chunks that its origin has not
// got any more, either.
func lostForGood(id string, err error) error {
	if err == nil || errors.Is(err, errEnded) {
		return nil
	}
	return errkind.As(errkind.KindOf(err), fmt.Errorf("chunks of run %s are in no stream any more, and cannot be copied again: %w", id, err))
}
