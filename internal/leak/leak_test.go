package leak

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAGoroutineThatStaysIsTold(t *testing.T) { //nolint:paralleltest // others' goroutines are none of its own
	end := make(chan struct{})
	go func() { <-end }()
	require.ErrorContains(t, left(0), "TestAGoroutineThatStaysIsTold")
	close(end)
	require.NoError(t, Left())
}
