package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/store"
)

var sliceTests = map[string]func(*testing.T, Backend){
	"SlicesAreTheWholeInParts":  slicesAreTheWholeInParts,
	"SlicesAreOfOneState":       slicesAreOfOneState,
	"SliceOfAStateThatIsGone":   sliceOfAStateThatIsGone,
	"SlicesEndWithTheirContext": slicesEndWithTheirContext,
}

// Whatever the slices, one after the other they give what is read as a whole, in
// the same order, and are the same again.
func slicesAreTheWholeInParts(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		visits, orders := b.drawVisits(t)
		o := journey.Options{Start: rapid.SampledFrom([]string{"0000-01-01", "2023-02-01"}).Draw(t, "start"), End: "9999-12-31", MaxSessions: 10}
		f := b.visited(t, visits, orders)
		want := f.journeys(o)
		size := rapid.IntRange(1, 6).Draw(t, "conversions in a slice")
		var first []journey.Slice
		for range 2 {
			var found []journey.Slice
			var got []journey.Journey
			require.NoError(t, f.Slices(t.Context(), o, size, func(_ context.Context, slices []journey.Options) error {
				for _, s := range slices {
					found = append(found, journey.Slice{From: s.Slice.From, Before: s.Slice.Before})
					got = append(got, f.journeys(s)...)
				}
				return nil
			}))
			require.Equal(t, normal(want), normal(got))
			if first == nil {
				first = found
			}
			require.Equal(t, first, found, "they follow from the data alone")
		}
	})
}

// several makes a database with a conversion of each of 20 users.
func (b Backend) several(t T) *fixture {
	var orders []order
	for i := range 20 {
		id := string(rune('a' + i))
		orders = append(orders, order{"c" + id, "u" + id, "2023-01-02", "12:00:00"})
	}
	return b.visited(t, []visit{{"s", "ua", "2023-01-01", "12:00:00", "SEO", 0}}, orders)
}

var all = journey.Options{Start: "0000-01-01", End: "9999-12-31", MaxSessions: 10}

func slicesAreOfOneState(t *testing.T, b Backend) {
	f := b.several(t)
	require.NoError(t, f.Slices(t.Context(), all, 5, func(_ context.Context, slices []journey.Options) error {
		if len(slices) == 1 {
			return nil // of the state that its reading begins with
		}
		require.Len(t, slices, 4)
		f.exec(`DELETE FROM conversions`)
		for _, s := range slices {
			require.Len(t, f.journeys(s), 5)
		}
		return nil
	}))
}

func sliceOfAStateThatIsGone(t *testing.T, b Backend) {
	f := b.several(t)
	var was []journey.Options
	require.NoError(t, f.Slices(t.Context(), all, 5, func(_ context.Context, slices []journey.Options) error {
		was = slices
		return nil
	}))
	if len(was) > 1 {
		err := f.Journeys(t.Context(), was[1], func(journey.Journey) error { return nil })
		require.ErrorIs(t, err, store.ErrGone)
	}
}

func slicesEndWithTheirContext(t *testing.T, b Backend) {
	f := b.several(t)
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, f.Slices(ctx, all, 5, func(ctx context.Context, _ []journey.Options) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}), context.Canceled)
}
