package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// After the streams were emptied a name may be that of another run.
func TestRunThatIsAcceptedAfterItsEndIsAnother(t *testing.T) {
	t.Parallel()
	e := Ended{runs: map[string]end{}, open: map[string]time.Time{}}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e.hear(EventAccepted, "run", at, at.Add(-time.Second))
	e.hear(EventFailed, "run", at.Add(time.Second), at.Add(-time.Second))
	e.hear(EventReported, "run", at.Add(2*time.Second), at.Add(-time.Second))
	e.hear(EventAccepted, "run", at, at.Add(-time.Second)) // the past is told once more
	require.True(t, e.Has("run"))
	require.Empty(t, e.Open())
	require.False(t, e.hear(EventAccepted, "run", at.Add(time.Minute), at), "it was ended while it waited")
	require.True(t, e.Has("run"))
	e.hear(EventAccepted, "run", at.Add(time.Minute), at.Add(time.Second*50))
	require.False(t, e.Over("run"))
	require.Equal(t, []string{"run"}, e.Open())
	e.hear(EventReported, "run", at.Add(2*time.Minute), at.Add(-time.Second))
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

// The one rule, for whoever looks at the stream and for whoever watches it.
func TestEndCountsAfterTheRunsBeginning(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client("test")
	told := make(chan string, 100)
	live := c.WatchEnded(r.ctx, func(e Event, run string) { told <- string(e) + " " + run })
	cancel := func(id string) {
		t.Helper()
		_, err := r.js.Publish(r.ctx, eventSubject(EventCancelled, id), nil)
		require.NoError(t, err)
	}
	request := func(id string) uint64 {
		t.Helper()
		require.NoError(t, c.PublishRequest(r.ctx, &ihcv1.RunRequest{RunId: id}))
		begun, err := c.Begun(r.ctx, id)
		require.NoError(t, err)
		return begun
	}
	accept := func(id string, asked uint64) {
		t.Helper()
		data, err := proto.Marshal(&ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Asked: run.Asked(time.Now(), asked)}}})
		require.NoError(t, err)
		_, err = r.js.Publish(r.ctx, eventSubject(EventAccepted, id), data)
		require.NoError(t, err)
	}
	cancel("never")
	cancel("early")
	cancel("waits-v2") // as yet nobody's
	accept("early", request("early"))
	request("queued")
	cancel("queued")
	begun := request("moment")
	cancel("moment")
	accept("moment", begun)
	accept("waits", request("waits"))
	superseded := failed("waits")
	superseded.GetFailed().SupersededBy = "waits-v2"
	require.NoError(t, c.PublishEvent(r.ctx, superseded))
	require.NoError(t, c.PublishEvent(r.ctx, failed("waits-v2")), "it did not even begin")
	accept("last", request("last"))
	cancel("last")

	for heard := ""; heard != "cancelled last"; {
		select {
		case heard = <-told:
		case <-r.ctx.Done():
			t.Fatal("was told nothing")
		}
		require.NotContains(t, []string{"cancelled never", "cancelled early", "cancelled waits-v2"}, heard)
	}
	for _, e := range []*Ended{live, c.WatchEnded(r.ctx)} {
		for id, over := range map[string]bool{"never": false, "early": false, "queued": true, "moment": true, "waits": true, "waits-v2": true, "last": true} {
			require.Equal(t, over, e.Over(id), id)
			end, err := c.Over(r.ctx, id)
			require.NoError(t, err)
			require.Equal(t, over, end != nil, id)
		}
		require.Equal(t, []string{"early"}, e.Open())
	}
}
