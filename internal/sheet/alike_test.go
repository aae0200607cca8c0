package sheet

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/human"
)

// No two names print alike, whatever makes them differ, in a window of any width.
func TestDifferentNamesNeverPrintAlike(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 8)
	s := &Sheet{Title: "t", Columns: []Column{{Title: "channel"}, {Title: "n", Kind: Count}}}
	for _, name := range []string{"SEO", "SEO ", " SEO", "SEO\u200b", "Café", "Cafe\u0301", long + "a " + long + "end", long + "b " + long + "end"} {
		s.Rows = append(s.Rows, []Cell{T(name), I(1)})
	}
	for _, cells := range []int{0, 60, 20} {
		var b strings.Builder
		require.NoError(t, s.TextIn(&b, cells))
		seen := map[string]bool{}
		for line := range strings.Lines(b.String()) {
			if line = strings.TrimRight(line, "\n"); strings.HasSuffix(line, " 1") {
				require.False(t, seen[line], line)
				seen[line] = true
			}
			if cells > 0 {
				require.LessOrEqual(t, human.Width(line), cells)
			}
		}
		require.Len(t, seen, len(s.Rows), b.String())
	}
}
