package report

import (
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
)

func TestPhasesOfAModelThatKnowsNoneAreNotShown(t *testing.T) {
	t.Parallel()
	none := &Explanation{Sessions: []ExplainedSession{{Phases: &ExplainedPhase{}}, {Phases: &ExplainedPhase{}}}}
	none.forgetPhases()
	for _, s := range none.Sessions {
		require.Nil(t, s.Phases)
	}
	some := &Explanation{Sessions: []ExplainedSession{{Phases: &ExplainedPhase{}}, {Phases: &ExplainedPhase{Closer: Exact{decimal.NewFromInt(1)}}}}}
	some.forgetPhases()
	for _, s := range some.Sessions {
		require.NotNil(t, s.Phases, "a session without a part in it has zeros")
	}
}
