package ops

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

type stack struct {
	*streamtest.Bus
	*Runs
	t *testing.T
}

func newStack(t *testing.T) stack {
	t.Helper()
	b := streamtest.New(t)
	return stack{b, New(b.Client), t}
}

var counts = &ihcv1.Counts{InRange: 1, Attributed: 1, Touchpoints: 1}

// extracted stores a run with one chunk, which nobody scores.
func (s stack) extracted(id string) {
	s.t.Helper()
	_, err := s.Start(s.Ctx, &ihcv1.RunRequest{RunId: id})
	require.NoError(s.t, err)
	s.Publish(&ihcv1.RunRequest{RunId: id}, counts, &ihcv1.JourneyChunk{RunId: id, Chunk: 1, Outcomes: []*ihcv1.Outcome{{ConvId: "c"}}})
}

// buried moves all chunks there are to the dead letters.
func (s stack) buried(n int) []stream.DeadLetter {
	s.t.Helper()
	stop := s.Service(stream.StageAttributor, func(ctx context.Context, d service.Deps) error {
		return stream.Consume(ctx, d.Bus, stream.Chunks, 1, nil, stream.Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} }),
			func(context.Context, stream.Message[*ihcv1.JourneyChunk]) error {
				return stream.Poison(errors.New("out of order"))
			})
	})
	defer stop()
	return s.Dead(n)
}

func (s stack) reported(id string, failed uint64) {
	s.t.Helper()
	s.Event(id, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{
		Report: &ihcv1.Report{RunId: id, Counts: &ihcv1.Counts{InRange: 1, Failed: failed, Attributed: 1 - failed}}}}})
}

func (s stack) follow(id string) (*run.State, error) {
	return s.Follow(s.Ctx, id, time.Millisecond, func(Update) {})
}

func (s stack) status(id string) run.Status {
	s.t.Helper()
	state, err := s.Get(s.Ctx, id)
	require.NoError(s.t, err)
	return state.Status()
}

// stopped asks that an error be of a run in the state, and of the kind.
func stopped(t *testing.T, err error, status run.Status, kind errkind.Kind) {
	t.Helper()
	var stop *StateError
	require.ErrorAs(t, err, &stop)
	require.Equal(t, []any{status, kind}, []any{stop.Status, errkind.KindOf(err)}, err)
}

func TestRunIsFollowedFromRequestToReport(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	all, err := s.List(s.Ctx)
	require.NoError(t, err)
	require.Empty(t, all)
	id, err := s.Start(s.Ctx, &ihcv1.RunRequest{StartDate: "2023-09-01"})
	require.NoError(t, err)
	require.True(t, run.ValidID(id))
	require.Equal(t, run.StatusRequested, s.status(id))

	heard := make(chan Update, 1000)
	type end struct {
		state *run.State
		err   error
	}
	ended := make(chan end, 1)
	go func() {
		state, err := s.Follow(s.Ctx, id, time.Millisecond, func(u Update) { heard <- u })
		ended <- end{state, err}
	}()
	s.Publish(&ihcv1.RunRequest{RunId: id}, counts, &ihcv1.JourneyChunk{RunId: id, Chunk: 1})
	require.NotNil(t, await(t, heard, func(u Update) bool { return u.Event != nil }).Event.GetAccepted())
	require.NotNil(t, await(t, heard, func(u Update) bool { return u.Event != nil }).Event.GetExtracted())
	s.PutProgress(s.Ctx, id, &ihcv1.Progress{Conversions: 1}) // by a stage that nobody knows
	state, err := s.Get(s.Ctx, id)
	require.NoError(t, err)
	require.Equal(t, []any{run.StatusRunning, run.PhaseScoring}, []any{state.Status(), state.Phase()})
	require.NoError(t, s.PublishResult(s.Ctx, &ihcv1.AttributionResult{RunId: id, Chunk: 1}))
	state, err = s.Get(s.Ctx, id)
	require.NoError(t, err)
	require.Equal(t, run.PhaseWriting, state.Phase())
	await(t, heard, func(u Update) bool { return u.Event == nil })
	s.reported(id, 1)
	e := <-ended
	require.NoError(t, e.err)
	require.Equal(t, []any{run.StatusPartly, id}, []any{e.state.Status(), e.state.Report.GetRunId()})
	all, err = s.List(s.Ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
}

// What a stage tells may be missing at a look; what was known before still holds.
func TestWhatIsScoredIsNotForgottenWhereAStageIsMissed(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	f := follower{Runs: s.Runs, state: &run.State{ID: "run", Progress: run.Progress{Writer: &ihcv1.Progress{Chunks: 7}, ScoredChunks: 7}}, tell: func(Update) {}}
	f.progress(s.Ctx)
	require.EqualValues(t, 7, f.state.Progress.ScoredChunks)
	require.EqualValues(t, 7, f.state.Progress.Writer.GetChunks())
}

// Anybody can publish, and what they publish keeps nobody from the other runs.
func TestEventsThatMakeNoSenseHideNoRun(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for _, m := range [][2]string{
		{"ihc.v1.run.accepted.x", `{"run_id":"a b > *","accepted":{"results_run":"c.d"}}`},
		{"ihc.v1.run.accepted.y", `{"accepted":{"request":{"run_id":"z"},"results_run":"*"}}`},
		{"ihc.v1.run.reported.y", `{"reported":{}}`},
		{"ihc.v1.run.failed.y", "garbage"},
		{"ihc.v1.run.extracted.z", `{}`},
	} {
		_, err := s.JS.Publish(s.Ctx, m[0], []byte(m[1]))
		require.NoError(t, err)
	}
	s.extracted("run")
	all, err := s.List(s.Ctx)
	require.NoError(t, err)
	var ids []string
	for _, state := range all {
		ids = append(ids, state.ID)
	}
	require.ElementsMatch(t, []string{"y", "run"}, ids, "an event is of the run that its subject names, or of none")
	require.Equal(t, run.StatusRunning, s.status("run"))
	require.Equal(t, run.StatusCompleted, s.status("y"))
}

func await(t *testing.T, heard <-chan Update, wanted func(Update) bool) Update {
	t.Helper()
	for {
		select {
		case u := <-heard:
			if wanted(u) {
				return u
			}
		case <-t.Context().Done():
			t.Fatal("was told nothing")
		}
	}
}

func TestWhatIsNotThereIsUnknown(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.Event("ghost", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	for _, id := range []string{"nobody", "ghost", "*", "", "a.b"} {
		_, err := s.Get(s.Ctx, id)
		require.ErrorIs(t, err, ErrUnknown, id)
		require.Equal(t, errkind.Input, errkind.KindOf(err))
	}
	_, err := s.Cancel(s.Ctx, "nobody", "")
	require.ErrorIs(t, err, ErrUnknown)
	require.ErrorIs(t, s.Resume(s.Ctx, "nobody", 1), ErrUnknown)
	_, err = s.Replay(s.Ctx, &ihcv1.RunRequest{ReplayOf: "nobody", ReplayFrom: run.FromResults})
	require.ErrorIs(t, err, ErrUnknown)
	_, err = s.DeadLetter(s.Ctx, 7)
	require.ErrorIs(t, err, ErrUnknown)
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	_, err = s.DeadLetters(s.Ctx, "a.b")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	all, err := s.List(s.Ctx)
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestWhatEndsARunComesAfterItWasAskedFor(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	cancel := &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{Reason: "wrong dates"}}}
	fail := &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Reason: "no such column", Cause: ihcv1.Cause_CAUSE_INPUT}}}

	s.Event("run", cancel)
	s.Event("run", fail)
	s.extracted("run")
	require.Equal(t, run.StatusRunning, s.status("run"))
	s.reported("run", 0)
	state, err := s.follow("run")
	require.NoError(t, err)
	require.Equal(t, []run.Status{run.StatusCompleted, run.StatusCompleted}, []run.Status{state.Status(), s.status("run")})

	// A run that waits can be cancelled, and whoever follows it hears of it.
	_, err = s.Start(s.Ctx, &ihcv1.RunRequest{RunId: "waits"})
	require.NoError(t, err)
	did, err := s.Cancel(s.Ctx, "waits", "wrong dates")
	require.NoError(t, err)
	require.True(t, did)
	_, err = s.follow("waits")
	require.ErrorContains(t, err, "run waits was cancelled: wrong dates")

	// One that takes another's place is asked for by the end of that one.
	s.extracted("late")
	s.Event("late", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Reason: "the source has changed", Cause: ihcv1.Cause_CAUSE_RUN, SupersededBy: "late-v2"}}})
	require.Equal(t, run.StatusRequested, s.status("late-v2"))
	s.Event("late-v2", fail)
	require.Equal(t, run.StatusFailed, s.status("late-v2"))
	_, err = s.follow("late")
	require.ErrorContains(t, err, "no such column")
	all, err := s.List(s.Ctx)
	require.NoError(t, err)
	require.Len(t, all, 4)
}

func TestEndsThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	var err error
	f := &ihcv1.RunFailed{Reason: "no such column", Cause: ihcv1.Cause_CAUSE_INPUT}
	s.extracted("bad")
	s.Event("bad", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: f}})
	_, err = s.follow("bad")
	require.ErrorContains(t, err, f.GetReason())
	stopped(t, err, run.StatusFailed, errkind.KindOf(run.Fault(f)))

	// Who follows a run that was superseded goes on with the one in its place.
	s.extracted("late")
	s.Event("late", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Reason: "the source has changed", Cause: ihcv1.Cause_CAUSE_RUN, SupersededBy: "bad"}}})
	state, err := s.follow("late")
	require.ErrorContains(t, err, f.GetReason())
	require.Equal(t, "bad", state.ID)
	require.Equal(t, []run.Status{run.StatusFailed, run.StatusSuperseded}, []run.Status{s.status("bad"), s.status("late")})

	s.extracted("wrong")
	did, err := s.Cancel(s.Ctx, "wrong", "wrong dates")
	require.NoError(t, err)
	require.True(t, did)
	did, err = s.Cancel(s.Ctx, "wrong", "again")
	require.NoError(t, err)
	require.False(t, did)
	_, err = s.follow("wrong")
	require.ErrorContains(t, err, "run wrong was cancelled: wrong dates")
	stopped(t, err, run.StatusCancelled, errkind.Run)

	s.extracted("good")
	s.reported("good", 0)
	_, err = s.Cancel(s.Ctx, "good", "")
	stopped(t, err, run.StatusCompleted, errkind.Input)
	s.Event("good", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	require.Equal(t, run.StatusCompleted, s.status("good"), "a run that is over was cancelled")
}

func TestFollowerIsToldOfAPauseThatHolds(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	stopped(t, s.Resume(s.Ctx, "run", 1), run.StatusRunning, errkind.Input)
	s.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{}}})
	_, err := s.follow("run")
	require.ErrorIs(t, err, ErrSpent)
	stopped(t, err, run.StatusPaused, errkind.Paused)
	require.NoError(t, s.Resume(s.Ctx, "run", 5))
	state, err := s.Get(s.Ctx, "run")
	require.NoError(t, err)
	require.Equal(t, []any{run.StatusRunning, uint64(5)}, []any{state.Status(), state.MaxRequests})
	s.reported("run", 0)
	_, err = s.follow("run")
	require.NoError(t, err, "a pause of the past stopped a follower")
}

func TestReplayStartsFromARunThatWasExtracted(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, err := s.Start(s.Ctx, &ihcv1.RunRequest{RunId: "early"})
	require.NoError(t, err)
	_, err = s.Replay(s.Ctx, &ihcv1.RunRequest{ReplayOf: "early", ReplayFrom: run.FromJourneys})
	stopped(t, err, run.StatusRequested, errkind.Input)
	s.extracted("run")
	id, err := s.Replay(s.Ctx, &ihcv1.RunRequest{ReplayOf: "run", ReplayFrom: run.FromJourneys})
	require.NoError(t, err)
	state, err := s.Get(s.Ctx, id)
	require.NoError(t, err)
	require.Equal(t, "run", state.Request.GetReplayOf())
}

func TestDeadLettersStopARunUntilTheyArePutBack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	letters := s.buried(1)
	_, err := s.follow("run")
	require.ErrorContains(t, err, "a message of the attributor is among the dead letters: out of order")
	stopped(t, err, run.StatusStuck, errkind.Run)
	message, err := Message(letters[0])
	require.NoError(t, err)
	require.Contains(t, string(message), `"run_id":"run"`)
	put, left, err := s.Requeue(s.Ctx, letters)
	require.NoError(t, err)
	require.Equal(t, []any{1, 0}, []any{put, len(left)})
	require.Equal(t, run.StatusRunning, s.status("run"))

	// One that is left when the run is over does not hold a follower up.
	letters = s.buried(1)
	s.reported("run", 0)
	_, err = s.follow("run")
	require.NoError(t, err)
	require.NoError(t, s.Purge(s.Ctx, letters))
	require.NoError(t, s.Purge(s.Ctx, letters), "what is gone is gone")
	letters, err = s.DeadLetters(s.Ctx, "")
	require.NoError(t, err)
	require.Empty(t, letters)
}

func TestDeadLettersOfARunThatWasEndedStay(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	letters := s.buried(1)
	_, err := s.Cancel(s.Ctx, "run", "")
	require.NoError(t, err)
	put, left, err := s.Requeue(s.Ctx, letters)
	require.NoError(t, err)
	require.Zero(t, put)
	require.Equal(t, run.StatusCancelled, left[0].Status)
}

func TestFailedConversionsAreThoseOfTheLastRevision(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	failing := func(chunk, revision uint32, ids ...string) {
		r := &ihcv1.AttributionResult{RunId: "run", Chunk: chunk, Revision: revision, Outcomes: []*ihcv1.Outcome{{ConvId: "fine", Kind: ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED}}}
		for _, id := range ids {
			r.Outcomes = append(r.Outcomes, &ihcv1.Outcome{ConvId: id, Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, Reason: "why", Sessions: 2})
		}
		require.NoError(t, s.PublishResult(s.Ctx, r))
	}
	failing(2, 0, "z", "y")
	failing(1, 0, "a", "b")
	failing(1, 1, "b")
	state, err := s.Get(s.Ctx, "run")
	require.NoError(t, err)
	failed, err := s.Failed(s.Ctx, state)
	require.NoError(t, err)
	require.Equal(t, []FailedConversion{{"b", 1, 2, "why"}, {"y", 2, 2, "why"}, {"z", 2, 2, "why"}}, failed)
}

// What is meant for a run that was superseded, as that its time is over, ends the one
// that took its place.
func TestRunThatTookAnothersPlaceIsFailedInItsStead(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.extracted("run")
	s.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Reason: "the source has changed", Cause: ihcv1.Cause_CAUSE_RUN, SupersededBy: "run-v2"}}})
	require.NoError(t, s.Fail(s.Ctx, "run", errors.New("not done within 1s")))
	require.Equal(t, run.StatusSuperseded, s.status("run"))
	require.Equal(t, run.StatusFailed, s.status("run-v2"))
	last, err := s.Latest(s.Ctx, "run")
	require.NoError(t, err)
	require.Equal(t, "run-v2", last.ID)
	require.Equal(t, "not done within 1s", last.Reason)
	require.NoError(t, s.Fail(s.Ctx, "run", errors.New("too late")), "it has ended")
}

// When a run was asked for is told by what accepted it or, before that, by its request
// or the end of the run whose place it takes.
func TestWhenARunWasAskedForIsKnownBeforeItIsAccepted(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, err := s.Asked(s.Ctx, "run")
	require.ErrorIs(t, err, stream.ErrNotFound)
	s.extracted("run")
	requests, err := s.Requests(s.Ctx)
	require.NoError(t, err)
	is, err := s.Asked(s.Ctx, "run")
	require.NoError(t, err)
	require.Equal(t, run.Asked(requests[0].Time, requests[0].Sequence), is)
	s.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Reason: "the source has changed", Cause: ihcv1.Cause_CAUSE_RUN, SupersededBy: "next"}}})
	replaced, err := s.Replaced(s.Ctx)
	require.NoError(t, err)
	is, err = s.Asked(s.Ctx, "next")
	require.NoError(t, err)
	require.Equal(t, run.Asked(replaced[0].Time, replaced[0].Sequence), is)
	s.Event("next", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "next"}, Asked: "then #7"}}})
	is, err = s.Asked(s.Ctx, "next")
	require.NoError(t, err)
	require.Equal(t, "then #7", is)
}
