package sqlite

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
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
		x := newSessionIndex(int64(n), 1, most, rapid.IntRange(0, 2).Draw(t, "tries"), func(s string) uint64 { return hashes[s] })
		defer x.close()
		found := map[string]int{}
		for again := true; again; again = x.next() {
			var mine []string
			w := x.writer()
			for i := range n {
				mark, is := x.mark(fmt.Sprint(i))
				if !is {
					continue
				}
				require.NoError(t, w.enter(mark, w.group(key{fmt.Sprint(i), "2023-01-01"})))
				err := w.flush()
				if errors.Is(err, errCrowded) {
					require.Len(t, mine, len(x.slots)-1, "one stays free")
					return
				}
				if err != nil {
					require.ErrorIs(t, err, errCollision)
					require.True(t, collides)
					return
				}
				mine = append(mine, fmt.Sprint(i))
			}
			for _, s := range mine {
				mark, _ := x.mark(s)
				number, there := x.group(mark)
				require.True(t, there)
				require.Equal(t, key{s, "2023-01-01"}, x.keys[number])
				found[s]++
			}
		}
		for s, times := range found {
			require.Equal(t, 1, times, s)
		}
	})
}

// A report that cannot tell two sessions apart is made again with another hash,
// and given up when no hash can: then they are the same.
func TestReportIsMadeAgainWhereHashesCollide(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, Schema+soundRows), Write)
	require.NoError(t, err)
	defer db.Close()
	want, err := rebuild(t.Context(), "", db, nil, &ihcv1.RunRequest{}, usual)
	require.NoError(t, err)
	tries := 0
	size := usual
	size.hash = func() func(string) uint64 {
		if tries++; tries < 3 {
			return func(string) uint64 { return 7 }
		}
		return newHash()
	}
	got, err := rebuild(t.Context(), "", db, nil, &ihcv1.RunRequest{}, size)
	require.NoError(t, err)
	require.Equal(t, 3, tries)
	require.Equal(t, want, got)

	size.hash = func() func(string) uint64 { return func(string) uint64 { return 7 } }
	_, err = rebuild(t.Context(), "", db, nil, &ihcv1.RunRequest{}, size)
	require.ErrorIs(t, err, errCollision)
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}
