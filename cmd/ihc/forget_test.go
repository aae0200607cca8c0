package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestForget(t *testing.T) {
	t.Parallel()
	s := newStack(t, t.TempDir(), sandbox.Faults{})
	first := decoded[run.Result](t, s.ok(newRunCmd(), "--json"))
	second := decoded[run.Result](t, s.ok(newRunCmd(), "--json", "--full"))
	s.refused(2, "by their ids or by --older-than", newForgetCmd())
	s.refused(2, "by their ids or by --older-than", newForgetCmd(), first.RunID, "--older-than", "1d")
	s.refused(2, `--older-than "soon"`, newForgetCmd(), "--older-than", "soon")
	s.refused(2, "run nobody is not known", newForgetCmd(), "nobody")
	s.refused(2, "run * is not known", newForgetCmd(), first.RunID, "*")
	require.Equal(t, "nothing to free\n", s.ok(newForgetCmd(), "--older-than", "3d"))
	stored, err := s.client.Stored(t.Context(), first.RunID)
	require.NoError(t, err)
	require.NotEmpty(t, stored)

	freed := decoded[[]jsonFreed](t, s.ok(newForgetCmd(), first.RunID, "--json"))[0]
	require.Equal(t, first.RunID, freed.Run)
	require.EqualValues(t, 2*len(stored), freed.Messages)
	require.Greater(t, freed.Bytes, uint64(1000))
	for _, places := range []func(context.Context, string) (map[uint32]uint64, error){s.client.Stored, s.client.Scored} {
		left, err := places(t.Context(), first.RunID)
		require.NoError(t, err)
		require.Empty(t, left)
		left, err = places(t.Context(), second.RunID)
		require.NoError(t, err)
		require.Len(t, left, len(stored), "another's were taken")
	}
	require.Equal(t, run.StatusCompleted, s.state(first.RunID).Status, "what became of it stays known")
	_, _, err = s.run(newReplayCmd(), first.RunID, "--from", "journeys")
	requireOneLine(t, err, 2, "are still stored")
	text := s.ok(newForgetCmd(), "--older-than", "0d")
	require.Contains(t, text, second.RunID+"  ")
	require.NotContains(t, text, first.RunID, "it had nothing more")
	require.Regexp(t, `freed \d+ messages, \d+\.\d [kM]B\n$`, text)
}

// A run that is not over, and one that is just being replayed, are not
// forgotten.
func TestWhatIsInUseIsNotForgotten(t *testing.T) {
	t.Parallel()
	s := newStack(t, t.TempDir(), sandbox.Faults{Rate5xx: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, s.client.PublishRequest(ctx, &ihcv1.RunRequest{RunId: "going"}))
	until := func(id string, is func(*ihcv1.RunEvent) bool) {
		require.NoError(t, s.client.Follow(ctx, id, func(e stream.StoredEvent) bool { return !is(e.Event) }))
	}
	until("going", func(e *ihcv1.RunEvent) bool { return e.GetExtracted() != nil })
	s.refused(2, "run going is not over (running): cancel it first (`ihc cancel going`)", newForgetCmd(), "going")
	s.ok(newCancelCmd(), "going")
	require.NoError(t, s.client.PublishRequest(ctx, &ihcv1.RunRequest{RunId: "again", ReplayOf: "going", ReplayFrom: run.FromJourneys}))
	until("again", func(e *ihcv1.RunEvent) bool { return e.GetExtracted() != nil })
	s.refused(2, "run going is being replayed by run again", newForgetCmd(), "going")
	require.Equal(t, "nothing to free\n", s.ok(newForgetCmd(), "--older-than", "0d"))
	s.ok(newCancelCmd(), "again")
	require.Contains(t, s.ok(newForgetCmd(), "going", "again"), "going")
}

// A run that cannot go on since a stream is full is told so by status, and goes
// on when another is forgotten.
func TestForgettingMakesRoomInAFullStream(t *testing.T) {
	dir := t.TempDir()
	s := newStack(t, dir, sandbox.Faults{})
	first := decoded[run.Result](t, s.ok(newRunCmd(), "--json"))
	nc, err := nats.Connect(s.url)
	require.NoError(t, err)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	journeys, err := js.Stream(t.Context(), stream.Journeys)
	require.NoError(t, err)
	nc.Close()
	s.stop()
	t.Setenv("IHC_STREAM_MAX_BYTES", fmt.Sprint(journeys.CachedInfo().State.Bytes*3/2)) // room for one run, not for two
	s = newStack(t, dir, sandbox.Faults{})
	require.NoError(t, s.client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "second"}))
	require.Eventually(t, func() bool { return strings.Contains(s.state("second").Waiting, "is full") }, time.Minute, 20*time.Millisecond)
	require.Contains(t, s.ok(newStatusCmd(), "second"), "`ihc forget RUN` frees what a run that is over left in the streams")
	require.Contains(t, s.ok(newForgetCmd(), first.RunID), "freed")
	_, _, err = s.run(newStatusCmd(), "second", "--watch")
	require.NoError(t, err)
	require.Empty(t, s.state("second").Waiting)
}
