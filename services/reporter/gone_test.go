package reporter

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// A run whose settings are gone for good is ended with the reason, and readiness
// says meanwhile what is missed.
func TestRunOfWhichNothingIsKnownEndsWithTheReason(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	dir := t.TempDir()
	cfg := Config{Database: filepath.Join(dir, "shop.db"), Out: filepath.Join(dir, "out")}
	newDB(t, cfg.Database)
	var mu sync.Mutex
	var said []string
	serve(b, cfg, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			said = append(said, err.Error())
		}
	})
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{Counts: counts}}})
	f := b.Await("run", func(e *ihcv1.RunEvent) bool { return e.GetFailed() != nil }).GetFailed()
	require.Contains(t, f.GetReason(), "was the stream IHC_RUNS emptied")
	b.Idle(stream.Written)
	require.Empty(t, b.Dead(0))
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, said, f.GetReason())
}
