package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func publishedBy(r *rig, c *Client, chunks ...*ihcv1.JourneyChunk) error {
	r.t.Helper()
	p, err := c.NewChunkPublisher(r.ctx, "run", true) // it looked before there was anything
	require.NoError(r.t, err)
	for _, x := range chunks {
		if err := p.Publish(r.ctx, x); err != nil {
			return err
		}
	}
	return p.Flush(r.ctx)
}

// Two who know nothing of each other publish the same chunks: each is there
// once. Others are not taken, of whoever comes second.
func TestChunkIsPublishedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	one, two := r.client(StageExtractor), r.client(StageExtractor)
	require.NoError(t, publishedBy(r, one, chunk("run", 1), chunk("run", 2)))
	require.NoError(t, publishedBy(r, two, chunk("run", 1), chunk("run", 2), chunk("run", 3)))
	other := chunk("run", 2)
	other.Journeys[0].ConvId = "another"
	require.ErrorIs(t, publishedBy(r, two, chunk("run", 1), other), ErrSourceChanged)
	require.Equal(t, map[uint32]int{1: 1, 2: 1, 3: 1}, r.chunks(one, "run"))

	// Fewer than before is a change, too.
	p, err := two.NewChunkPublisher(r.ctx, "run", false)
	require.NoError(t, err)
	require.NoError(t, p.Publish(r.ctx, chunk("run", 1)))
	require.NoError(t, p.Publish(r.ctx, chunk("run", 2)))
	require.ErrorIs(t, p.Flush(r.ctx), ErrSourceChanged)
}

func TestLostChunksAreRestoredAndNoOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	r.publish(c, "run", 4)
	s, err := r.js.Stream(r.ctx, Journeys)
	require.NoError(t, err)
	for _, at := range []uint64{1, 2, 3} {
		require.NoError(t, s.DeleteMsg(r.ctx, at))
	}
	p, err := c.NewChunkPublisher(r.ctx, "run", false)
	require.NoError(t, err)
	p.Restore([]uint32{2})
	for n := range uint32(4) {
		require.NoError(t, p.Publish(r.ctx, chunk("run", n+1)))
	}
	require.NoError(t, p.Flush(r.ctx))
	require.Equal(t, map[uint32]int{1: 1, 3: 1, 4: 1}, r.chunks(c, "run"), "within the time in which ids count")
}

func TestResultIsPublishedOnceForEachRevision(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	for _, x := range []struct {
		revision uint32
		model    string
	}{{0, "first"}, {0, "late"}, {2, "anew"}, {1, "late"}, {2, "late"}} {
		require.NoError(t, c.PublishResult(r.ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Revision: x.revision, Model: x.model}))
	}
	var models []string
	require.NoError(t, c.EachResult(r.ctx, "run", func(a *ihcv1.AttributionResult) error { models = append(models, a.GetModel()); return nil }))
	require.Equal(t, []string{"first", "anew"}, models)
}

func TestAnEndedRunTakesNoEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client("test")
	reported := func(run string, revision uint32) *ihcv1.RunEvent {
		return &ihcv1.RunEvent{RunId: run, Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{Revision: revision}}}
	}
	written := &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{}}}
	require.NoError(t, c.PublishEvent(r.ctx, accepted("run")))
	require.NoError(t, c.PublishEvent(r.ctx, accepted("run")), "the same")
	require.NoError(t, c.PublishEvent(r.ctx, extracted("run")))
	more := extracted("run")
	more.GetExtracted().Chunks++
	require.ErrorIs(t, c.PublishEvent(r.ctx, more), ErrTaken)
	require.NoError(t, c.PublishEvent(r.ctx, written))
	require.NoError(t, c.PublishEvent(r.ctx, reported("run", 0)))
	require.NoError(t, c.PublishEvent(r.ctx, reported("run", 0)))
	require.ErrorIs(t, c.PublishEvent(r.ctx, failed("run")), ErrOver)
	require.ErrorIs(t, c.PublishEvent(r.ctx, more), ErrOver)
	require.NoError(t, c.PublishEvent(r.ctx, reported("run", 1)), "made anew")
	require.NoError(t, c.PublishEvent(r.ctx, accepted("other")))
	require.NoError(t, c.PublishEvent(r.ctx, failed("other")))
	require.ErrorIs(t, c.PublishEvent(r.ctx, extracted("other")), ErrOver)
	require.ErrorIs(t, c.PublishEvent(r.ctx, reported("other", 1)), ErrOver)
	require.NoError(t, c.PublishEvent(r.ctx, failed("other")), "the same")
	events, err := c.Events(r.ctx, "*")
	require.NoError(t, err)
	require.Len(t, events, 7)

	require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: "third"}))
	_, err = r.js.Publish(r.ctx, "ihc.v1.run.cancelled.third", []byte("{ whatever"))
	require.NoError(t, err)
	require.ErrorIs(t, c.PublishEvent(r.ctx, accepted("third")), ErrOver, "an end counts by its subject")
}

// Once a process has been out of sight for AckWait it is so for good.
func TestLeaseThatRanOutStaysLost(t *testing.T) {
	t.Parallel()
	l := &lease{wait: time.Hour, last: time.Now()}
	l.beat()
	require.False(t, l.gone())
	l.last = time.Now().Add(-2 * time.Hour)
	require.True(t, l.gone(), "nobody has beaten yet")
	l.beat()
	require.True(t, l.gone())
}
