package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

var interruptionTests = map[string]func(*testing.T, Backend){
	"SweepThatIsCancelledAnywhereLeavesNothing": sweepThatIsCancelledAnywhereLeavesNothing,
	"SweepThatIsClosedLeavesNothing":            sweepThatIsClosedLeavesNothing,
}

// expiring is a context that is cancelled when it has been asked so often.
type expiring struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func expiresAfter(ctx context.Context, asked int64) *expiring {
	e := &expiring{}
	e.Context, e.cancel = context.WithCancel(ctx)
	e.left.Store(asked)
	return e
}

func (e *expiring) ask() {
	if e.left.Add(-1) <= 0 {
		e.cancel()
	}
}

func (e *expiring) Done() <-chan struct{} {
	e.ask()
	return e.Context.Done()
}

func (e *expiring) Err() error {
	e.ask()
	return e.Context.Err()
}

// halfway is a database in which a run is stored and not finished that
// replaces, adds and removes; was is what shows, want what is to show.
func halfway(t *testing.T, b Backend) (f *fixture, was, want []string) {
	f = b.fresh(t)
	const chunks, size = 8, 60
	var first, second []*ihcv1.AttributionResult
	holds := map[string][]string{}
	for chunk := range uint32(chunks) {
		one, two := result("one", chunk+1), result("two", chunk+1)
		for i := range size {
			conv := fmt.Sprintf("c%d-%02d", chunk, i)
			if i != 7 { // deleted in between
				f.sell(conv)
			}
			one.Attributions = append(one.Attributions, attributed(conv, 2500, 7500))
			switch i % 5 {
			case 0:
				two.Outcomes = append(two.Outcomes, unscored(conv, "why"))
			default:
				two.Attributions = append(two.Attributions, attributed(conv, 1000, 2000, 7000))
				if i != 7 {
					holds[conv] = rowsOf(two.GetAttributions()[len(two.GetAttributions())-1])
				}
			}
		}
		first, second = append(first, one), append(second, two)
	}
	f.ran("one", first...)
	f.expect("two", chunks, chunks*size)
	f.store(second...)
	was = f.shown()
	return f, was, sorted(holds)
}

// A sweep ends anywhere, as where its process is killed: nothing of it shows,
// and the next one does all of it.
func sweepThatIsCancelledAnywhereLeavesNothing(t *testing.T, b Backend) {
	f, was, want := halfway(t, b)
	journal, latest := f.journal(), f.latest()
	interrupted := 0
	for asked := int64(1); ; asked += 1 + asked/8 {
		ctx := expiresAfter(t.Context(), asked)
		s, err := f.Finish(ctx, "two")
		ctx.cancel()
		if err == nil {
			require.True(t, s.Complete)
			break
		}
		interrupted++
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, was, f.shown())
		require.Equal(t, journal, f.journal())
		require.Equal(t, latest, f.latest())
	}
	require.Greater(t, interrupted, 5)
	require.Equal(t, want, f.shown())
	require.Empty(t, ofRun(f, "one"))
}

func sweepThatIsClosedLeavesNothing(t *testing.T, b Backend) {
	f, was, want := halfway(t, b)
	d := f.another()
	var group errgroup.Group
	var failed error
	group.Go(func() error {
		_, failed = d.Finish(t.Context(), "two")
		return nil
	})
	require.NoError(t, d.Close())
	require.NoError(t, group.Wait())
	if failed != nil {
		require.Equal(t, was, f.shown())
	} else {
		require.Equal(t, want, f.shown())
	}
	f.finish("two")
	require.Equal(t, want, f.shown())
}
