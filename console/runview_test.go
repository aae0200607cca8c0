package console

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// The stage that gave a run up is told by itself, also where it was the first and
// the run had not begun.
func TestTheStageThatGaveUpIsTold(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)
	states := func(stage string) (all []string) {
		s := run.Fold([]run.Entry{
			{Time: at, Sequence: 1, Requested: &run.Requested{ID: "run", Request: &ihcv1.RunRequest{RunId: "run"}}},
			{Time: at.Add(time.Second), Sequence: 2, Event: &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Stage: stage, Reason: "no"}}}},
		})[0]
		for _, v := range stages(s, map[stream.Event]time.Time{}, at.Add(time.Minute)) {
			all = append(all, v.State)
		}
		return all
	}
	require.Equal(t, []string{"failed", "not reached", "not reached", "not reached"}, states(stream.StageExtractor))
	require.Equal(t, []string{"not reached", "not reached", "failed", "not reached"}, states(stream.StageWriter))
}
