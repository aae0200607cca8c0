package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store"
)

func TestCounterTellsShares(t *testing.T) {
	t.Parallel()
	var told []float64
	c := store.Begin(store.OnStep(t.Context(), func(done float64) { told = append(told, done) }))
	c.Add(1) // before it is known how much there is
	c.Expect(3)
	c.Expect(1)
	c.Add(1)
	c.Add(0)
	c.Add(5) // more than was expected
	require.Equal(t, []float64{0, 0, 0.5, 1}, told)

	nobody := store.Begin(t.Context())
	nobody.Expect(1)
	nobody.Add(1)
}

func TestWhatIsReusedTakesLess(t *testing.T) {
	t.Parallel()
	w := store.Work{Each: 10, Size: store.Size{Sessions: 8_000_000, Conversions: 1_000_000, InRange: 1_000_000,
		Rates: store.Rates{Score: store.PerRow{Conversion: 10, Touchpoint: 0.5}, Reused: store.PerRow{Conversion: 5}, Reuse: store.PerRow{Conversion: 2}, Sweep: store.PerRow{Conversion: 3}, Replace: store.PerRow{Conversion: 4}, Sort: store.PerRow{Session: 1}, Report: store.PerRow{Conversion: 1, Touchpoint: 1}, Compare: store.PerRow{Session: 1}}}}
	first := w.Takes()
	require.InDelta(t, 15, first.Score, 1e-9)
	require.InDelta(t, 8, first.Sort, 1e-9)
	require.Zero(t, first.Compare) // there are too many touchpoints
	require.InDelta(t, 1+10, first.Report, 1e-9)
	w.Attributed, w.Reused, w.Each = 1_000_000, 0.5, 0.5
	again := w.Takes()
	require.InDelta(t, 0.5*(10+0.25)+0.5*5, again.Score, 1e-9)
	require.InDelta(t, 10, again.Sort, 1e-9)
	w.Full = true
	require.InDelta(t, 8, w.Takes().Sort, 1e-9) // nothing is looked up
	w.Full = false
	require.InDelta(t, 3, first.Sweep, 1e-9)
	require.InDelta(t, 3+0.5*4, again.Sweep, 1e-9)
	w.Rates.Read, w.Streams = store.PerRow{Conversion: 4}, store.PerRow{Touchpoint: 8}
	require.InDelta(t, 0.5*(10+0.25+4)+0.5*5, w.Takes().Score, 1e-9)
	require.InDelta(t, 0.5*4, w.Takes().Read, 1e-9)
	w.Same = 0.75 // as --full gives most the shares that they have
	require.InDelta(t, 3+0.25*0.5*4, w.Takes().Sweep, 1e-9)
	w.Rates.Renew = store.PerRow{Conversion: 2}
	require.InDelta(t, 3+0.25*0.5*4+0.75*0.5*2, w.Takes().Sweep, 1e-9)
	w.Same, w.Rates.Shown = 0, store.PerRow{Touchpoint: 6}
	require.InDelta(t, 3+0.5*4+0.5*6, w.Takes().Sweep, 1e-9)
	before := w.Takes().Report
	w.Rates.Told = store.PerRow{Conversion: 8}
	require.InDelta(t, before+0.5*8, w.Takes().Report, 1e-9)
	w.Attributed = 250_000 // nothing was told of the others
	require.InDelta(t, 1+0.75*0.5+0.25*8, w.Takes().Report, 1e-9)
	require.InDelta(t, 8, again.Compare, 1e-9)
}

func TestWhatIsSortedInSlicesIsSortedBesideTheScoring(t *testing.T) {
	t.Parallel()
	w := store.Work{Size: store.Size{Sessions: 1_000_000, InRange: 100_000, Rates: store.Rates{Sorted: 10_000, Sort: store.PerRow{Session: 1, Conversion: 10}, Score: store.PerRow{Conversion: 10}}}}
	require.InDelta(t, 1+0.1, w.Takes().Sort, 1e-9) // each of ten slices looks through all sessions
	require.InDelta(t, 1+9*(1+0.1), w.Takes().Score, 1e-9)
	require.InDelta(t, 9*(1+0.1), w.Takes().Read, 1e-9)
	w.InRange = 10_000 // one slice
	require.InDelta(t, 1+0.1, w.Takes().Sort, 1e-9)
	require.InDelta(t, 0.1, w.Takes().Score, 1e-9)
}

func TestAReportReadsWhatIsOutOfRangeToo(t *testing.T) {
	t.Parallel()
	w := store.Work{Each: 10, Size: store.Size{Conversions: 1_000_000, InRange: 100_000, Rates: store.Rates{Report: store.PerRow{Conversion: 1, Touchpoint: 1}, Compare: store.PerRow{Conversion: 1}}}}
	require.InDelta(t, 1+1, w.Takes().Report, 1e-9)
	w.Attributed = 500_000
	require.InDelta(t, 1+6, w.Takes().Report, 1e-9)
	w.Attributed = 1_000_000
	require.InDelta(t, 1+10, w.Takes().Report, 1e-9)
	w.InRange = 0
	require.InDelta(t, 1+10, w.Takes().Report, 1e-9)
	require.Zero(t, w.Takes().Compare) // there is nothing to compare
}
