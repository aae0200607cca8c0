package daily

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/unit"
)

// Whatever a day's cost and sessions, its parts are the cost to the millionth and
// differ by one at most.
func TestDailyCostsAreSpreadToTheLastUnit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := &Cost{Cost: rapid.Int64Range(-1e12, 1e12).Draw(t, "cost"), Sessions: rapid.Int64Range(1, 500).Draw(t, "sessions")}
		var sum unit.Cost
		least, most := unit.Cost(1<<62), unit.Cost(-1<<62)
		for range d.Sessions {
			s := d.Share()
			sum, least, most = sum+s, min(least, s), max(most, s)
		}
		require.Equal(t, unit.Cost(d.Cost), sum)
		require.LessOrEqual(t, most-least, unit.Cost(1))
	})
}
