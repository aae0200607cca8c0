package attributor

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// What a process keeps of a run goes when the run ends, and not before.
func TestARunIsForgottenWhenItEnds(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	bus := make(chan service.Deps, 1)
	var a *attributor
	b.Service(stream.StageAttributor, func(ctx context.Context, d service.Deps) error {
		a = &attributor{Deps: d, runs: map[string]*settings{}}
		a.ended = d.Bus.WatchEnded(ctx, func(e stream.Event, id string) { a.hear(ctx, e, id) })
		bus <- d
		<-ctx.Done()
		return nil
	})
	d := <-bus
	const runs = 150
	id := func(i int) string { return fmt.Sprintf("run-%d", i) }
	for i := range runs {
		b.Event(id(i), &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{Model: run.ModelBuiltin}}}})
		_, err := a.settings(b.Ctx, id(i))
		require.NoError(t, err)
		d.Bus.MeterOf(id(i)).Add(b.Ctx, func(p *ihcv1.Progress) { p.Chunks = 1 })
	}
	require.Len(t, a.runs, runs, "all of them are under way")
	first := d.Bus.MeterOf(id(0))
	require.Same(t, first, d.Bus.MeterOf(id(0)))
	b.Event(id(0), &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{}}})
	b.Event(id(1), &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{}}})
	b.Event(id(2), &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	require.Eventually(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.runs) == runs-3
	}, 50*time.Second, 10*time.Millisecond)
	require.NotSame(t, first, d.Bus.MeterOf(id(0)))
	require.False(t, a.ended.Has(id(0)), "a run that was reported may be scored again")
	require.True(t, a.ended.Has(id(1)))
}
