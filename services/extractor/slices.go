package extractor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nuid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/memory"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// A large run is read in slices, which follow from its data alone, and extractors
// share them. The one that has the request leads: it holds the snapshot that all
// read, hands the slices out by messages, waits for them, and ends the extraction.
// A slice's chunks have the numbers after those of the slice before, so that the
// run's chunks are the same however many extractors there are. One whose numbers
// are not known yet holds its chunks in memory, up to a bound.
//
// If the one that leads is gone, so is the snapshot. Its request is delivered to
// another, which begins anew with the same slices where the source is as it was,
// and ends the run as superseded where it is not. What is published already is
// found to be the same, chunk by chunk.

const (
	// lookAgain is how often it is looked whether a slice is where it is waited for.
	lookAgain = 50 * time.Millisecond
	// mostHeld is how many bytes of chunks are held, and heldMemory what these take
	// with all that is read beside them.
	mostHeld   = 64 << 20
	heldMemory = 2 * mostHeld
	// patience is how long, beyond the time it has taken to read, a slice waits for
	// the one before: if nobody works on that, whoever waits is to.
	patience = 15 * time.Second
	// handOutAgain is how often it is looked whether a slice that is not read has a
	// message.
	handOutAgain = 2 * time.Second
)

// share has a run's slices read: by this extractor alone where there is one, and
// otherwise by all there are.
func (e *extractor) share(ctx context.Context, b *builder) error {
	shared := false
	err := e.db.Slices(ctx, run.Journeys(b.req), e.sliceSize, func(ctx context.Context, slices []journey.Options) error {
		if shared = len(slices) > 1; !shared {
			return e.readSlices(ctx, b, slices...)
		}
		return e.lead(ctx, b, slices)
	})
	if shared {
		err = comeAgain(err)
	}
	if err != nil {
		return err
	}
	return b.flush()
}

// comeAgain returns an error of a run that is shared so that its message comes again
// where it lies in the environment: others have published chunks of the run
// already, and it goes on where they stood.
func comeAgain(err error) error {
	if errkind.KindOf(err) == errkind.Environment {
		return stream.Retry(err, 2*time.Second)
	}
	return err
}

// lead hands out slices and waits until all of them are read and their chunks
// published.
func (e *extractor) lead(ctx context.Context, b *builder, slices []journey.Options) error {
	reading := nuid.Next()
	work := make([]*ihcv1.Slice, len(slices))
	for i, o := range slices {
		work[i] = &ihcv1.Slice{RunId: b.req.GetRunId(), Slice: uint32(i + 1), Reading: reading, Snapshot: o.Slice.Snapshot, From: o.Slice.From, Before: o.Slice.Before}
		if err := e.Bus.PublishSlice(ctx, work[i]); err != nil {
			return err
		}
	}
	e.Log.Info("the run is read in slices", "run", b.req.GetRunId(), "slices", len(slices))
	for _, s := range work {
		read, err := e.awaitSlice(ctx, s)
		if err != nil {
			return err
		}
		b.chunk = read.GetLast()
		counts := read.GetCounts()
		run.AddAll(b.chunks.Counts, counts)
		b.chunks.Reused += counts.GetReused()
	}
	b.publisher.Shared(b.chunk)
	return nil
}

// awaitSlice waits until a slice is read. One that nobody has a message of any more is
// handed out again: it was let go, or lost.
func (e *extractor) awaitSlice(ctx context.Context, s *ihcv1.Slice) (*ihcv1.SliceRead, error) {
	for looked := time.Now(); ; {
		if e.ended.Over(s.GetRunId()) {
			return nil, errEnded
		}
		idle := false
		if time.Since(looked) > handOutAgain {
			_, at, err := e.Bus.LastSlice(ctx, s.GetRunId(), s.GetSlice())
			if err != nil {
				return nil, err
			}
			done, err := e.Bus.Done(ctx, stream.Slices)
			if err != nil {
				return nil, err
			}
			looked, idle = time.Now(), at <= done
		}
		read, err := e.Bus.SliceRead(ctx, s.GetRunId(), s.GetReading(), s.GetSlice())
		if err != nil || read.GetCounts() != nil {
			return read, err
		}
		if idle {
			if err := e.Bus.PublishSlice(ctx, s); err != nil {
				return nil, err
			}
		}
		if err := retry.Sleep(ctx, retry.Real, lookAgain); err != nil {
			return nil, err
		}
	}
}

// slice reads a slice of a run, whoever leads it.
func (e *extractor) slice(ctx context.Context, m stream.Message[*ihcv1.Slice]) error {
	id := m.Body.GetRunId()
	if e.ended.Over(id) || e.takenOver(ctx, id) {
		return nil
	}
	err := e.readSlice(ctx, m.Body)
	switch {
	case errors.Is(err, store.ErrGone):
		e.Log.Info("the snapshot of a slice is gone; who takes the run up hands its slices out anew", "run", id, "slice", m.Body.GetSlice())
		return nil
	case errors.Is(err, errEnded), errors.Is(err, stream.ErrOver), errors.Is(err, stream.ErrNotFound):
		return nil
	case err != nil && (m.Lost() || e.takenOver(ctx, id)):
		return err // not settled: see [stream.Delivery.Lost]
	}
	return e.Outcome(ctx, comeAgain(changed(err, id)), id)
}

// readSlice publishes the chunks of a slice and records how many they are.
func (e *extractor) readSlice(ctx context.Context, s *ihcv1.Slice) error {
	accepted, err := e.Bus.Accepted(ctx, s.GetRunId())
	if err != nil {
		return err
	}
	b, err := e.builder(ctx, accepted, true) // what is published is compared as it is met
	if err != nil {
		return err
	}
	b.part = &part{b: b, slice: s, begun: time.Now(), allowed: func() {}}
	defer func() { b.part.allowed() }()
	o := run.Journeys(b.req)
	o.Slice = journey.Slice{From: s.GetFrom(), Before: s.GetBefore(), Snapshot: s.GetSnapshot()}
	if err := e.readSlices(ctx, b, o); err != nil {
		return err
	}
	if err := b.part.await(); err != nil {
		return err
	}
	read := &ihcv1.SliceRead{Last: b.chunk + uint32(len(b.part.held))}
	if err := e.Bus.PutSlice(ctx, s, read); err != nil { // whoever waits for the number goes on, while this is published
		return err
	}
	if err := b.part.let(); err != nil {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	read.Counts = b.counts()
	return e.Bus.PutSlice(ctx, s, read)
}

// part holds the chunks of a slice until it is known how many there are in those
// before it, and in it.
type part struct {
	b      *builder
	slice  *ihcv1.Slice
	begun  time.Time
	looked time.Time // whether the number is known
	asked  time.Time // whether the slice was handed out anew
	known  bool      // b.chunk is the number before the slice's first, or a later one
	beside bool      // another slice is read at the same time
	held   []packed
	bytes  int // of held

	allowed func() // ends that more memory is allowed for it
}

// hold says whether it keeps a chunk for later: until its number is known, and until
// all of the slice is packed where another slice is read beside it, which is to learn
// its own number soon.
func (p *part) hold(c packed) (bool, error) {
	if time.Since(p.looked) > lookAgain {
		if err := p.look(); err != nil {
			return false, err
		}
		reading, err := p.b.e.Bus.UnderWay(p.b.ctx, stream.Slices)
		if err != nil {
			return false, err
		}
		p.beside = reading > 1
	}
	if p.known && !p.beside {
		return false, p.let()
	}
	if len(p.held) == 0 {
		p.allowed()
		p.allowed = memory.Allow(heldMemory)
	}
	p.held = append(p.held, c)
	if p.bytes += len(c.body); p.bytes < mostHeld {
		return true, nil
	}
	if err := p.await(); err != nil {
		return true, err
	}
	return true, p.let()
}

// look looks whether the number is known.
func (p *part) look() error {
	p.looked = time.Now()
	if p.known = p.known || p.slice.GetSlice() == 1; p.known {
		return nil
	}
	before, err := p.b.e.Bus.SliceRead(p.b.ctx, p.slice.GetRunId(), p.slice.GetReading(), p.slice.GetSlice()-1)
	if err != nil || before == nil {
		return err
	}
	p.known, p.b.chunk = true, before.GetLast()
	return nil
}

// await waits until the number is known.
func (p *part) await() error {
	most := time.Since(p.begun) + patience
	for waited := time.Now(); !p.known; {
		err := p.look()
		if err == nil && !p.known {
			err = p.abandoned()
		}
		switch {
		case err != nil:
			return err
		case p.known:
		case p.b.e.ended.Over(p.slice.GetRunId()):
			return errEnded
		case time.Since(waited) > most:
			return stream.Retry(fmt.Errorf("slice %d of run %s waits for the one before, which nobody reads", p.slice.GetSlice(), p.slice.GetRunId()), 0)
		default:
			if err := retry.Sleep(p.b.ctx, retry.Real, lookAgain); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandoned returns an error if the slice was handed out anew, as part of another
// attempt at the run.
func (p *part) abandoned() error {
	if time.Since(p.asked) < handOutAgain {
		return nil
	}
	p.asked = time.Now()
	last, _, err := p.b.e.Bus.LastSlice(p.b.ctx, p.slice.GetRunId(), p.slice.GetSlice())
	if err == nil && last.GetReading() != p.slice.GetReading() {
		err = fmt.Errorf("%w: the slice was handed out anew", store.ErrGone)
	}
	return err
}

// let publishes what is held.
func (p *part) let() error {
	if len(p.held) == 0 {
		return nil
	}
	held := p.held
	p.held, p.bytes = nil, 0
	for i, c := range held {
		held[i] = packed{}
		if p.b.e.ended.Over(p.slice.GetRunId()) {
			return errEnded
		}
		if err := p.b.send(c); err != nil {
			return err
		}
	}
	p.allowed()
	return nil
}
