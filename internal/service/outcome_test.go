package service_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// serving returns what a service of the stage gets, and what it says of itself.
func serving(b *streamtest.Bus, stage string) (d service.Deps, ready *[]error) {
	got := make(chan service.Deps)
	b.Service(stage, func(ctx context.Context, d service.Deps) error {
		got <- d
		<-ctx.Done()
		return nil
	})
	d, ready = <-got, &[]error{}
	d.Ready = func(err error) { *ready = append(*ready, err) }
	return d, ready
}

// waitsFor waits until a stage tells that it waits for something with the run, "" for
// nothing, and returns what it tells.
func waitsFor(t *testing.T, b *streamtest.Bus, stage, what string) (told *ihcv1.Progress) {
	t.Helper()
	require.Eventually(t, func() bool {
		p, err := b.Progress(b.Ctx, "run")
		told = p[stage]
		return err == nil && told.GetWaiting() == what
	}, 30*time.Second, 10*time.Millisecond, what)
	return told
}

// What an error means is one table, here held to the letter.
func TestAnErrorMeansTheSameWhereverItIsMet(t *testing.T) {
	t.Parallel()
	const (
		done   = "acknowledged"
		waits  = "delivered again until it works, and says so"
		fails  = "the run fails"
		buried = "dead letter"
		again  = "delivered again, ten times at the most"
	)
	stages := []string{stream.StageExtractor, stream.StageAttributor, stream.StageWriter, stream.StageReporter}
	for name, c := range map[string]struct {
		err   error
		after time.Duration
		want  [4]string // in the order of stages
	}{
		"nothing":       {nil, 0, [4]string{done, done, done, done}},
		"NATS away":     {fmt.Errorf("publish: %w", nats.ErrNoResponders), time.Second, [4]string{waits, waits, waits, waits}},
		"told to wait":  {stream.Retry(errors.New("busy"), 7*time.Second), 7 * time.Second, [4]string{waits, waits, waits, waits}},
		"poison":        {stream.Poison(errors.New("garbage")), 0, [4]string{buried, buried, buried, buried}},
		"input":         {errkind.Inputf("damaged"), 0, [4]string{fails, fails, fails, fails}},
		"environment":   {errkind.Environmentf("locked"), 2 * time.Second, [4]string{fails, fails, waits, waits}},
		"passing":       {fmt.Errorf("read: %w", errkind.Passing(errkind.Environmentf("a server that is started again"))), 2 * time.Second, [4]string{waits, waits, waits, waits}},
		"of a file":     {errkind.Environmentf("no database: %w", context.DeadlineExceeded), 2 * time.Second, [4]string{fails, fails, waits, waits}},
		"nobody's":      {errors.New("odd"), 0, [4]string{fails, again, again, again}},
		"the stopper's": {context.Canceled, 0, [4]string{fails, again, again, again}},
	} {
		for i, stage := range stages {
			t.Run(name+" in the "+stage, func(t *testing.T) {
				t.Parallel()
				b := streamtest.New(t)
				d, ready := serving(b, stage)
				err := d.Outcome(b.Ctx, c.err, "run")
				after, poison, settled := stream.Settled(err)
				switch c.want[i] {
				case done:
					require.NoError(t, err)
					require.Equal(t, []error{nil}, *ready)
				case waits:
					require.True(t, settled && !poison)
					require.Equal(t, c.after, after)
					require.Equal(t, []error{c.err}, *ready)
					p := waitsFor(t, b, stage, c.err.Error())
					require.NotZero(t, p.GetNextTry(), "when it is tried again")
				case fails:
					require.NoError(t, err)
					require.Equal(t, []error{nil}, *ready)
					f := b.Await("run", func(e *ihcv1.RunEvent) bool { return e.GetFailed() != nil }).GetFailed()
					require.Equal(t, []string{stage, c.err.Error()}, []string{f.GetStage(), f.GetReason()})
				case buried:
					require.True(t, poison)
					require.Empty(t, *ready)
				case again:
					require.Equal(t, c.err, err)
					require.False(t, settled)
					require.Empty(t, *ready)
				}
			})
		}
	}
}

// Nothing is decided about work that was told to stop.
func TestWorkThatIsStoppedIsGivenBack(t *testing.T) {
	t.Parallel()
	d, ready := serving(streamtest.New(t), stream.StageWriter)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, d.Outcome(ctx, errkind.Inputf("damaged"), "run"), context.Canceled)
	require.Empty(t, *ready)
}

// What was waited for is over at the first success, and is told to be.
func TestWaitingIsOverWithTheFirstSuccess(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	d, _ := serving(b, stream.StageWriter)
	require.Error(t, d.Outcome(b.Ctx, errkind.Environmentf("locked"), "run"))
	waitsFor(t, b, stream.StageWriter, "locked")
	require.NoError(t, d.Outcome(b.Ctx, nil, "run"))
	waitsFor(t, b, stream.StageWriter, "")
}
