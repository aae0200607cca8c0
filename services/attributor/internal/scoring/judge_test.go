package scoring

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// untilScored asks again and again, as redelivery does, and returns the result.
func untilScored(t *testing.T, a *API, chunk *ihcv1.JourneyChunk, most int) (got *Scored, tries int) {
	t.Helper()
	for tries := 1; tries <= most; tries++ {
		got, err := a.Score(t.Context(), chunk)
		if err == nil {
			return got, tries
		}
		var e *ihcapi.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, ihcapi.Transient, e.Kind, err)
	}
	require.FailNowf(t, "no result", "after %d tries", most)
	return nil, 0
}

// A conversion that makes its request fail in whatever way is found, and fails
// alone, also when nothing else is left to ask.
func TestConversionThatBreaksItsRequestFailsAlone(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"500", "502", "504", "hang", "reset", "page"} {
		for _, journeys := range []int{1, 2, 64} {
			if way == "hang" && journeys != 2 {
				continue // each of its requests takes its time
			}
			t.Run(fmt.Sprintf("%s among %d", way, journeys), func(t *testing.T) {
				t.Parallel()
				culprit := fmt.Sprintf("c%d", journeys/2)
				s, a := newAPI(t, sandbox.Faults{Break: map[string]string{culprit: way}}, nil)
				if way == "hang" {
					client, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: a.Client.URL(), Key: "key", Timeout: time.Second})
					require.NoError(t, err)
					t.Cleanup(client.Close)
					a.Client = client
				}
				most := giveUpAfter + probeAfter
				if way == "hang" {
					most *= 10 // a busy machine does not answer others in time either
				}
				got, _ := untilScored(t, a, many(journeys), most)
				attributed, failed := outcomes(got)
				require.Equal(t, journeys-1, attributed)
				require.Equal(t, []string{culprit}, failed)
				require.Contains(t, got.Outcomes[0].GetReason(), "while other requests were answered")
				require.Zero(t, s.Stats().ConversionsScoredTwice)
				require.Zero(t, s.Stats().ContractViolations)
				// Failed ones, as many probes, and one for each division.
				require.LessOrEqual(t, s.Stats().Requests, 2*most+6)
			})
		}
	}
}

func TestConversionsThatBreakBothHalvesFailAlone(t *testing.T) {
	t.Parallel()
	s, a := newAPI(t, sandbox.Faults{Break: map[string]string{"c0": "500", "c63": "504"}}, nil)
	got, _ := untilScored(t, a, many(64), 2*(giveUpAfter+probeAfter))
	attributed, failed := outcomes(got)
	require.Equal(t, 62, attributed)
	require.Equal(t, []string{"c0", "c63"}, failed)
	require.LessOrEqual(t, s.Stats().Requests, 2*(2*(giveUpAfter+probeAfter)+6))
}

// While the API is down, by its own account or not, no conversion is blamed,
// however long that lasts.
func TestOutageBlamesNoConversion(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 500, 502, 503, 504} {
		down := true
		s, a := newAPI(t, sandbox.Faults{}, func(w http.ResponseWriter) bool {
			if down {
				w.WriteHeader(status)
			}
			return down
		})
		for range 5 * giveUpAfter {
			_, err := a.Score(t.Context(), many(8))
			require.Error(t, err)
		}
		down = false
		got, tries := untilScored(t, a, many(8), 1)
		attributed, failed := outcomes(got)
		require.Equal(t, 8, attributed)
		require.Empty(t, failed)
		require.Equal(t, 1, tries)
		require.Equal(t, 1, s.Stats().Requests, status)
	}
}

// What comes with success and is no reply of the API's is named, after some tries.
func TestRepliesThatAreNoneEndTheWaiting(t *testing.T) {
	t.Parallel()
	for instead, named := range map[string]string{
		"page":     `a page: "Sign in to the network"`,
		"envelope": "has no value",
		"list":     "array stands where an object belongs",
		"nothing":  "it ends too early",
	} {
		t.Run(instead, func(t *testing.T) {
			t.Parallel()
			s, a := newAPI(t, sandbox.Faults{Instead: instead}, nil)
			var e *ihcapi.Error
			for range strangeAfter {
				_, err := a.Score(t.Context(), many(8))
				require.ErrorAs(t, err, &e)
				if e.Kind != ihcapi.Transient {
					break
				}
			}
			require.Equal(t, ihcapi.Unexpected, e.Kind)
			require.ErrorContains(t, e, named)
			require.ErrorContains(t, e, "IHC_API_URL")
			require.Equal(t, strangeAfter, s.Stats().Requests)
			// The next run is given as many.
			_, err := a.Score(t.Context(), many(8))
			require.ErrorAs(t, err, &e)
			require.Equal(t, ihcapi.Transient, e.Kind)
		})
	}
}

func TestByteOrderMarkBeforeAReplyIsNoMatter(t *testing.T) {
	t.Parallel()
	_, a := newAPI(t, sandbox.Faults{Instead: "bom"}, nil)
	got, err := a.Score(t.Context(), many(8))
	require.NoError(t, err)
	require.Len(t, got.Attributions, 8)
}
