package scoring

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/retry"
)

// The clock in these tests is synctest's: it moves when everybody waits.

func down() error { return &ihcapi.Error{Kind: ihcapi.Transient, HTTPStatus: 503} }

func patience(d time.Duration) error {
	return &ihcapi.Error{Kind: ihcapi.Transient, HTTPStatus: 429, RetryAfter: d}
}

// waited returns how long Wait takes.
func waited(b *Breaker) time.Duration {
	start := time.Now()
	b.Wait(context.Background(), nil)
	return time.Since(start)
}

func TestBreakerOpensAfterARowOfFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &Breaker{}
		for range breakAfter - 1 {
			b.Note(down())
			require.Zero(t, waited(b))
		}
		b.Note(nil) // an answer
		for range breakAfter - 1 {
			b.Note(down())
			require.Zero(t, waited(b))
		}
		for _, want := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			b.Note(down())
			require.Equal(t, time.Duration(want)*time.Second, waited(b))
		}
		b.Note(&ihcapi.Error{Kind: ihcapi.Refused}) // it answers again, if not kindly
		require.Zero(t, waited(b))
		b.Note(down())
		require.Zero(t, waited(b), "the row begins anew")
	})
}

func TestBreakerObeysRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &Breaker{}
		b.Note(patience(0)) // a 429 that does not say
		require.Zero(t, waited(b))
		b.Note(patience(7 * time.Second))
		b.Note(patience(3 * time.Second)) // of a request sent before the first answer
		require.Equal(t, 7*time.Second, waited(b))
	})
}

// When the time is up one asks, and the others wait for what comes of it.
func TestBreakerLetsOneAskFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &Breaker{}
		for range breakAfter {
			b.Note(down())
		}
		var passed atomic.Int32
		var told atomic.Int32
		for range 10 {
			go func() {
				b.Wait(t.Context(), func(why error, next time.Time) {
					told.Add(1)
					assert.Positive(t, time.Until(next), "it is told when the API is asked again")
					assert.ErrorContains(t, why, "503")
				})
				passed.Add(1)
			}()
		}
		synctest.Wait()
		require.Zero(t, passed.Load())
		require.EqualValues(t, 1, told.Load())
		time.Sleep(time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, passed.Load())
		b.Note(down()) // it was told no
		time.Sleep(2*time.Second - time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 1, passed.Load())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 2, passed.Load())
		require.EqualValues(t, 2, told.Load(), "told once for each failure")
		// The second found nothing to ask about, and the third asks.
		time.Sleep(probeEvery)
		synctest.Wait()
		require.EqualValues(t, 3, passed.Load())
		b.Note(nil)
		synctest.Wait()
		require.EqualValues(t, 10, passed.Load(), "all at once, without waiting any more")
	})
}

func TestBreakerLetsGoAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &Breaker{}
		b.Note(patience(24 * time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		b.Wait(ctx, nil)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestBreakerIgnoresWhatIsNotTheAPIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &Breaker{}
		for range 2 * breakAfter {
			b.Note(errors.New("of our own"))
			require.Zero(t, waited(b))
		}
	})
}

func TestBreakerWaitsByItsClock(t *testing.T) {
	t.Parallel()
	clock := retry.NewFake(time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC))
	b := &Breaker{Clock: clock}
	b.Note(patience(time.Hour))
	done := make(chan struct{})
	go func() {
		b.Wait(t.Context(), nil)
		close(done)
	}()
	require.NoError(t, clock.AwaitSleepers(t.Context(), 1))
	clock.Advance(time.Hour)
	<-done
}
