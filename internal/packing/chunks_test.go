package packing

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

const hour = 3_600_000_000 // microseconds

// read returns a journey of so many sessions as it is read for a request: the
// gaps before them, in hours, come one after the other and again.
func read(r *ihcv1.RunRequest, conv, sessions int, gaps []int64) journey.Journey {
	j := made(conv, sessions)
	at := int64(0)
	for i := range j.Sessions {
		at += gaps[i%len(gaps)] * hour
		j.Sessions[i].Time = at
	}
	o := run.Journeys(r)
	switch {
	case sessions <= o.MaxSessions:
	case o.Latest:
		j.Sessions = j.Sessions[sessions-o.MaxSessions:]
	default:
		j.Sessions = nil
	}
	return j
}

// Whatever becomes of long journeys: every conversion is in exactly one chunk,
// no request holds more than it may, and the counts are those of the chunks.
func TestChunksHoldEveryConversionOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		req, err := run.Complete(&ihcv1.RunRequest{Model: rapid.SampledFrom([]string{run.ModelAPI, run.ModelBuiltin}).Draw(t, "model"),
			LongJourneys: rapid.SampledFrom(run.LongJourneys()).Draw(t, "strategy"),
			MaxSessions:  uint32(rapid.IntRange(1, 40).Draw(t, "sessions")), MaxJourneys: uint32(rapid.IntRange(1, 20).Draw(t, "journeys"))})
		require.NoError(t, err)
		gaps := rapid.SliceOfN(rapid.Int64Range(0, 100), 1, 9).Draw(t, "gaps")
		known := rapid.SliceOfN(rapid.Bool(), 1, 5).Draw(t, "known")
		lengths := rapid.SliceOfN(rapid.IntRange(0, 100), 0, 200).Draw(t, "lengths")

		most := int(req.GetMaxSessions())
		seen := map[string]bool{}
		counts, left := &ihcv1.Counts{}, 0
		asked := 0
		chunks, err := NewChunks(req, 1<<20, func(string, []byte) (bool, error) { asked++; return known[asked%len(known)], nil }, func(c Chunk) error {
			sessions := 0
			for _, j := range c.Journeys {
				require.False(t, seen[j.ConvID])
				seen[j.ConvID] = true
				require.Len(t, j.Fingerprint, journey.FingerprintBytes)
				sessions += len(j.Sessions)
				kind := ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED
				if long := j.Count > most && req.GetModel() == run.ModelAPI; long {
					kind = ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED
					require.Equal(t, req.GetLongJourneys(), j.Strategy)
				} else {
					require.Empty(t, j.Strategy)
					require.Zero(t, j.LeftOut())
				}
				left += j.LeftOut()
				run.Add(counts, kind, 1, uint64(len(j.Sessions)))
			}
			for _, o := range c.Outcomes {
				require.False(t, seen[o.GetConvId()])
				seen[o.GetConvId()] = true
				run.Add(counts, o.GetKind(), 1, o.GetSessions())
			}
			if req.GetModel() == run.ModelAPI && (len(c.Journeys) == 0 || c.Journeys[0].Strategy != run.LongBuiltin) {
				require.LessOrEqual(t, sessions, most)
			}
			require.LessOrEqual(t, len(c.Journeys), int(req.GetMaxJourneys()))
			return nil
		})
		require.NoError(t, err)
		for i, n := range lengths {
			require.NoError(t, chunks.Add(read(req, i, n, gaps)))
		}
		require.NoError(t, chunks.Flush())
		require.Len(t, seen, len(lengths))
		require.True(t, proto.Equal(counts, chunks.Counts), "%v, not %v", chunks.Counts, counts)
		require.EqualValues(t, len(lengths), run.Accounted(counts))
		if req.GetLongJourneys() != run.LongExclude || req.GetModel() == run.ModelBuiltin {
			require.Zero(t, counts.GetExcluded())
		}
		require.GreaterOrEqual(t, int(chunks.LeftOut), left)
	})
}

// Cut begins after the last gap at which the initializer curve is 1.
func TestCutBeginsWhereTheModelDoes(t *testing.T) {
	t.Parallel()
	req := &ihcv1.RunRequest{Model: run.ModelAPI, LongJourneys: run.LongCut, MaxSessions: 10, MaxJourneys: 10}
	var got []journey.Journey
	chunks, err := NewChunks(req, 1<<20, nil, func(c Chunk) error { got = append(got, c.Journeys...); return nil })
	require.NoError(t, err)
	gaps := make([]int64, 30) // 0 hours
	gaps[26], gaps[5] = 1000, 1000
	require.NoError(t, chunks.Add(read(req, 1, 30, gaps)))
	gaps[26] = 0 // the other is not among the latest ten
	require.NoError(t, chunks.Add(read(req, 2, 30, gaps)))
	require.NoError(t, chunks.Flush())
	require.Len(t, got, 2)
	lengths := map[string]int{}
	for _, j := range got {
		require.Equal(t, run.LongCut, j.Strategy)
		lengths[j.ConvID] = len(j.Sessions)
	}
	require.Equal(t, map[string]int{"c1": 4, "c2": 10}, lengths)
}
