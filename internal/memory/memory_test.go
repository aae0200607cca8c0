package memory

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// The limit is the process's: this test is not parallel.
func TestMemoryThatIsAllowedIsGivenBack(t *testing.T) { //nolint:paralleltest // see above
	t.Setenv("GOMEMLIMIT", "")
	was := debug.SetMemoryLimit(1 << 30)
	defer debug.SetMemoryLimit(was)
	limit := func() int64 { return debug.SetMemoryLimit(-1) }
	first, second := Allow(1<<20), Allow(2<<20)
	require.EqualValues(t, 1<<30+3<<20, limit())
	first()
	first()
	require.EqualValues(t, 1<<30+2<<20, limit())
	second()
	require.EqualValues(t, 1<<30, limit())
	t.Setenv("GOMEMLIMIT", "1GiB")
	Allow(1 << 20)()
	require.EqualValues(t, 1<<30, limit())
}
