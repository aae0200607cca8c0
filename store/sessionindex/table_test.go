package sessionindex

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawMark draws a mark of few or of many, so that some are alike and many want the
// same slot.
func drawMark(t *rapid.T) uint64 {
	return rapid.OneOf(rapid.Uint64Range(1, 40), rapid.Uint64Min(1), rapid.Map(rapid.Uint64Range(0, 9), func(n uint64) uint64 { return 7<<32 | n })).Draw(t, "mark")
}

func TestATableHasWhatAMapHas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 50).Draw(t, "ids")
		table, want := NewTable(n), map[uint64]uint32{}
		defer table.Close()
		for range rapid.IntRange(1, 2).Draw(t, "uses") {
			table.Clear()
			clear(want)
			for number := range uint32(n) {
				mark := drawMark(t)
				err := table.Enter(mark, number)
				if _, there := want[mark]; there {
					require.ErrorIs(t, err, ErrCollision)
					continue
				}
				require.NoError(t, err, "there is room for as many as it was made for")
				want[mark] = number
			}
			for mark, number := range want {
				found, there := table.Find(mark)
				require.True(t, there)
				require.Equal(t, number, found)
			}
			for range 20 {
				mark := drawMark(t)
				_, there := table.Find(mark)
				_, is := want[mark]
				require.Equal(t, is, there)
			}
		}
	})
}

func TestAFullTableTakesNoMore(t *testing.T) {
	t.Parallel()
	table := NewTable(3)
	defer table.Close()
	mark, err := uint64(1), error(nil)
	for ; err == nil; mark++ {
		err = table.Enter(mark, 0)
	}
	require.ErrorIs(t, err, ErrCrowded)
	_, there := table.Find(mark)
	require.False(t, there, "and looking has an end")
}

func TestATableIsClosedTwiceWithoutHarm(t *testing.T) {
	t.Parallel()
	table := NewTable(3)
	table.Close()
	table.Close()
}

// An id has a mark whatever its hash.
func TestNoMarkIsZero(t *testing.T) {
	t.Parallel()
	require.NotZero(t, Hash(func(string) uint64 { return 0 }).Mark("s1"))
}
