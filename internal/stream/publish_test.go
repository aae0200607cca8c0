package stream

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// chunks returns how many messages each stored chunk of a run has.
func (r *rig) chunks(c *Client, run string) map[uint32]int {
	r.t.Helper()
	n := map[uint32]int{}
	require.NoError(r.t, c.EachChunk(r.ctx, run, func(ch *ihcv1.JourneyChunk) error { n[ch.GetChunk()]++; return nil }))
	return n
}

func TestSecondAttemptPublishesOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	r.publish(c, "run", 5)
	r.publish(c, "other", 1)
	p, err := c.NewChunkPublisher(r.ctx, "run", false)
	require.NoError(t, err)
	for i := range uint32(8) {
		require.NoError(t, p.Publish(r.ctx, chunk("run", i+1)))
	}
	require.NoError(t, p.Flush(r.ctx))
	require.EqualValues(t, 3, p.Sent)
	require.EqualValues(t, 5, p.Skipped)
	require.Equal(t, map[uint32]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1}, r.chunks(c, "run"))
}

// unheard is a publish whose acknowledgement was lost.
type unheard struct{ jetstream.PubAckFuture }

func (unheard) Ok() <-chan *jetstream.PubAck { return nil }
func (unheard) Err() <-chan error            { return nil }

// Acknowledgements that are lost with a server are lost together, and are not
// waited for one after the other.
func TestLostAcknowledgementsAreWaitedForTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	p, err := c.NewChunkPublisher(r.ctx, "run", true)
	require.NoError(t, err)
	const chunks = 20 // for longer than the test may take, if one waited for each
	want := map[uint32]int{}
	for i := range uint32(chunks) {
		m, id, err := chunkMessage(chunk("run", i+1))
		require.NoError(t, err)
		p.pending = append(p.pending, pendingChunk{m, id, unheard{}, time.Now().Add(-wordWithin)})
		want[i+1] = 1
	}
	require.NoError(t, p.Flush(r.ctx))
	require.Equal(t, want, r.chunks(c, "run"))
}

func TestChangedSourceIsNoticed(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	r.publish(c, "run", 3)
	p, err := c.NewChunkPublisher(r.ctx, "run", false)
	require.NoError(t, err)
	require.NoError(t, p.Publish(r.ctx, chunk("run", 1)))
	other := chunk("run", 2)
	other.Journeys[0].SessionIds[0] = "another session"
	err = p.Publish(r.ctx, other)
	require.ErrorIs(t, err, ErrSourceChanged)
	require.ErrorContains(t, err, "chunk 2 of run run")
}

// Chunks that were put back are the same chunks.
func TestSecondAttemptKnowsChunksThatWerePutBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	r.publish(c, "run", 3)
	require.NoError(t, c.Requeue(r.ctx, DeadLetter{Sequence: 7, Stream: Journeys, Subject: chunkSubject("run", 1), Data: encoded(t, chunk("run", 1))}))
	n, err := c.PutBack(r.ctx, "run", 4)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, map[uint32]int{1: 3, 2: 2, 3: 2}, r.chunks(c, "run"))
	p, err := c.NewChunkPublisher(r.ctx, "run", false)
	require.NoError(t, err)
	for i := range uint32(3) {
		require.NoError(t, p.Publish(r.ctx, chunk("run", i+1)))
	}
	require.EqualValues(t, 3, p.Skipped)
}

func TestPublishingSurvivesARestartOfNATS(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	const n = 3000
	p, err := c.NewChunkPublisher(r.ctx, "run", true)
	require.NoError(t, err)
	var group errgroup.Group
	for i := range uint32(n) {
		if i == n/3 {
			group.Go(func() error {
				r.stop()
				r.start()
				return nil
			})
		}
		require.NoError(t, p.Publish(r.ctx, chunk("run", i+1)))
	}
	require.NoError(t, group.Wait())
	require.NoError(t, p.Flush(r.ctx))
	stored := r.chunks(c, "run")
	require.Len(t, stored, n)
	for i, times := range stored {
		require.Equal(t, 1, times, "chunk %d", i)
	}
}

func TestEverythingIsPublishedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	for range 3 {
		require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: "run"}))
		require.NoError(t, c.PublishEvent(r.ctx, &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Accepted{}}))
		require.NoError(t, c.PublishEvent(r.ctx, &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{Revision: 2}}}))
		require.NoError(t, c.PublishEvent(r.ctx, &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{Since: 3}}}))
		require.NoError(t, c.PublishResult(r.ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 1}))
		r.publish(c, "run", 2)
	}
	for stream, want := range map[string]uint64{Runs: 4, Results: 1, Journeys: 2} {
		s, err := r.js.Stream(r.ctx, stream)
		require.NoError(t, err)
		require.Equal(t, want, s.CachedInfo().State.Msgs, stream)
	}
	require.ErrorContains(t, c.PublishEvent(r.ctx, &ihcv1.RunEvent{RunId: "run"}), "says nothing")
}

// A full stream holds publishers up until there is room; it drops nothing.
func TestFullStreamHoldsPublishersUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	s, err := r.js.Stream(r.ctx, Results)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 1
	_, err = r.js.UpdateStream(r.ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, c.PublishResult(r.ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 1}))

	short, cancel := context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.PublishResult(short, &ihcv1.AttributionResult{RunId: "run", Chunk: 2}), context.DeadlineExceeded)

	done := make(chan error, 1)
	go func() { done <- c.PublishResult(r.ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 2}) }()
	cfg.MaxMsgs = -1
	_, err = r.js.UpdateStream(r.ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, receive(r, done))
	got, err := c.Result(r.ctx, "run", 2)
	require.NoError(t, err)
	require.EqualValues(t, 2, got.GetChunk())
	_, err = c.Result(r.ctx, "run", 3)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestMessageTooLargeIsToldPlainly(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	err := c.PublishResult(r.ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Model: string(make([]byte, 20<<20))})
	require.ErrorContains(t, err, "max_payload")
}

func TestEnsureMayBeRepeated(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	r.publish(c, "run", 3)
	s := DefaultSettings()
	s.AckWait, s.KeepMessages = 3*time.Second, 24*time.Hour
	var group errgroup.Group
	for range 8 {
		group.Go(func() error { return Ensure(r.ctx, r.js, s) })
	}
	require.NoError(t, group.Wait())
	consumer, err := r.js.Consumer(r.ctx, Journeys, Chunks.Durable)
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, consumer.CachedInfo().Config.AckWait)
	require.EqualValues(t, 3, consumer.CachedInfo().NumPending, "messages were lost")
	stream, err := r.js.Stream(r.ctx, Journeys)
	require.NoError(t, err)
	require.Equal(t, 24*time.Hour, stream.CachedInfo().Config.MaxAge)
	require.Equal(t, jetstream.DiscardNew, stream.CachedInfo().Config.Discard)
}

// What the table says of subjects must hold for every subject there is.
func TestPlaceReadsEverySubject(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]struct {
		run   string
		chunk uint32
	}{
		SubjectRunRequested:            {"", 0},
		eventSubject(EventFailed, "r"): {"r", 0},
		chunkSubject("r", 4294967295):  {"r", 4294967295},
		resultSubject("r", 3):          {"r", 3},
		deadSubject(StageWriter, "r"):  {"r", 0},
		"garbage":                      {"", 0},
		chunkSubject("r", 1) + "9x":    {"r", 0},
	} {
		run, chunk := place(subject)
		require.Equal(t, want.run, run, subject)
		require.Equal(t, want.chunk, chunk, subject)
	}
}

// FuzzJourneyChunk holds that a chunk that can be decoded can be put back, and
// says then what it said, but for its revision.
func FuzzJourneyChunk(f *testing.F) {
	data, err := proto.Marshal(chunk("run", 1))
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte("garbage"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		was, err := decodeChunk(Delivery{}, data)
		m, again := nextRevision(data)
		require.Equal(t, err == nil, again == nil)
		if err != nil {
			return
		}
		is, err := decodeChunk(Delivery{}, m.Data)
		require.NoError(t, err)
		require.Equal(t, was.GetRevision()+1, is.GetRevision())
		is.Revision = was.GetRevision()
		require.True(t, proto.Equal(was, is))
	})
}
