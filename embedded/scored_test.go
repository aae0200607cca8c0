package embedded

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// How many chunks are scored is known of streams that are kept and of streams that
// drop a result as soon as it is stored: what the time left goes by.
func TestChunksThatAreScoredAreCountedWhereResultsAreDropped(t *testing.T) {
	const answered = 5
	for name, keep := range map[string]bool{"kept": true, "dropped": false} {
		t.Run(name, func(t *testing.T) {
			api := newGated(t, answered)
			u := start(t, func(c *Config) {
				c.Attributor.APIKey, c.Attributor.APIURL, c.Attributor.ConvTypeID = "key", api.URL+"/v1", "type"
				c.Keep = keep
			})
			u.shop()
			u.request(&ihcv1.RunRequest{MaxJourneys: 3})
			require.Eventually(t, func() bool {
				p, err := u.Client.Progress(t.Context(), "run")
				return err == nil && p[stream.StageAttributor].GetChunks() == answered && p[stream.StageWriter].GetChunks() == answered
			}, patience, 10*time.Millisecond)
			s, err := ops.New(u.Client).Get(t.Context(), "run")
			require.NoError(t, err)
			require.EqualValues(t, answered, s.Progress.ScoredChunks)
			require.Equal(t, run.PhaseScoring, s.Phase())
		})
	}
}
