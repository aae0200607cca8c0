package scoring

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestRulesShareEachConversionWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(append(attribution.RuleNames(), "time-decay=1", "position=20/20/60", "last-non-direct=A,B")).Draw(t, "model")
		chunk := &ihcv1.JourneyChunk{Channels: []string{"A", "B", "C"}}
		for range rapid.IntRange(1, 3).Draw(t, "journeys") {
			j := &ihcv1.Journey{ConvId: "c"}
			for range rapid.IntRange(1, 200).Draw(t, "sessions") {
				j.SessionIds = append(j.SessionIds, "s")
				j.TimeDeltas = append(j.TimeDeltas, rapid.Int64Range(0, 1e13).Draw(t, "delta"))
				j.Channels = append(j.Channels, uint32(rapid.IntRange(0, 2).Draw(t, "channel")))
				j.Flags = append(j.Flags, byte(rapid.IntRange(0, 7).Draw(t, "flags")))
			}
			chunk.Journeys = append(chunk.Journeys, j)
		}
		r, err := NewRule(name)
		require.NoError(t, err)
		done, err := r.Score(t.Context(), chunk)
		require.NoError(t, err)
		require.Len(t, done.Attributions, len(chunk.GetJourneys()))
		for _, a := range done.Attributions {
			sum := uint32(0)
			for _, share := range a.GetIhc() {
				sum += share
			}
			require.Equal(t, uint32(unit.Whole), sum)
		}
	})
}

func TestARuleIsNamedWithItsSettings(t *testing.T) {
	t.Parallel()
	for model, name := range map[string]string{"linear": "linear", "time-decay": "time-decay 7 days", "position=j": "position 20/20/60", "last-non-direct=A,B": "last-non-direct A,B"} {
		r, err := NewRule(model)
		require.NoError(t, err)
		require.Equal(t, name, r.Name())
	}
	_, err := NewRule("markov")
	require.ErrorContains(t, err, "ihc models")
}
