package attributor

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// otherParams writes a file of parameters that give other shares than the
// default ones, so that a mixture shows.
func otherParams(t *testing.T) string {
	t.Helper()
	p := ihcmodel.DefaultParams()
	p.Name, p.PhaseWeights = "other", ihcmodel.Phases{Initializer: 0.8, Holder: 0.1, Closer: 0.1}
	path := filepath.Join(t.TempDir(), "params.json")
	require.NoError(t, os.WriteFile(path, p.JSON(), 0o600))
	return path
}

// accept publishes a run with what was settled for it, and its chunks.
func accept(t *testing.T, b *streamtest.Bus, scoring *ihcv1.Scoring, chunks ...*ihcv1.JourneyChunk) {
	t.Helper()
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{
		Request: &ihcv1.RunRequest{RunId: "run"}, Scoring: scoring, Asked: "2026-11-25T20:46:16Z #12"}}})
	p, err := b.NewChunkPublisher(b.Ctx, "run", true)
	require.NoError(t, err)
	for _, c := range chunks {
		c.Scoring = run.ScoringDigest(scoring)
		require.NoError(t, p.Publish(b.Ctx, c))
	}
	require.NoError(t, p.Flush(b.Ctx))
}

// whole returns what scored all results, which must be one thing.
func whole(t *testing.T, results map[uint32]*ihcv1.AttributionResult) (model string) {
	t.Helper()
	scoring := map[string]bool{}
	shares := map[uint32]bool{}
	for _, r := range results {
		scoring[hex.EncodeToString(r.GetScoring())+" "+r.GetModel()] = true
		model = r.GetModel()
		require.NotEmpty(t, r.GetScoring())
		for _, a := range r.GetAttributions() { // all journeys are alike
			shares[a.GetIhc()[0]] = true
		}
	}
	require.Len(t, scoring, 1, "a mixture")
	require.Len(t, shares, 1, "a mixture")
	return model
}

// One that has lost its key in the middle of a run scores nothing of it, says
// what it lacks, and leaves it to one that has it.
func TestRunOfTheAPIWaitsForTheKey(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	s, cfg := api(t, sandbox.Faults{}, nil)
	settled, err := cfg.Settle(&ihcv1.RunRequest{})
	require.NoError(t, err)
	accept(t, b, settled, chunks("run", 12, 3)...)
	lacking := cfg
	lacking.APIKey, lacking.Workers = "", 1
	lacks := make(chan error, 1000)
	b.Service(stream.StageAttributor, func(ctx context.Context, d service.Deps) error {
		d.Ready = func(err error) { lacks <- err }
		return Run(ctx, lacking, d)
	})
	b.Told(lacks, "has no key: set IHC_API_KEY")
	b.Results("run", 0)
	attribute(b, cfg)
	require.Equal(t, run.ModelAPI, whole(t, b.Results("run", 12)))
	require.Equal(t, 12, s.Stats().Requests)
}

// Where a run was accepted while nobody could say, the first to score settles it
// for all, whatever their own settings.
func TestAttributorsWithDifferentSettingsScoreARunAlike(t *testing.T) {
	t.Parallel()
	for range 3 {
		b := streamtest.New(t)
		s, cfg := api(t, sandbox.Faults{Latency: sandbox.Duration(5 * time.Millisecond)}, nil)
		_ = s
		other := Config{Workers: 1, Params: otherParams(t), Timeout: time.Second}
		attribute(b, cfg)
		attribute(b, other)
		attribute(b, Config{Workers: 1, Timeout: time.Second})
		accept(t, b, nil, chunks("run", 8, 3)...)
		whole(t, b.Results("run", 8))
	}
}

// The parameters travel with the run: a file that changed meanwhile, or another
// one, changes nothing of it.
func TestParametersOfARunAreThoseItBeganWith(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	settled, err := Config{Params: otherParams(t)}.Settle(&ihcv1.RunRequest{})
	require.NoError(t, err)
	all := chunks("run", 4, 2)
	all[0].Journeys[0].Fingerprint = []byte("0123456789abcdef")
	accept(t, b, settled, all...)
	attribute(b, Config{Workers: 2})
	results := b.Results("run", 4)
	require.Equal(t, "builtin other", whole(t, results))
	require.Equal(t, journey.ScoredBy([]byte("0123456789abcdef"), run.ScoringDigest(settled)), results[1].GetAttributions()[0].GetFingerprint())
}

func TestChunkThatIsToBeScoredOtherwiseEndsTheRun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	settled, err := Config{}.Settle(&ihcv1.RunRequest{})
	require.NoError(t, err)
	accept(t, b, settled, chunks("run", 1, 1)...)
	strange := chunks("run", 2, 1)[1:]
	strange[0].Scoring = []byte("something else")
	p, err := b.NewChunkPublisher(b.Ctx, "run", true)
	require.NoError(t, err)
	require.NoError(t, p.Publish(b.Ctx, strange[0]))
	require.NoError(t, p.Flush(b.Ctx))
	attribute(b, Config{Workers: 1})
	require.Contains(t, b.Await("run", isFailed).GetFailed().GetReason(), "to be scored otherwise")
}

// Everything that changes a share changes the digest, and nothing secret is in
// what travels.
func TestWhatIsSettledHoldsEverythingThatScores(t *testing.T) {
	t.Parallel()
	base := Config{APIKey: "very-secret", APIURL: "https://user:password@API.example/v1/", ConvTypeID: "one"}
	rules := &ihcv1.RedistributionParameter{Holder: &ihcv1.RedistributionRule{Direction: "any_session", RedistributionChannelLabels: []string{"SEO"}}}
	seen := map[string]string{}
	for name, c := range map[string]struct {
		config  Config
		request *ihcv1.RunRequest
	}{
		"the API":              {base, &ihcv1.RunRequest{}},
		"another type":         {base, &ihcv1.RunRequest{ConvTypeId: "two"}},
		"another address":      {Config{APIKey: "k", APIURL: "http://127.0.0.1:8088/v1", ConvTypeID: "one"}, &ihcv1.RunRequest{}},
		"redistributed":        {base, &ihcv1.RunRequest{RedistributionParameter: rules}},
		"the model":            {Config{}, &ihcv1.RunRequest{}},
		"other parameters":     {Config{Params: otherParams(t)}, &ihcv1.RunRequest{}},
		"model, redistributed": {Config{}, &ihcv1.RunRequest{RedistributionParameter: rules}},
	} {
		s, err := c.config.Settle(c.request)
		require.NoError(t, err, name)
		require.NotContains(t, s.String(), "secret")
		require.NotContains(t, s.String(), "password")
		digest := hex.EncodeToString(run.ScoringDigest(s))
		require.Empty(t, seen[digest], name)
		seen[digest] = name
	}
	same, err := Config{APIKey: "another", APIURL: "https://api.example/v1", ConvTypeID: "one"}.Settle(&ihcv1.RunRequest{Model: run.ModelAPI})
	require.NoError(t, err)
	require.Equal(t, "the API", seen[hex.EncodeToString(run.ScoringDigest(same))])
}
