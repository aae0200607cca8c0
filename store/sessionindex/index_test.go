package sessionindex

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"
)

// However the hashes fall, and however many sessions there is room for, every
// session is found in its own group, in one pass and no other; or else two that
// have one hash are noticed.
func TestEverySessionIsFoundInOnePassOrACollisionIsNoticed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "sessions")
		most := rapid.IntRange(1, 40).Draw(t, "most slots")
		hashes := map[string]uint64{}
		seen, collides := map[uint64]bool{}, false
		for i := range n {
			h := rapid.OneOf(rapid.Uint64Range(2, 4000), rapid.Uint64()).Draw(t, "hash")
			hashes[fmt.Sprint(i)] = h
			collides = collides || seen[max(h, 1)]
			seen[max(h, 1)] = true
		}
		x := InPasses(int64(n), 1, most, rapid.IntRange(0, 2).Draw(t, "tries"), func(s string) uint64 { return hashes[s] })
		defer x.Close()
		found := map[string]int{}
		for again := true; again; again = x.Next() {
			var mine []string
			w := x.Writer()
			for i := range n {
				mark := x.Mark(fmt.Sprint(i))
				if !x.Mine(mark) {
					continue
				}
				require.NoError(t, w.Enter(mark, w.Group(Key{fmt.Sprint(i), "2023-01-01"})))
				err := w.Flush()
				if errors.Is(err, ErrCrowded) {
					require.Len(t, mine, len(x.table.slots)-1, "one stays free")
					return
				}
				if err != nil {
					require.ErrorIs(t, err, ErrCollision)
					require.True(t, collides)
					return
				}
				mine = append(mine, fmt.Sprint(i))
			}
			for _, s := range mine {
				number, there := x.Group(x.Mark(s))
				require.True(t, there)
				require.Equal(t, Key{s, "2023-01-01"}, x.Keys()[number])
				found[s]++
			}
		}
		for s, times := range found {
			require.Equal(t, 1, times, s)
		}
	})
}

// Of sessions that are noted first, those that come later have their groups; others
// have none, and neither has one that does not come. However often that is done, and
// however much room it takes, groups keep their numbers.
func TestNotedSessionsAreFilled(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := New(rapid.IntRange(0, 10).Draw(t, "room"), NewHash())
		defer x.Close()
		numbers := map[Key]uint32{}
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			noted := rapid.SliceOfDistinct(rapid.IntRange(0, 60), rapid.ID).Draw(t, "noted")
			x.Clear(len(noted))
			require.GreaterOrEqual(t, x.Room(), len(noted))
			var marks []uint64
			for _, n := range noted {
				mark := x.Mark(fmt.Sprint(n))
				marks = append(marks, mark)
				require.NoError(t, x.Note(mark))
				require.NoError(t, x.Note(mark), "for the second time")
			}
			come := rapid.SliceOfDistinct(rapid.IntRange(0, 60), rapid.ID).Draw(t, "come")
			w := x.Writer()
			memory := make([]byte, 1)
			for _, n := range come {
				memory[0] = byte('a' + n%3)
				w.Fill(x.Mark(fmt.Sprint(n)), Key{unsafe.String(&memory[0], 1), "2023-01-01"}) // as a row that is overwritten
			}
			for i, n := range x.Groups(marks, nil) {
				if !slices.Contains(come, noted[i]) {
					require.EqualValues(t, NoGroup, n)
					continue
				}
				k := Key{string(rune('a' + noted[i]%3)), "2023-01-01"}
				require.Equal(t, k, x.Keys()[n])
				require.Equal(t, n, x.Number(k))
				if was, met := numbers[k]; met {
					require.Equal(t, was, n)
				}
				numbers[k] = n
			}
			for n := range 61 {
				_, there := x.Group(x.Mark(fmt.Sprint(n)))
				require.Equal(t, slices.Contains(noted, n), there)
			}
		}
	})
}

// Writers that meet the same groups at the same time give them one number, and what
// they entered all readers find.
func TestManyWriteAndThenManyRead(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 3000
	x := New(writers*each, NewHash())
	defer x.Close()
	group := func(session int) Key { return Key{fmt.Sprint("channel ", session%7), "2023-01-01"} }
	var writing errgroup.Group
	for n := range writers {
		writing.Go(func() error {
			w := x.Writer()
			for i := n * each; i < (n+1)*each; i++ {
				if err := w.Enter(x.Mark(fmt.Sprint(i)), w.Group(group(i))); err != nil {
					return err
				}
			}
			return w.Flush()
		})
	}
	require.NoError(t, writing.Wait())
	require.Len(t, x.Keys(), 7)
	var reading errgroup.Group
	for range writers {
		reading.Go(func() error {
			var marks []uint64
			for i := range writers * each {
				marks = append(marks, x.Mark(fmt.Sprint(i)))
			}
			for i, n := range x.Groups(marks, nil) {
				if n == NoGroup || x.Keys()[n] != group(i) {
					return fmt.Errorf("session %d is in group %d", i, n)
				}
			}
			return nil
		})
	}
	require.NoError(t, reading.Wait())
}
