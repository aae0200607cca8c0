package scoring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// memory keeps parts as the streams do.
type memory map[Node]*ihcv1.AttributionResult

func (m memory) Part(_ context.Context, id Node) (*ihcv1.AttributionResult, error) {
	return m[id], nil
}

func (m memory) KeepPart(_ context.Context, id Node, r *ihcv1.AttributionResult) error {
	m[id] = r
	return nil
}

func newAPI(t *testing.T, faults sandbox.Faults, front func(http.ResponseWriter) bool) (*sandbox.Sandbox, *API) {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{Key: "key", Faults: faults})
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front == nil || !front(w) {
			s.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	client, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: server.URL + "/v1", Key: "key"})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return s, &API{Calls: &Calls{Client: client, Breaker: &Breaker{}, Failures: &FailureTracker{}, Parts: memory{}, Observe: func(Request) {}, Log: slog.New(slog.DiscardHandler)}, ConvTypeID: "type"}
}

func many(n int) *ihcv1.JourneyChunk {
	c := &ihcv1.JourneyChunk{RunId: "run", Chunk: 1, Channels: []string{"SEO"}}
	for i := range n {
		c.Journeys = append(c.Journeys, &ihcv1.Journey{ConvId: fmt.Sprintf("c%d", i), SessionIds: []string{fmt.Sprintf("s%d", i)},
			TimeDeltas: []int64{1_600_000_000_000_000}, Channels: []uint32{0}, Flags: []byte{0}})
	}
	return c
}

func outcomes(s *Scored) (attributed int, failed []string) {
	for _, o := range s.Outcomes {
		failed = append(failed, o.GetConvId())
	}
	return len(s.Attributions), failed
}

func TestRefusedChunkIsDividedToTheCulprit(t *testing.T) {
	t.Parallel()
	for _, poison := range [][]string{{"c0"}, {"c63"}, {"c17", "c18"}, {"c0", "c31", "c32", "c63"}} {
		s, a := newAPI(t, sandbox.Faults{Poison: poison}, nil)
		got, err := a.Score(t.Context(), many(64))
		require.NoError(t, err)
		attributed, failed := outcomes(got)
		require.Equal(t, 64-len(poison), attributed)
		require.Equal(t, poison, failed)
		require.LessOrEqual(t, s.Stats().Requests, 1+2*6*len(poison))
		require.Zero(t, s.Stats().ConversionsScoredTwice)
	}
}

// Trouble in the middle of a divided chunk, such as a budget that is used up,
// does not have the parts paid again that were answered.
func TestPartsOfADividedChunkAreKept(t *testing.T) {
	t.Parallel()
	s, a := newAPI(t, sandbox.Faults{Poison: []string{"c5"}}, nil)
	spent := errors.New("spent")
	var got *Scored
	for rounds := 1; ; rounds++ {
		left := 1
		a.Spend = func(context.Context) error {
			if left--; left < 0 {
				return spent
			}
			return nil
		}
		var err error
		if got, err = a.Score(t.Context(), many(16)); err == nil {
			require.Equal(t, s.Stats().Requests, rounds)
			break
		}
		require.ErrorIs(t, err, spent)
		require.Less(t, rounds, 50, "no progress")
	}
	attributed, failed := outcomes(got)
	require.Equal(t, 15, attributed)
	require.Equal(t, []string{"c5"}, failed)
	require.Zero(t, s.Stats().ConversionsScoredTwice)
}

func TestNothingIsSentWithoutLeave(t *testing.T) {
	t.Parallel()
	s, a := newAPI(t, sandbox.Faults{}, nil)
	no := errors.New("no")
	a.Spend = func(context.Context) error { return no }
	_, err := a.Score(t.Context(), many(1))
	require.ErrorIs(t, err, no)
	require.Zero(t, s.Stats().Requests)
}

// A chunk that fails whenever others are answered is to blame itself.
func TestRepeatedTroubleLiesInTheChunk(t *testing.T) {
	t.Parallel()
	broken := false
	_, a := newAPI(t, sandbox.Faults{}, func(w http.ResponseWriter) bool {
		if broken {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return broken
	})
	one, other := many(1), many(1)
	other.Chunk = 2
	for range 3 * giveUpAfter { // the API is down: nobody's fault
		broken = true
		_, err := a.Score(t.Context(), one)
		var e *ihcapi.Error
		require.ErrorAs(t, err, &e)
	}
	for n := 1; ; n++ {
		broken = false
		_, err := a.Score(t.Context(), other)
		require.NoError(t, err)
		broken = true
		got, err := a.Score(t.Context(), one)
		if err == nil {
			_, failed := outcomes(got)
			require.Equal(t, []string{"c0"}, failed)
			require.Contains(t, got.Outcomes[0].GetReason(), "while other requests were answered")
			require.Equal(t, giveUpAfter-1, n)
			return
		}
		require.Less(t, n, giveUpAfter)
	}
}

func TestPayloadsCanBeSentAgainAndHoldNoKey(t *testing.T) {
	t.Parallel()
	s, a := newAPI(t, sandbox.Faults{Poison: []string{"c1"}}, nil)
	a.Payloads = t.TempDir()
	_, err := a.Score(t.Context(), many(2))
	require.NoError(t, err)
	for _, name := range []string{"chunk-000001.json", "chunk-000001-part-2.json", "chunk-000001-part-3.json"} {
		body, err := os.ReadFile(filepath.Join(a.Payloads, "run", name))
		require.NoError(t, err)
		require.NotContains(t, string(body), "key")
		_, err = a.Client.Compute(t.Context(), "type", body, 2)
		if name == "chunk-000001-part-2.json" {
			require.NoError(t, err)
		}
	}
	require.Zero(t, s.Stats().ContractViolations)
}

func TestPayloadsAreWrittenWithoutFollowingLinks(t *testing.T) {
	t.Parallel()
	_, a := newAPI(t, sandbox.Faults{}, nil)
	a.Payloads = t.TempDir()
	outside := t.TempDir()
	treasure := filepath.Join(outside, "treasure")
	require.NoError(t, os.WriteFile(treasure, []byte("gold"), 0o600))

	require.NoError(t, os.Symlink(outside, filepath.Join(a.Payloads, "run")))
	_, err := a.Score(t.Context(), many(2))
	require.ErrorContains(t, err, "cannot save request payloads")
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	require.NoError(t, os.Remove(filepath.Join(a.Payloads, "run")))
	require.NoError(t, os.Mkdir(filepath.Join(a.Payloads, "run"), 0o755))
	file := filepath.Join(a.Payloads, "run", "chunk-000001.json")
	require.NoError(t, os.Symlink(treasure, file))
	_, err = a.Score(t.Context(), many(2))
	require.NoError(t, err)
	gold, err := os.ReadFile(treasure)
	require.NoError(t, err)
	require.Equal(t, "gold", string(gold))
	is, err := os.Lstat(file)
	require.NoError(t, err)
	require.True(t, is.Mode().IsRegular())
}
