package service_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// A run that has all or gets on is not told to stand still.
func TestALookNoticesWhatTheLastOneFound(t *testing.T) {
	t.Parallel()
	var n service.Noticed
	runs := &stream.Ended{}
	require.False(t, n.Again(runs, "run", []uint32{1, 2, 3}))
	require.False(t, n.Again(runs, "another", []uint32{1, 2}))
	require.False(t, n.Again(runs, "run", []uint32{1, 2}))
	require.True(t, n.Again(runs, "run", []uint32{1, 2}))
	require.True(t, n.Again(runs, "another", []uint32{1, 2}))
	require.False(t, n.Again(runs, "run", nil))
	require.False(t, n.Again(runs, "run", nil))
}
