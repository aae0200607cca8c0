package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func accepted(run string) *ihcv1.RunEvent {
	return &ihcv1.RunEvent{RunId: run, Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: run}}}}
}

func failed(run string) *ihcv1.RunEvent {
	return &ihcv1.RunEvent{RunId: run, Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{}}}
}

func extracted(run string) *ihcv1.RunEvent {
	return &ihcv1.RunEvent{RunId: run, Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: 3}}}
}

func TestFollowTellsThePastAndGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client("test")
	require.NoError(t, c.PublishEvent(r.ctx, accepted("run")))
	require.NoError(t, c.PublishEvent(r.ctx, accepted("other")))
	got := make(chan *ihcv1.RunEvent)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(r.ctx, "run", func(e StoredEvent) bool {
			got <- e.Event
			return e.Event.GetFailed() == nil
		})
	}()
	require.NotNil(t, receive(r, got).GetAccepted())
	r.stop()
	r.start()
	require.NoError(t, c.PublishEvent(r.ctx, extracted("run")))
	require.NotNil(t, receive(r, got).GetExtracted())
	require.NoError(t, c.PublishEvent(r.ctx, failed("run")))
	require.NotNil(t, receive(r, got).GetFailed())
	require.NoError(t, receive(r, ended), "does not end when it is told to")

	ctx, cancel := context.WithCancel(r.ctx)
	go func() { ended <- c.Follow(ctx, "nothing", func(StoredEvent) bool { return true }) }()
	cancel()
	require.ErrorIs(t, receive(r, ended), context.Canceled)
}

func TestHistoryIsWhatWasPublished(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client("test")
	require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: "a"}))
	_, err := r.js.Publish(r.ctx, SubjectRunRequested, []byte(`{}`))
	require.NoError(t, err)
	requests, err := c.Requests(r.ctx)
	require.NoError(t, err)
	require.Len(t, requests, 2)
	require.EqualValues(t, 2, requests[1].Sequence)
	require.Equal(t, "{}", string(requests[1].Data))

	_, err = c.Accepted(r.ctx, "a")
	require.ErrorIs(t, err, ErrNotFound)
	for _, e := range []*ihcv1.RunEvent{accepted("a"), accepted("b"), extracted("a")} {
		require.NoError(t, c.PublishEvent(r.ctx, e))
	}
	a, err := c.Accepted(r.ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "a", a.GetRequest().GetRunId())
	x, err := c.Extracted(r.ctx, "a")
	require.NoError(t, err)
	require.EqualValues(t, 3, x.GetChunks())
	_, err = c.Extracted(r.ctx, "b")
	require.ErrorIs(t, err, ErrNotFound)
	for run, want := range map[string][]uint64{"a": {3, 5}, "*": {3, 4, 5}, "none": nil} {
		events, err := c.Events(r.ctx, run)
		require.NoError(t, err)
		var places []uint64
		for _, e := range events {
			places = append(places, e.Sequence)
		}
		require.Equal(t, want, places, run)
	}
}

// Whoever starts must not work on a run that ended while he was away.
// The server keeps a thousand consumers of a stream at the most.
func TestReadingLeavesNoConsumerBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client("test")
	require.NoError(t, c.PublishEvent(r.ctx, accepted("run")))
	for range 3 {
		_, err := c.Events(r.ctx, "*")
		require.NoError(t, err)
		_, err = c.Events(r.ctx, "none")
		require.NoError(t, err)
		require.NoError(t, c.Follow(r.ctx, "run", func(StoredEvent) bool { return false }))
	}
	s, err := r.js.Stream(r.ctx, Runs)
	require.NoError(t, err)
	require.Equal(t, 4, s.CachedInfo().State.Consumers, "the extractor's two, the writer's and the reporter's")
}

func TestEndedKnowsThePastFromTheStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client("test")
	for i := range 300 {
		id := fmt.Sprintf("run-%d", i)
		require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: id}))
		require.NoError(t, c.PublishEvent(r.ctx, failed(id)))
	}
	require.NoError(t, c.PublishEvent(r.ctx, failed("early")))
	require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: "early"}))
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	e := c.WatchEnded(ctx)
	for i := range 300 {
		require.True(t, e.Has(fmt.Sprintf("run-%d", i)))
	}
	require.False(t, e.Has("run"))
	require.False(t, e.Has("early"), "it was asked for after that")
	require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: "run"}))
	require.NoError(t, c.PublishEvent(r.ctx, &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Cancelled{}}))
	require.Eventually(t, func() bool { return e.Has("run") }, deadline, tick)

	stopped, cancel := context.WithCancel(r.ctx)
	cancel()
	c.WatchEnded(stopped) // returns
}

func TestDeadLettersAreListedPutBackAndRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "a", 2)
	r.publish(c, "b", 1)
	broken := make(chan bool, 1)
	broken <- true
	tried := make(chan message, 10)
	r.consume(c, 1, func(_ context.Context, m message) error {
		select {
		case b := <-broken:
			broken <- b
			if b {
				return Poison(errors.New("broken"))
			}
		default:
		}
		tried <- m
		return nil
	})
	letters := r.letters(c, 3)
	r.settled(Chunks, 3)
	var ofB []DeadLetter
	require.NoError(t, c.DeadLetters(r.ctx, "b", func(d DeadLetter) error { ofB = append(ofB, d); return nil }))
	require.Equal(t, letters[2:], ofB)
	one, err := c.DeadLetter(r.ctx, letters[1].Sequence)
	require.NoError(t, err)
	require.Equal(t, letters[1], one)
	require.Equal(t, []any{"a", uint32(2), StageAttributor}, []any{one.Run, one.Chunk, one.Stage})

	// Put back, it comes as a new message with the next revision.
	<-broken
	require.NoError(t, c.Requeue(r.ctx, one))
	m := receive(r, tried)
	require.EqualValues(t, 1, m.Tries)
	require.EqualValues(t, 1, m.Body.GetRevision())
	require.Equal(t, "a", m.Body.GetRunId())
	_, err = c.DeadLetter(r.ctx, one.Sequence)
	require.ErrorIs(t, err, ErrNotFound)
	// Once more, as when the removal failed: it is not published twice.
	require.NoError(t, c.Requeue(r.ctx, one))
	require.Equal(t, map[uint32]int{1: 1, 2: 2}, r.chunks(c, "a"))

	require.NoError(t, c.Purge(r.ctx, letters[0]))
	require.NoError(t, c.Purge(r.ctx, letters[0]), "again")
	require.Equal(t, letters[2:], r.deadLetters(c))

	err = c.Requeue(r.ctx, DeadLetter{Sequence: 9, Subject: "somewhere.else"})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}

// What cannot be decoded goes back byte by byte.
func TestGarbageIsPutBackAsItWas(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	_, err := r.js.Publish(r.ctx, chunkSubject("run", 1), []byte("garbage"))
	require.NoError(t, err)
	r.consume(c, 1, func(context.Context, message) error { return nil })
	first := r.letters(c, 1)[0]
	require.NoError(t, c.Requeue(r.ctx, first))
	r.settled(Chunks, 2)
	again := r.letters(c, 1)[0]
	require.Equal(t, "garbage", string(again.Data))
	require.Greater(t, again.Sequence, first.Sequence)
}

// The dead letter of a request is filed under the run it asks for, if that can
// be a subject.
func TestDeadRequestKnowsItsRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	for _, run := range []string{"good", "b.a.d", ""} {
		require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: run}))
	}
	r.background(func(ctx context.Context) error {
		return Consume(ctx, c, Requests, 1, nil, Proto(func() *ihcv1.RunRequest { return &ihcv1.RunRequest{} }),
			func(context.Context, Message[*ihcv1.RunRequest]) error { return Poison(errors.New("no")) })
	})
	var runs []string
	for _, d := range r.letters(c, 3) {
		runs = append(runs, d.Run)
	}
	require.Equal(t, []string{"good", "unknown", "unknown"}, runs)
}

// All replicas together send as many requests as the budget has, and not one
// more.
func TestBudgetIsSharedExactly(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	const limit = 100
	var sent atomic.Int64
	var group errgroup.Group
	for range 3 {
		c := r.client(StageAttributor)
		for range 4 {
			group.Go(func() error {
				for {
					switch b, err := c.Spend(r.ctx, Delivery{Run: "run", Sequence: 1}, limit); {
					case errors.Is(err, ErrSpent):
						if b.GetSpent() != limit || b.GetResumed() != 0 {
							return fmt.Errorf("spent: %v", b)
						}
						return nil
					case err != nil:
						return err
					}
					sent.Add(1)
				}
			})
		}
	}
	require.NoError(t, group.Wait())
	require.EqualValues(t, limit, sent.Load())
}

func TestLiftedBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 4)
	spend := func(sequence uint64) error {
		_, err := c.Spend(r.ctx, Delivery{Run: "run", Sequence: sequence}, 1)
		return err
	}
	require.NoError(t, spend(1))
	require.ErrorIs(t, spend(2), ErrSpent)

	b, err := c.Lift(r.ctx, "run", 2, 10)
	require.NoError(t, err)
	require.EqualValues(t, 4, b.GetBarrier())
	require.ErrorIs(t, spend(2), ErrVoid, "an old message of the chunk")
	require.NoError(t, spend(5))
	again, err := c.Lift(r.ctx, "run", 2, 10) // the event, delivered again
	require.NoError(t, err)
	require.EqualValues(t, 3, again.GetLimit())
	require.NoError(t, spend(5))
	require.ErrorIs(t, spend(5), ErrSpent)

	_, err = c.Lift(r.ctx, "run", 0, 11)
	require.NoError(t, err)
	for range 5 {
		require.NoError(t, spend(5), "no limit any more")
	}
	_, err = c.Lift(r.ctx, "never-asked", 2, 12)
	require.NoError(t, err)
}

func TestPutBackLeavesOutWhatIsDone(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 5)
	require.NoError(t, c.PublishResult(r.ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 2}))
	for run, want := range map[string]uint64{"run": 1, "other": 0} {
		n, err := c.ScoredChunks(r.ctx, run)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	r.consume(c, 1, func(_ context.Context, m message) error {
		if m.Chunk == 3 {
			return Poison(errors.New("dead"))
		}
		return nil
	})
	r.settled(Chunks, 5)
	r.letters(c, 1)
	b, err := c.Lift(r.ctx, "run", 0, 1)
	require.NoError(t, err)
	n, err := c.PutBack(r.ctx, "run", b.GetBarrier())
	require.NoError(t, err)
	require.Equal(t, 3, n)
	want := map[uint32]int{1: 2, 2: 1, 3: 1, 4: 2, 5: 2}
	require.Equal(t, want, r.chunks(c, "run"))
	n, err = c.PutBack(r.ctx, "run", b.GetBarrier()) // the event, delivered again
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, want, r.chunks(c, "run"))
}

// Watchers see the last state of every replica, also of one that has nothing
// more to tell.
func TestProgressIsToldToTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	for i := range 2 {
		c := r.client(StageAttributor)
		c.instance = fmt.Sprint(i)
		m := c.Meter("run")
		for range 100 {
			m.Add(r.ctx, func(p *ihcv1.Progress) { p.Conversions++ })
		}
	}
	c := r.client("test")
	require.Eventually(t, func() bool {
		p, err := c.Progress(r.ctx, "run")
		return err == nil && p[StageAttributor].GetConversions() == 200
	}, deadline, tick)
	none, err := c.Progress(r.ctx, "other")
	require.NoError(t, err)
	require.Empty(t, none)
}

// What could not be told is told a moment later, though nothing is added to it.
func TestProgressThatCouldNotBeToldIsToldLater(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	over, cancel := context.WithCancel(r.ctx)
	cancel()
	c.MeterOf("run").Add(over, func(p *ihcv1.Progress) { p.Waiting = "the disk" })
	require.Eventually(t, func() bool {
		p, err := c.Progress(r.ctx, "run")
		return err == nil && p[StageAttributor].GetWaiting() == "the disk"
	}, deadline, tick)
}

// Also by one that ends before it was to tell.
func TestProgressIsToldBeforeAClientIsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	for range 100 {
		c.MeterOf("run").Add(r.ctx, func(p *ihcv1.Progress) { p.Requests++ })
	}
	require.NoError(t, c.Close(r.ctx))
	p, err := r.client("test").Progress(r.ctx, "run")
	require.NoError(t, err)
	require.EqualValues(t, 100, p[StageAttributor].GetRequests())
}

// A process goes on counting where the one before it ended, and one that hears of
// results after the run's end where it was itself; who begins anew counts anew.
func TestProgressGoesOnFromWhatWasTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	add := func(m *Meter, conversions uint64) {
		m.Add(r.ctx, func(p *ihcv1.Progress) { p.Conversions += conversions })
	}
	first := r.client(StageWriter)
	add(first.MeterOf("run"), 5)
	first.MeterOf("run").Add(r.ctx, func(p *ihcv1.Progress) { p.Requests, p.Waiting = 3, "the disk" })
	require.NoError(t, first.Close(r.ctx))
	second := r.client(StageWriter)
	add(second.MeterOf("run"), 1)
	add(second.MeterOf("run"), 1)
	second.forget(r.ctx, "run")
	add(second.MeterOf("run"), 1)
	add(second.MeterOf("other"), 4)
	told := func() *ihcv1.Progress {
		p, err := second.Progress(r.ctx, "run")
		require.NoError(t, err)
		return p[StageWriter]
	}
	require.Equal(t, []any{uint64(8), uint64(3), ""}, []any{told().GetConversions(), told().GetRequests(), told().GetWaiting()})
	add(second.Meter("run"), 1)
	require.EqualValues(t, 1, told().GetConversions())
}

// People can end or resume a run with no more than a publish.
func TestEventsInBothEncodings(t *testing.T) {
	t.Parallel()
	binary := encoded(t, extracted("run"))
	for _, c := range []struct {
		subject, data string
		want          *ihcv1.RunEvent
	}{
		{"ihc.v1.run.extracted.run", string(binary), extracted("run")},
		{"ihc.v1.run.cancelled.run", "", &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}}},
		{"ihc.v1.run.cancelled.run", `{"cancelled":{"reason":"no"}}`, &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{Reason: "no"}}}},
		{"ihc.v1.run.resumed.run", "{}", &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{}}}},
		{"ihc.v1.run.resumed.run", `{"resumed":{"max_requests":"5"}}`, &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: 5}}}},
		{"ihc.v1.run.written.run", "", &ihcv1.RunEvent{RunId: "run"}},
	} {
		got, err := DecodeEvent(Delivery{Subject: c.subject}, []byte(c.data))
		require.NoError(t, err, c.data)
		require.True(t, proto.Equal(c.want, got), "%s %s: %v", c.subject, c.data, got)
	}
	for _, data := range []string{"{", `{"what":1}`, "garbage"} {
		_, err := DecodeEvent(Delivery{Subject: "ihc.v1.run.cancelled.run"}, []byte(data))
		require.ErrorContains(t, err, "run event on ihc.v1.run.cancelled.run")
	}
}

func TestAnEventOfAnotherRunThanItsSubjectsIsRefused(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"run_id":"other"}`, `{"runId":"\u001b[31m"}`, string(encoded(t, extracted("other")))} {
		_, err := DecodeEvent(Delivery{Subject: "ihc.v1.run.cancelled.run"}, []byte(data))
		require.ErrorContains(t, err, "it says it is of run")
		require.NotContains(t, err.Error(), "\x1b")
	}
	e, err := DecodeEvent(Delivery{Subject: "ihc.v1.run.cancelled.run"}, []byte(`{"run_id":"run"}`))
	require.NoError(t, err)
	require.Equal(t, "run", e.GetRunId())
}

// One event that nobody can read does not hide the others.
func TestUnreadableEventIsSkipped(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client("test")
	_, err := r.js.Publish(r.ctx, "ihc.v1.run.cancelled.a", []byte("garbage"))
	require.NoError(t, err)
	require.NoError(t, c.PublishEvent(r.ctx, accepted("b")))
	events, err := c.Events(r.ctx, "*")
	require.NoError(t, err)
	require.Len(t, events, 1)
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add("ihc.v1.run.cancelled.run", []byte(`{"cancelled":{}}`))
	f.Add("ihc.v1.run.resumed.run", []byte{})
	f.Add("x", []byte("garbage"))
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		e, err := DecodeEvent(Delivery{Subject: subject}, data)
		if err != nil {
			return
		}
		again, err := proto.Marshal(e)
		require.NoError(t, err)
		same, err := DecodeEvent(Delivery{Subject: subject}, again)
		require.NoError(t, err)
		require.True(t, proto.Equal(e, same))
	})
}
