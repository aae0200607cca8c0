package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

var adoptTests = map[string]func(*testing.T, Backend){
	"SuccessorUsesWhatItAdopts":               successorUsesWhatItAdopts,
	"OfTwoAttributionsTheLaterOneIsTakenOver": ofTwoAttributionsTheLaterOneIsTakenOver,
}

func printed(a *ihcv1.Attribution, fingerprint string) *ihcv1.Attribution {
	a.Fingerprint = []byte(fingerprint)
	return a
}

func adoptedOutcome(conv string, sessions uint64) *ihcv1.Outcome {
	return &ihcv1.Outcome{ConvId: conv, Kind: ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED, Sessions: sessions}
}

func (f *fixture) adopt(superseded, successor string, has map[[2]string]bool) {
	f.t.Helper()
	for range 2 {
		stored, err := f.Adopt(f.t.Context(), superseded, successor)
		require.NoError(f.t, err)
		f.has(stored, has)
	}
}

func successorUsesWhatItAdopts(t *testing.T, b Backend) {
	f, was := before(t, b)
	f.store(result("old", 1, printed(attributed("a", 6000, 4000), "A"), printed(attributed("c", 10_000), "C")))
	f.adopt("old", "new", map[[2]string]bool{{"a", "A"}: true, {"c", "C"}: true, {"a", "C"}: false, {"d", "A"}: false})
	f.store(result("old", 2, attributed("d", 10_000))) // too late
	require.Equal(t, was, f.shown())
	r := result("new", 1, printed(attributed("c", 3000, 7000), "C2")) // whose journey changed
	r.Outcomes = []*ihcv1.Outcome{adoptedOutcome("a", 2), unscored("b", "why")}
	f.expect("new", 1, 3)
	f.store(r, r)
	require.Equal(t, was, f.shown())
	counts := f.finish("new").Counts
	require.Equal(t, []uint64{3, 2, 1, 4}, []uint64{counts.GetInRange(), counts.GetAttributed(), counts.GetFailed(), counts.GetTouchpoints()})
	require.Equal(t, []string{"a|a-s0|0.6", "a|a-s1|0.4", "c|c-s0|0.3", "c|c-s1|0.7"}, f.shown())
	require.Equal(t, []string{"new|a", "new|c"}, f.journal(), "what was adopted and not used is gone")
	s, err := f.Finish(t.Context(), "old")
	require.NoError(t, err)
	require.False(t, s.Complete)
}

// A run that adopted is interrupted itself, when the journey was scored anew.
func ofTwoAttributionsTheLaterOneIsTakenOver(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a")
	f.store(result("one", 1, printed(attributed("a", 10_000), "first")))
	f.adopt("one", "two", map[[2]string]bool{{"a", "first"}: true})
	f.store(result("two", 1, printed(attributed("a", 2500, 7500), "second")))
	f.adopt("two", "three", map[[2]string]bool{{"a", "second"}: true})
	r := result("three", 1)
	r.Outcomes = []*ihcv1.Outcome{adoptedOutcome("a", 2)}
	f.ran("three", r)
	require.Equal(t, []string{"a|a-s0|0.25", "a|a-s1|0.75"}, f.shown())
	require.Equal(t, []string{"three|a"}, f.journal())
}
