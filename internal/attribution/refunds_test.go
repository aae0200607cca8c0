package attribution

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Computed apart, in rational numbers: 5 is to be divided, and the effects are
// 2, -1 and -1, which is no proportion.
func TestEffectsThatRefundsCancelStillDivideAllRevenue(t *testing.T) {
	t.Parallel()
	rows := []row{{path: []string{"A"}, conversions: 1, value: 10}, {path: []string{"B", "C"}, conversions: 1, value: -5}}
	for order := 1; order <= MaxOrder; order++ {
		got := credits(compared(t, rows, Options{Order: order}, Markov).Models[0])
		for _, channel := range []string{"A", "B", "C"} {
			require.InDelta(t, 5./3, got[channel].Revenue.Value, 1e-12)
			require.InDelta(t, 2./3, got[channel].Conversions.Value, 1e-12)
		}
	}
}

// The same by way of a chain solved in rational numbers.
func TestRefundsTakeFromWhoLedToThem(t *testing.T) {
	t.Parallel()
	rows := []row{{path: []string{"A", "B"}, conversions: 1, value: 30}, {path: []string{"B"}, conversions: 1, value: -10}, {path: []string{"A"}, null: 2}}
	for order, want := range map[int][2]float64{1: {20. / 3, 40. / 3}, 2: {12. / 1, 8. / 1}} {
		got := credits(compared(t, rows, Options{Order: order}, Markov).Models[0])
		require.InDelta(t, want[0], got["A"].Revenue.Value, 1e-12)
		require.InDelta(t, want[1], got["B"].Revenue.Value, 1e-12)
	}
}

func TestTheChannelThatMayBeMeantAsDirectIsNamed(t *testing.T) {
	t.Parallel()
	for name, of := range map[string][]string{"": {"Directory", "(unattributed)", "indirect"}, "Direct": {"SEO", "Direct"}, "(direct) / (none)": {"(direct) / (none)"},
		"Direct Traffic": {"a", "Direct Traffic"}} {
		require.Equal(t, name, LikelyDirect(of))
	}
	rows := []row{{path: []string{"SEO", "(Direct)"}, conversions: 1, value: 1}}
	require.Equal(t, []string{`no channel is named as direct: the same as last; with --direct "(Direct)" that channel is passed over`}, compared(t, rows, Options{}, LastNonDirect).Models[0].Notes)
	require.Empty(t, compared(t, rows, Options{Direct: []string{"(Direct)"}}, LastNonDirect).Models[0].Notes)
}
