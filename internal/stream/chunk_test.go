package stream

import (
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Extractors that hold a chunk until its number is known publish what those do that
// know it: a run's chunks are compared byte by byte.
func TestAChunkIsTheSameWhetherItsNumberIsKnownBeforeOrAfterItIsEncoded(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	whole := chunk("run", 300)
	whole.Scoring = []byte{7}
	whole.Outcomes = []*ihcv1.Outcome{{ConvId: "d", Kind: ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED, Sessions: 4000}}
	one, err := c.NewChunkPublisher(r.ctx, "run", true)
	require.NoError(t, err)
	require.NoError(t, one.Publish(r.ctx, whole))
	require.NoError(t, one.Flush(r.ctx))

	rest := chunk("", 300)
	rest.Chunk, rest.Scoring, rest.Outcomes = 0, whole.Scoring, whole.Outcomes
	body, err := BodyOf(rest)
	require.NoError(t, err)
	two, err := c.NewChunkPublisher(r.ctx, "run", false)
	require.NoError(t, err)
	require.NoError(t, two.PublishBody(r.ctx, 300, body), "its digest is that of the one that is stored")
	require.EqualValues(t, 1, two.Skipped)
	require.NoError(t, two.PublishBody(r.ctx, 301, body))
	require.NoError(t, two.Flush(r.ctx))
	for number, want := range map[uint32]*ihcv1.JourneyChunk{300: whole, 301: whole} {
		want.Chunk = number
		m, err := c.lastOn(r.ctx, Journeys, chunkSubject("run", number))
		require.NoError(t, err)
		data, err := encode(want)
		require.NoError(t, err)
		require.Equal(t, data, m.Data)
	}
}
