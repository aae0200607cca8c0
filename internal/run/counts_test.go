package run

import (
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestOutcomesWithAttributionAreTold(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 2, Attributed([]*ihcv1.Outcome{
		{Kind: ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED}, {Kind: ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS},
		{Kind: ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED}, {Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED},
	}))
}
