package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var fenceTests = map[string]func(*testing.T, Backend){
	"WhoLostHisWorkChangesNothing": whoLostHisWorkChangesNothing,
	"MissingIsWhatIsNotStored":     missingIsWhatIsNotStored,
}

// own is what a run has of its chunk n: a conversion of that name.
func own(n uint32) *ihcv1.AttributionResult {
	r := result("run", n, attributed(fmt.Sprintf("c%02d", n), 4000, 6000))
	r.Requests = 1
	return r
}

// stale is what somebody publishes under that number who woke up late and read
// other data: of a conversion that is there, too.
func stale(n uint32) *ihcv1.AttributionResult {
	r := result("run", n, attributed(fmt.Sprintf("c%02d", n%20+1), 10_000), attributed(fmt.Sprintf("gone%02d", n), 10_000))
	r.Requests = 1
	return r
}

// Somebody who lost the run to another publishes more chunks than the run has,
// and says that it has more or fewer, before and after it is written. It is
// as if he had not.
func whoLostHisWorkChangesNothing(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f := b.fresh(t)
		ctx := t.Context()
		n := rapid.Uint32Range(1, 9).Draw(t, "chunks")
		for i := range uint32(20) {
			f.sell(fmt.Sprintf("c%02d", i+1))
		}
		extracted := func(chunks uint32) *ihcv1.RunExtracted {
			return &ihcv1.RunExtracted{Chunks: chunks, Counts: &ihcv1.Counts{InRange: uint64(chunks)}}
		}
		disturb := func(label string) {
			for range rapid.IntRange(0, 3).Draw(t, label) {
				require.NoError(t, f.Store(ctx, []*ihcv1.AttributionResult{stale(rapid.Uint32Range(n+1, n+5).Draw(t, "stale"))}))
			}
		}
		at := rapid.Uint32Range(0, n).Draw(t, "told after")
		var want []string
		for i := range n + 1 {
			disturb("before")
			if i == at {
				require.NoError(t, f.Expect(ctx, "run", extracted(n)))
			}
			if i > at && rapid.Bool().Draw(t, "told again") {
				require.NoError(t, f.Expect(ctx, "run", extracted(rapid.Uint32Range(0, n+5).Draw(t, "told"))))
			}
			if i < n {
				s, err := f.Finish(ctx, "run")
				require.NoError(t, err)
				require.False(t, s.Complete)
				require.NoError(t, f.Store(ctx, []*ihcv1.AttributionResult{own(i + 1)}))
				want = append(want, rowsOf(own(i + 1).GetAttributions()[0])...)
			}
		}
		holds := func() {
			s, err := f.Finish(ctx, "run")
			require.NoError(t, err)
			require.True(t, s.Complete)
			require.Empty(t, s.Wrong)
			require.EqualValues(t, n, s.Requests)
			require.EqualValues(t, n, s.Counts.GetAttributed())
			require.Equal(t, want, f.shown())
			require.Len(t, f.journal(), int(n))
		}
		holds()
		disturb("after")
		require.NoError(t, f.Store(ctx, []*ihcv1.AttributionResult{stale(rapid.Uint32Range(1, n).Draw(t, "of a chunk there is"))}))
		require.NoError(t, f.Expect(ctx, "run", extracted(n+1)))
		require.NoError(t, f.End(ctx, "run", store.Failed))
		holds()
	})
}

func missingIsWhatIsNotStored(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f := b.fresh(t)
		n := rapid.Uint32Range(0, 12).Draw(t, "chunks")
		stored := rapid.SliceOfDistinct(rapid.Uint32Range(1, 15), rapid.ID[uint32]).Draw(t, "stored")
		var want []uint32
		for chunk := range n {
			if !slices.Contains(stored, chunk+1) {
				want = append(want, chunk+1)
			}
		}
		for _, chunk := range stored {
			require.NoError(t, f.Store(t.Context(), []*ihcv1.AttributionResult{own(chunk)}))
		}
		missing, err := f.Missing(t.Context(), "run", n)
		require.NoError(t, err)
		require.Equal(t, want, missing)
	})
}
