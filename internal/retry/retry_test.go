package retry_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC)

func TestDelaysGrowByTheFactorUpToTheMost(t *testing.T) {
	t.Parallel()
	p := retry.Policy{First: time.Second, Max: 30 * time.Second, Factor: 2}
	for i, want := range []float64{1, 1, 2, 4, 8, 16, 30, 30} {
		require.Equal(t, want, p.Delay(i).Seconds())
	}
	require.Equal(t, p.Max, p.Delay(math.MaxInt))
	require.Equal(t, time.Second, p.Delay(math.MinInt))
	steady := retry.Policy{First: time.Second, Max: time.Second}
	require.Equal(t, time.Second, steady.Delay(1))
	require.Equal(t, time.Second, steady.Delay(100))
}

func TestJitterOnlyShortens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := retry.Policy{First: time.Second, Max: time.Minute, Factor: 2, Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter")}
		whole := p
		whole.Jitter = 0
		tries := rapid.IntRange(0, 100).Draw(t, "tries")
		most := whole.Delay(tries)
		require.LessOrEqual(t, p.Delay(tries), most)
		require.GreaterOrEqual(t, float64(p.Delay(tries)), float64(most)*(1-p.Jitter)-1)
	})
}

func TestDoTriesUntilItSucceeds(t *testing.T) {
	t.Parallel()
	clock := retry.NewFake(start)
	p := retry.Policy{First: time.Second, Max: time.Minute, Factor: 2}
	tries := 0
	done := make(chan error, 1)
	go func() {
		done <- retry.Do(t.Context(), clock, p, func(context.Context) error {
			if tries++; tries < 4 {
				return errors.New("not yet")
			}
			return nil
		}, nil)
	}()
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		require.NoError(t, clock.AwaitSleepers(t.Context(), 1))
		clock.Advance(wait)
	}
	require.NoError(t, <-done)
	require.Equal(t, 4, tries)
	require.Equal(t, start.Add(7*time.Second), clock.Now())
}

func TestDoReturnsAnErrorThatNoRepetitionMends(t *testing.T) {
	t.Parallel()
	mistake := errors.New("a mistake")
	err := retry.Do(t.Context(), retry.NewFake(start), retry.Server, func(context.Context) error { return mistake },
		func(error) bool { return false })
	require.Equal(t, mistake, err)
}

func TestDoEndsWithItsContextAndTellsTheLastError(t *testing.T) {
	t.Parallel()
	clock := retry.NewFake(start)
	ctx, cancel := context.WithCancel(t.Context())
	away := errors.New("the server is away")
	done := make(chan error, 1)
	go func() { done <- retry.Do(ctx, clock, retry.Server, func(context.Context) error { return away }, nil) }()
	require.NoError(t, clock.AwaitSleepers(t.Context(), 1))
	cancel()
	err := <-done
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, away)
	require.EqualError(t, err, "context canceled (last: the server is away)")
	require.NoError(t, clock.AwaitSleepers(t.Context(), 0))

	require.ErrorIs(t, retry.Sleep(ctx, clock, 0), context.Canceled)
}

func TestAFakeClockMovesOnlyWhenItIsTold(t *testing.T) {
	t.Parallel()
	clock := retry.NewFake(start)
	require.NoError(t, retry.Sleep(t.Context(), clock, 0))
	early, _ := clock.Timer(time.Second)
	late, _ := clock.Timer(time.Minute)
	never, stop := clock.Timer(time.Second)
	stop()
	clock.Advance(time.Second)
	require.Equal(t, start.Add(time.Second), <-early)
	require.Empty(t, late)
	require.Empty(t, never)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, clock.AwaitSleepers(ctx, 2), context.Canceled, "one timer is left")
}

func TestTheRealClockMeasuresTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before := retry.Real.Now()
		require.NoError(t, retry.Sleep(t.Context(), retry.Real, time.Hour))
		require.Equal(t, time.Hour, retry.Real.Now().Sub(before))
	})
}
