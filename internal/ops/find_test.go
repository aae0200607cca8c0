package ops

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestRunsAreFoundByWhatPeopleCallThem(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, err := s.Find(s.Ctx, Last)
	require.ErrorIs(t, err, ErrUnknown)
	for _, id := range []string{"20230901-a", "20230901-b", "nightly", "20230901"} {
		_, err := s.Start(s.Ctx, &ihcv1.RunRequest{RunId: id})
		require.NoError(t, err)
	}
	for name, want := range map[string]string{"night": "nightly", "20230901-b": "20230901-b", "20230901": "20230901", Last: "20230901"} {
		got, err := s.Find(s.Ctx, name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	for _, wrong := range []string{"2023", "x", "", "a b"} {
		_, err := s.Find(s.Ctx, wrong)
		require.Equal(t, errkind.Input, errkind.KindOf(err), wrong)
	}
}

func TestRequestOfTheSameIdIsTheSameRun(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	same, err := run.Complete(&ihcv1.RunRequest{RunId: "run", MaxRequests: 3})
	require.NoError(t, err)
	id, err := s.Start(s.Ctx, same)
	require.NoError(t, err)
	require.Equal(t, "run", id)
	_, err = s.Start(s.Ctx, &ihcv1.RunRequest{RunId: "run", LookbackDays: 3})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, "run run is there already, and was asked for with other settings")
}

func TestRunIsEndedAsFailedOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	require.NoError(t, s.Fail(s.Ctx, "run", errors.New("too late")))
	_, err := s.follow("run")
	stopped(t, err, run.StatusFailed, errkind.Run)
	require.EqualError(t, err, "too late")
	require.NoError(t, s.Fail(s.Ctx, "run", errors.New("later still")))
	require.ErrorIs(t, s.Fail(s.Ctx, "unknown", errors.New("too late")), ErrUnknown)
	s.extracted("done")
	s.reported("done", 0)
	require.NoError(t, s.Fail(s.Ctx, "done", errors.New("too late")))
	require.Equal(t, run.StatusCompleted, s.status("done"))
}

func TestRunsOfStreamsOnWhichNothingWorksAreInterrupted(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	s.extracted("done")
	s.reported("done", 0)
	idle := Idle(s.Client)
	state, err := idle.Get(s.Ctx, "run")
	require.NoError(t, err)
	require.Equal(t, []any{run.StatusInterrupted, run.PhaseScoring, false}, []any{state.Status(), state.Phase(), state.Status().Ended()})
	require.Equal(t, state.Took(state.Started), state.Took(state.Started.AddDate(1, 0, 0)), "its time does not run on")
	was := state.Took(state.Started)
	s.PutProgress(s.Ctx, "run", &ihcv1.Progress{Chunks: 1})
	state, err = idle.Get(s.Ctx, "run")
	require.NoError(t, err)
	require.Greater(t, state.Took(state.Started), was, "but on to what was last told of it")
	state, err = idle.Get(s.Ctx, "done")
	require.NoError(t, err)
	require.Equal(t, run.StatusCompleted, state.Status())
}
