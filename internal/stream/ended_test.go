package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// After the streams were emptied a name may be that of another run.
func TestRunThatIsAcceptedAfterItsEndIsAnother(t *testing.T) {
	t.Parallel()
	e := Ended{runs: map[string]end{}, open: map[string]bool{}}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e.hear(EventAccepted, "run", at)
	e.hear(EventFailed, "run", at.Add(time.Second))
	e.hear(EventReported, "run", at.Add(2*time.Second))
	e.hear(EventAccepted, "run", at) // the past is told once more
	require.True(t, e.Has("run"))
	require.Empty(t, e.Open())
	e.hear(EventAccepted, "run", at.Add(time.Minute))
	require.False(t, e.Over("run"))
	require.Equal(t, []string{"run"}, e.Open())
	e.hear(EventReported, "run", at.Add(2*time.Minute))
	require.True(t, e.Over("run"))
	require.False(t, e.Has("run"))
}

func TestWhatWasPublishedBeforeTheStreamWasEmptiedIsPublishedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	s, err := r.js.Stream(r.ctx, Runs)
	require.NoError(t, err)
	publish := func() {
		for range 2 {
			require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: "run"}))
			require.NoError(t, c.PublishEvent(r.ctx, failed("run")))
		}
		info, err := s.Info(r.ctx)
		require.NoError(t, err)
		require.EqualValues(t, 2, info.State.Msgs)
	}
	publish()
	require.NoError(t, s.Purge(r.ctx))
	publish()
}
