package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

type message = Message[*ihcv1.JourneyChunk]

func TestAcknowledgedOnlyAfterItsEffect(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 1)
	begun, finish := make(chan message), make(chan struct{})
	r.consume(c, 1, func(_ context.Context, m message) error {
		begun <- m
		<-finish
		return nil
	})
	m := receive(r, begun)
	require.Equal(t, "run", m.Run)
	require.EqualValues(t, 1, m.Chunk)
	require.EqualValues(t, 1, m.Tries)
	require.False(t, m.Redelivered())
	info, err := r.js.Consumer(r.ctx, Chunks.Stream, Chunks.Durable)
	require.NoError(t, err)
	require.Equal(t, 1, info.CachedInfo().NumAckPending)
	require.Zero(t, info.CachedInfo().AckFloor.Stream)
	close(finish)
	r.settled(Chunks, 1)
}

func TestRetryComesBackHoweverOften(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 1)
	tries := make(chan uint64, 100)
	r.consume(c, 1, func(_ context.Context, m message) error {
		tries <- m.Tries
		if m.Tries <= 2*maxTries {
			return Retry(errors.New("busy"), time.Millisecond)
		}
		return nil
	})
	r.settled(Chunks, 1)
	require.Len(t, tries, 2*maxTries+1)
	require.Empty(t, r.deadLetters(c))
}

// A message that waits out its delay keeps no worker from the others.
func TestRetryParksNoWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 3)
	handled := make(chan uint32, 10)
	r.consume(c, 1, func(_ context.Context, m message) error {
		handled <- m.Chunk
		if m.Chunk == 1 {
			return Retry(errors.New("busy"), never)
		}
		return nil
	})
	for want := range uint32(3) {
		require.Equal(t, want+1, receive(r, handled))
	}
}

func TestTriesUsedUpEndInTheDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 2)
	var tries atomic.Uint64
	r.consume(c, 2, func(_ context.Context, m message) error {
		if m.Chunk == 2 {
			return nil
		}
		tries.Add(1)
		return errors.New("no luck\nat all")
	})
	d := r.letters(c, 1)[0]
	require.EqualValues(t, maxTries, tries.Load())
	require.Equal(t, "no luck at all", d.Reason)
	require.Equal(t, []string{"run", StageAttributor, "10", "ihc.v1.journeys.extracted.run.1", Journeys, "1"},
		[]string{d.Run, d.Stage, d.Tries, d.Subject, d.Stream, d.OriginSequence})
	require.EqualValues(t, 1, d.Chunk)
	require.Equal(t, encoded(t, chunk("run", 1)), d.Data, "the bytes are not those that were published")
	r.settled(Chunks, 2)
}

// That NATS is away is no reason to give a message up.
func TestTransientTroubleIsNotCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 1)
	r.consume(c, 1, func(_ context.Context, m message) error {
		if m.Tries <= 2*maxTries {
			return fmt.Errorf("look it up: %w", nats.ErrTimeout)
		}
		return nil
	})
	r.settled(Chunks, 1)
	require.Empty(t, r.deadLetters(c))
}

func TestPoisonAndGarbageAreBuriedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 1)
	_, err := r.js.Publish(r.ctx, "ihc.v1.journeys.extracted.run.2", []byte("garbage"))
	require.NoError(t, err)
	r.consume(c, 1, func(context.Context, message) error { return Poison(errors.New("it says too much")) })
	letters := r.letters(c, 2)
	require.Equal(t, "it says too much", letters[0].Reason)
	require.True(t, strings.HasPrefix(letters[1].Reason, "cannot decode: "), letters[1].Reason)
	require.Equal(t, "garbage", string(letters[1].Data))
	r.settled(Chunks, 2)
}

// A message is terminated only once it is among the dead letters (invariant 5).
func TestPoisonIsStoredBeforeItIsTerminated(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	s, err := r.js.Stream(r.ctx, Dead)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	small := cfg
	small.MaxMsgSize = 1
	_, err = r.js.UpdateStream(r.ctx, small)
	require.NoError(t, err)
	r.publish(c, "run", 1)
	tries := make(chan uint64)
	r.consume(c, 1, func(ctx context.Context, m message) error {
		select {
		case tries <- m.Tries:
		case <-ctx.Done():
		}
		return Poison(errors.New("bad"))
	})
	for want := range uint64(3) { // there is no room for it, so it comes again
		require.Equal(t, want+1, receive(r, tries))
	}
	_, err = r.js.UpdateStream(r.ctx, cfg)
	require.NoError(t, err)
	go func() {
		for {
			select {
			case <-tries:
			case <-r.ctx.Done():
				return
			}
		}
	}()
	r.letters(c, 1)
	r.settled(Chunks, 1)
}

// crash is a process that dies on a message: it takes the message, tells so
// and vanishes without a word.
func (r *rig) crash(consume func(ctx context.Context, c *Client, died func()) error) {
	r.t.Helper()
	c := r.client(StageAttributor)
	gone := make(chan struct{})
	var once sync.Once
	r.background(func(ctx context.Context) error {
		return consume(ctx, c, func() {
			once.Do(func() { c.nc.Close(); close(gone) })
		})
	})
	receive(r, gone)
}

func TestCrashLoopEndsInTheDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t, 200*time.Millisecond)
	r.publish(r.client(StageExtractor), "run", 1)
	crashes := suspectAfter - 1 + maxCrashes
	for range crashes {
		r.crash(func(ctx context.Context, c *Client, died func()) error {
			return Consume(ctx, c, Chunks, 1, nil, decodeChunk, func(context.Context, message) error { died(); return nil })
		})
	}
	c := r.client(StageAttributor)
	r.consume(c, 1, func(context.Context, message) error { return errors.New("must not be tried any more") })
	d := r.letters(c, 1)[0]
	require.Equal(t, "5 processes died while working on this message", d.Reason)
	r.settled(Chunks, 1)
}

// Whoever kills every process at once, whatever it has in hand, makes no message
// guilty, however often: none passes meanwhile.
func TestKillsFromOutsideBuryNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 100*time.Millisecond)
	r.publish(r.client(StageExtractor), "run", 5)
	for range 2 * (suspectAfter + maxCrashes) {
		r.crash(func(ctx context.Context, c *Client, died func()) error {
			return Consume(ctx, c, Chunks, 2, nil, decodeChunk, func(context.Context, message) error { died(); return nil })
		})
	}
	c := r.client(StageAttributor)
	r.consume(c, 2, func(context.Context, message) error { return nil })
	r.settled(Chunks, 5)
	require.Empty(t, r.deadLetters(c))
}

// What passes while a message waits says nothing of one that was not tried since.
func TestMessageIsTriedAfterItsPause(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		paused int
		dead   int
	}{"has waited": {maxCrashes, 0}, "has killed once more": {maxCrashes - 1, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, never)
			a := r.client(StageAttributor)
			r.publish(a, "run", 1)
			p := &puller{Client: a, from: Chunks}
			p.keep(r.ctx, Delivery{Sequence: 1}, suspicion{Crashes: maxCrashes, Paused: c.paused, OthersPassed: true})
			r.consume(a, 1, func(_ context.Context, m message) error {
				if m.Tries < suspectAfter {
					return Retry(errors.New("busy"), time.Millisecond)
				}
				return nil
			})
			r.settled(Chunks, 1)
			require.Len(t, r.deadLetters(a), c.dead)
		})
	}
}

// One that kills while others pass is guilty, though there are always others.
func TestMessageThatKillsWhileOthersPassIsBuried(t *testing.T) {
	t.Parallel()
	r := newRig(t, 100*time.Millisecond)
	publisher := r.client(StageExtractor)
	r.publish(publisher, "bad", 1)
	var passed atomic.Uint64
	n := uint64(1)
	for range suspectAfter - 1 + maxCrashes {
		r.publish(publisher, fmt.Sprintf("good-%d", n), 2)
		n += 2
		r.crash(func(ctx context.Context, c *Client, died func()) error {
			return Consume(ctx, c, Chunks, 2, nil, decodeChunk, func(_ context.Context, m message) error {
				if m.Run == "bad" {
					died()
					return nil
				}
				passed.Add(1)
				return nil
			})
		})
	}
	r.publish(publisher, "good", 50)
	c := r.client(StageAttributor)
	r.consume(c, 2, func(_ context.Context, m message) error {
		if m.Run == "bad" {
			return errors.New("must not be tried any more")
		}
		return nil
	})
	require.Equal(t, "bad", r.letters(c, 1)[0].Run)
	r.settled(Chunks, n+50)
}

// In a batch, the one on which the process dies must not take the others along.
func TestCrashLoopInABatchHarmsOnlyTheCulprit(t *testing.T) {
	t.Parallel()
	r := newRig(t, 200*time.Millisecond)
	r.publish(r.client(StageExtractor), "run", 3)
	var mu sync.Mutex
	done := map[uint32]int{}
	handle := func(died func()) func(context.Context, []message) error {
		return func(_ context.Context, batch []message) error {
			if slices.ContainsFunc(batch, func(m message) bool { return m.Chunk == 2 }) {
				died()
				return nil // to nobody
			}
			mu.Lock()
			defer mu.Unlock()
			for _, m := range batch {
				done[m.Chunk]++
			}
			return nil
		}
	}
	for range suspectAfter - 1 + maxCrashes {
		r.crash(func(ctx context.Context, c *Client, died func()) error {
			return ConsumeBatches(ctx, c, Chunks, 10, decodeChunk, handle(died))
		})
	}
	c := r.client(StageAttributor)
	r.background(func(ctx context.Context) error {
		return ConsumeBatches(ctx, c, Chunks, 10, decodeChunk, handle(func() { t.Error("tried again") }))
	})
	d := r.letters(c, 1)[0]
	require.EqualValues(t, 2, d.Chunk)
	r.settled(Chunks, 3)
	require.Len(t, done, 2)
}

// Being told to stop is no crash, however often it happens.
func TestStoppingIsNoCrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: "run"}))
	decode := Proto(func() *ihcv1.RunRequest { return &ihcv1.RunRequest{} })
	for want := range uint64(2 * (maxCrashes + suspectAfter)) {
		tries := make(chan uint64, 1)
		c := r.client(StageExtractor)
		stop := r.background(func(ctx context.Context) error {
			return Consume(ctx, c, Requests, 1, nil, decode, func(ctx context.Context, m Message[*ihcv1.RunRequest]) error {
				tries <- m.Tries
				<-ctx.Done()
				return ctx.Err()
			})
		})
		require.Equal(t, want+1, receive(r, tries))
		stop()
		require.NoError(t, c.Close(r.ctx))
	}
	require.Empty(t, r.deadLetters(c))
}

func TestWhatAVanishedProcessHadComesAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 200*time.Millisecond)
	r.publish(r.client(StageExtractor), "run", 1)
	r.crash(func(ctx context.Context, c *Client, died func()) error {
		return Consume(ctx, c, Chunks, 1, nil, decodeChunk, func(context.Context, message) error { died(); return nil })
	})
	got := make(chan message, 1)
	r.consume(r.client(StageAttributor), 1, func(_ context.Context, m message) error { got <- m; return nil })
	m := receive(r, got)
	require.True(t, m.Redelivered())
	r.settled(Chunks, 1)
}

// Work may take many times AckWait without the message coming again: the server
// hears of it every third of that.
func TestLongWorkKeepsItsMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1500*time.Millisecond)
	c := r.client(StageAttributor)
	signs := make(chan string, 100)
	_, err := r.dial().Subscribe("$JS.ACK."+Chunks.Stream+"."+Chunks.Durable+".>", func(m *nats.Msg) { signs <- string(m.Data) })
	require.NoError(t, err)
	r.publish(c, "run", 1)
	var begun atomic.Int32
	long := make(chan struct{})
	r.consume(c, 3, func(context.Context, message) error {
		begun.Add(1)
		<-long
		return nil
	})
	for range 5 {
		require.Equal(t, "+WPI", receive(r, signs))
	}
	close(long)
	r.settled(Chunks, 1)
	require.EqualValues(t, 1, begun.Load())
}

// What a stopping process has and has not begun is another's at once: with an
// AckWait of an hour, nothing may be left to time out.
func TestStoppingGivesMessagesBackAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	publisher := r.client(StageExtractor)
	const rounds, each = 40, 25
	var handled atomic.Int64
	count := func(context.Context, message) error { handled.Add(1); return nil }
	for round := range rounds {
		c := r.client(StageAttributor)
		stop := r.consume(c, 4, count)
		published := make(chan struct{})
		go func() {
			defer close(published)
			r.publish(publisher, fmt.Sprintf("run-%d", round), each)
		}()
		if round%2 == 0 {
			<-published
		}
		stop() // somewhere in the middle
		<-published
		require.NoError(t, c.Close(r.ctx))
	}
	r.consume(r.client(StageAttributor), 4, count)
	r.settled(Chunks, rounds*each)
	require.EqualValues(t, rounds*each, handled.Load(), "handled twice")
}

func TestWorkUnderWayMayFinish(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 1)
	begun := make(chan struct{})
	stopping := make(chan struct{})
	stop := r.consume(c, 1, func(ctx context.Context, _ message) error {
		close(begun)
		<-stopping
		return ctx.Err()
	})
	receive(r, begun)
	go func() { close(stopping) }()
	stop()
	require.NoError(t, c.Close(r.ctx))
	r.settled(Chunks, 1)
}

func TestWorkThatOutlivesTheGraceIsGivenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	c.grace = time.Millisecond
	r.publish(c, "run", 1)
	begun := make(chan struct{})
	stop := r.consume(c, 1, func(ctx context.Context, _ message) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	receive(r, begun)
	stop()
	require.NoError(t, c.Close(r.ctx))
	again := make(chan message, 1)
	r.consume(r.client(StageAttributor), 1, func(_ context.Context, m message) error { again <- m; return nil })
	require.EqualValues(t, 2, receive(r, again).Tries)
	r.settled(Chunks, 1)
}

func TestWorkersWaitAtTheGate(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 3)
	gate := make(chan struct{})
	handled := make(chan uint32, 10)
	r.background(func(ctx context.Context) error {
		return Consume(ctx, c, Chunks, 1, func(ctx context.Context) {
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}, decodeChunk, func(_ context.Context, m message) error { handled <- m.Chunk; return nil })
	})
	for want := range uint32(3) {
		require.Empty(t, handled)
		gate <- struct{}{}
		require.Equal(t, want+1, receive(r, handled))
	}
}

// A worker that is done at once asks for the next message each time.
func TestWorkerAsksEachTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageAttributor)
	r.publish(c, "run", 3000)
	r.consume(c, 1, func(context.Context, message) error { return nil })
	r.settled(Chunks, 3000)
}

func TestBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageWriter)
	r.publish(c, "run", 10)
	_, err := r.js.Publish(r.ctx, "ihc.v1.journeys.extracted.run.11", []byte("garbage"))
	require.NoError(t, err)
	sizes := make(chan int, 100)
	var failed atomic.Bool
	r.background(func(ctx context.Context) error {
		return ConsumeBatches(ctx, c, Chunks, 4, decodeChunk, func(_ context.Context, batch []message) error {
			if failed.CompareAndSwap(false, true) {
				return Retry(errors.New("locked"), time.Millisecond) // holds for all of it
			}
			sizes <- len(batch)
			return nil
		})
	})
	r.settled(Chunks, 11)
	require.Equal(t, "garbage", string(r.letters(c, 1)[0].Data))
	total := 0
	for len(sizes) > 0 {
		n := <-sizes
		require.LessOrEqual(t, n, 4)
		total += n
	}
	require.Equal(t, 10, total)
}

func TestOneBadMessageInABatchHarmsNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageWriter)
	r.publish(c, "run", 6)
	var mu sync.Mutex
	stored := map[uint32]int{}
	r.background(func(ctx context.Context) error {
		return ConsumeBatches(ctx, c, Chunks, 10, decodeChunk, func(_ context.Context, batch []message) error {
			if slices.ContainsFunc(batch, func(m message) bool { return m.Chunk == 4 }) {
				return errors.New("constraint failed")
			}
			mu.Lock()
			defer mu.Unlock()
			for _, m := range batch {
				stored[m.Chunk]++
			}
			return nil
		})
	})
	require.EqualValues(t, 4, r.letters(c, 1)[0].Chunk)
	r.settled(Chunks, 6)
	require.Equal(t, map[uint32]int{1: 1, 2: 1, 3: 1, 5: 1, 6: 1}, stored)
}

func TestConsumingGoesOnAfterARestartOfNATS(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Second)
	c := r.client(StageAttributor)
	handled := make(chan uint32, 10)
	r.consume(c, 2, func(_ context.Context, m message) error { handled <- m.Chunk; return nil })
	r.publish(c, "run", 1)
	require.EqualValues(t, 1, receive(r, handled))
	r.stop()
	r.start()
	// By a client, which repeats what a breaking connection took down with it.
	r.publish(c, "run", 2)
	for receive(r, handled) != 2 { //nolint:revive // chunk 1 may come again: its acknowledgement may have been lost
	}
}
