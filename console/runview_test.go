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

// A run that is paused works on nothing, and says what is to score it.
func TestPausedRunsStagesArePausedAndItsModelIsThatWhichWasSettled(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)
	event := func(n uint64, e *ihcv1.RunEvent) run.Entry {
		e.RunId = "run"
		return run.Entry{Time: at.Add(time.Duration(n) * time.Second), Sequence: n, Event: e}
	}
	s := run.Fold([]run.Entry{
		{Time: at, Sequence: 1, Requested: &run.Requested{ID: "run", Request: &ihcv1.RunRequest{RunId: "run"}}},
		event(2, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}, Scoring: &ihcv1.Scoring{Model: "api"}}}}),
		event(3, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: 2}}}),
		event(4, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{Requests: 1}}}),
	})[0]
	require.Equal(t, "api", s.Model())
	seen := map[stream.Event]time.Time{stream.EventAccepted: at.Add(2 * time.Second), stream.EventExtracted: at.Add(3 * time.Second)}
	var states, worked []string
	for _, v := range stages(s, seen, at.Add(12*time.Second)) {
		states, worked = append(states, v.State), append(worked, v.For)
	}
	require.Equal(t, []string{"done", "paused", "paused", "waiting"}, states)
	require.Equal(t, []string{"1s", "10s", "10s", ""}, worked)
}
