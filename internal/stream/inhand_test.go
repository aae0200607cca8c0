package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestWhatIsInHandTellsHowLongAChunkTakes(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time {
		return time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
	}
	p := &ihcv1.Progress{}
	TakeInHand(p, at(0))
	TakeInHand(p, at(1))
	LayDown(p, at(0), at(2), true)
	TakeInHand(p, at(2))
	require.Equal(t, []int64{at(1).UnixMilli(), at(2).UnixMilli()}, p.GetBegun())
	LayDown(p, at(1), at(5), true)
	require.InDelta(t, 3, p.GetChunkSeconds(), 1e-9)    // 2 and 4
	require.InDelta(t, 2, p.GetChunkSecondsOff(), 1e-9) // from what was known before
	LayDown(p, at(2), at(6), false)
	require.InDelta(t, 5, p.GetChunkSeconds(), 1e-9) // two were done in ten seconds
	require.Empty(t, p.GetBegun())
	require.EqualValues(t, 2, p.GetAtOnce())
	require.EqualValues(t, 2, p.GetTimed())
	TakeInHand(p, at(7))
	TakeOver(p)
	require.Empty(t, p.GetBegun())
	require.Zero(t, p.GetAtOnce())
	require.InDelta(t, 5, p.GetChunkSeconds(), 1e-9)
}

func TestAReplicaThatIsGoneHasNothingInHand(t *testing.T) {
	t.Parallel()
	now := time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC)
	one := &ihcv1.Progress{Chunks: 3, Begun: []int64{1, 2}, AtOnce: 2, Timed: 3, ChunkSeconds: 1}
	two := &ihcv1.Progress{Chunks: 1, Begun: []int64{3}, AtOnce: 2, Timed: 1, ChunkSeconds: 5}
	sum := join([]told{{one, now}, {two, now.Add(time.Second)}})
	require.EqualValues(t, 4, sum.GetChunks())
	require.Equal(t, []int64{1, 2, 3}, sum.GetBegun())
	require.EqualValues(t, 4, sum.GetAtOnce())
	require.InDelta(t, 2, sum.GetChunkSeconds(), 1e-9)
	sum = join([]told{{one, now}, {two, now.Add(time.Minute)}})
	require.EqualValues(t, 4, sum.GetChunks())
	require.Equal(t, []int64{3}, sum.GetBegun())
	require.EqualValues(t, 2, sum.GetAtOnce())
}
