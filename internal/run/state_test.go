package run_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

var noon = time.Date(2023, 9, 1, 12, 0, 0, 0, time.UTC)

// life numbers entries as a stream would, a second apart.
func life(entries ...run.Entry) []run.Entry {
	all := make([]run.Entry, len(entries))
	for i, e := range entries {
		e.Sequence, e.Time = uint64(i+1), noon.Add(time.Duration(i)*time.Second)
		all[i] = e
	}
	return all
}

func asked(id string) run.Entry {
	return run.Entry{Requested: &run.Requested{ID: id, Request: &ihcv1.RunRequest{RunId: id, MaxRequests: 7}}}
}

func dead(id string) run.Entry { return run.Entry{Dead: &run.Dead{Run: id}} }

func event(e *ihcv1.RunEvent) run.Entry {
	if e.GetRunId() == "" {
		e.RunId = "a"
	}
	return run.Entry{Event: e}
}

func accepted() run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "a", MaxRequests: 7}}}})
}

func extracted() run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: 3,
		Counts: &ihcv1.Counts{InRange: 10, Attributed: 9, WithoutSessions: 1, Touchpoints: 30}}}})
}

func written() run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{Counts: &ihcv1.Counts{InRange: 10, Attributed: 8, Failed: 1, WithoutSessions: 1}}}})
}

func reported(failed uint64, holds bool, revision uint32) run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{Revision: revision, Report: &ihcv1.Report{Model: "api",
		Counts:         &ihcv1.Counts{InRange: 10, Attributed: 10 - failed, Failed: failed, Touchpoints: 28},
		Requests:       5,
		Reconciliation: []*ihcv1.Equation{{Name: "first", Holds: true}, {Name: "second", Holds: holds}}}}}})
}

func failed(by string) run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{Reason: "the disk is gone", SupersededBy: by}}})
}

func cancelled(why string) run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{Reason: why}}})
}

func paused(since uint64) run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{Since: since}}})
}

func resumed(more uint64) run.Entry {
	return event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: more}}})
}

func TestStates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		life  []run.Entry
		want  run.Status
		phase run.Phase
	}{
		"asked for":                    {life(asked("a")), run.StatusRequested, ""},
		"asked for and resumed":        {life(asked("a"), resumed(0)), run.StatusRequested, ""},
		"asked for twice":              {life(asked("a"), asked("a")), run.StatusRequested, ""},
		"accepted":                     {life(asked("a"), accepted()), run.StatusRunning, run.PhaseExtracting},
		"its request is not kept":      {life(accepted()), run.StatusRunning, run.PhaseExtracting},
		"extracted":                    {life(asked("a"), accepted(), extracted()), run.StatusRunning, run.PhaseScoring},
		"written":                      {life(asked("a"), accepted(), extracted(), written()), run.StatusRunning, run.PhaseReporting},
		"paused":                       {life(asked("a"), accepted(), paused(0)), run.StatusPaused, run.PhaseExtracting},
		"resumed":                      {life(asked("a"), accepted(), paused(0), resumed(5)), run.StatusRunning, run.PhaseExtracting},
		"paused once more":             {life(asked("a"), accepted(), paused(0), resumed(5), paused(4)), run.StatusPaused, run.PhaseExtracting},
		"a pause that came late":       {life(asked("a"), accepted(), paused(0), resumed(5), paused(0)), run.StatusRunning, run.PhaseExtracting},
		"stuck":                        {life(asked("a"), accepted(), extracted(), dead("a")), run.StatusStuck, run.PhaseScoring},
		"paused and stuck":             {life(asked("a"), accepted(), paused(0), dead("a")), run.StatusStuck, run.PhaseExtracting},
		"the dead letter of another":   {life(asked("a"), accepted(), dead("b")), run.StatusRunning, run.PhaseExtracting},
		"its request is a dead letter": {life(asked("a"), run.Entry{Dead: &run.Dead{Run: "unknown", Request: 1}}), run.StatusStuck, ""},
		"reported":                     {life(asked("a"), accepted(), reported(0, true, 0)), run.StatusCompleted, ""},
		"reported with failures":       {life(asked("a"), accepted(), reported(1, true, 0)), run.StatusPartly, ""},
		"an equation does not hold":    {life(asked("a"), accepted(), reported(0, false, 0)), run.StatusUnreconciled, ""},
		"neither holds nor whole":      {life(asked("a"), accepted(), reported(1, false, 0)), run.StatusUnreconciled, ""},
		"over with a dead letter left": {life(asked("a"), accepted(), reported(0, true, 0), dead("a")), run.StatusCompleted, ""},
		"failed":                       {life(asked("a"), accepted(), failed("")), run.StatusFailed, ""},
		"refused":                      {life(asked("a"), failed("")), run.StatusFailed, ""},
		"superseded":                   {life(asked("a"), accepted(), failed("b")), run.StatusSuperseded, ""},
		"cancelled":                    {life(asked("a"), accepted(), cancelled("why")), run.StatusCancelled, ""},
		"cancelled while paused":       {life(asked("a"), accepted(), paused(0), cancelled("why")), run.StatusCancelled, ""},
		// What is said of a run before it is asked for is nothing to it.
		"cancelled before it is asked": {life(cancelled("why"), asked("a")), run.StatusRequested, ""},
		"failed before it is asked":    {life(failed(""), asked("a"), accepted()), run.StatusRunning, run.PhaseExtracting},
		"reported before it is asked":  {life(reported(0, true, 0), asked("a"), accepted()), run.StatusRunning, run.PhaseExtracting},
		"paused before it is asked":    {life(paused(0), asked("a"), accepted()), run.StatusRunning, run.PhaseExtracting},
		"a dead letter before it":      {[]run.Entry{{Requested: asked("a").Requested, Time: noon, Sequence: 9}, {Dead: dead("a").Dead, Time: noon.Add(-time.Hour), Sequence: 2}}, run.StatusRequested, ""},
		"cancelled while it waits":     {life(cancelled("early"), asked("a"), cancelled("why"), accepted()), run.StatusCancelled, ""},
		// The first end counts.
		"cancelled after its end":     {life(asked("a"), accepted(), reported(0, true, 0), cancelled("late")), run.StatusCompleted, ""},
		"failed after its end":        {life(asked("a"), accepted(), reported(1, true, 0), failed("")), run.StatusPartly, ""},
		"reported after it was ended": {life(asked("a"), accepted(), cancelled("why"), reported(0, true, 3)), run.StatusCancelled, ""},
		"paused after its end":        {life(asked("a"), accepted(), failed(""), paused(0), resumed(0)), run.StatusFailed, ""},
		"asked for after its end":     {life(asked("a"), accepted(), failed(""), asked("a"), accepted()), run.StatusFailed, ""},
		"reported anew":               {life(asked("a"), accepted(), reported(1, true, 0), reported(0, true, 1)), run.StatusCompleted, ""},
		"reported twice":              {life(asked("a"), accepted(), reported(1, true, 1), reported(0, true, 1)), run.StatusPartly, ""},
	} {
		states := run.Fold(c.life)
		require.Len(t, states, 1, name)
		require.Equal(t, "a", states[0].ID, name)
		require.Equal(t, []any{c.want, c.phase}, []any{states[0].Status(), states[0].Phase()}, name)
		require.Equal(t, c.want.Ended(), !states[0].Ended.IsZero(), name)
	}
}

func TestEventsAloneMakeNoRun(t *testing.T) {
	t.Parallel()
	require.Empty(t, run.Fold(life(extracted(), written(), paused(0), resumed(1), cancelled(""), failed(""), reported(0, true, 0), dead("a"))))
	require.Empty(t, run.Fold(nil))
}

// What there is to do is not told as done.
func TestPlanIsNotTakenForWork(t *testing.T) {
	t.Parallel()
	s := run.Fold(life(asked("a"), accepted(), extracted()))[0]
	require.Nil(t, s.Counts)
	require.EqualValues(t, 10, s.Planned.GetCounts().GetInRange())
	require.Zero(t, s.Done())
	s.Progress = run.Progress{Writer: &ihcv1.Progress{Conversions: 4}, Attributor: &ihcv1.Progress{Requests: 2}, ScoredChunks: 3}
	require.Equal(t, run.Done{Conversions: 4, Requests: 2}, s.Done())
	require.Equal(t, run.PhaseWriting, s.Phase())
	s.Apply(reported(1, true, 0))
	require.Equal(t, run.Done{Conversions: 10, Requests: 5}, s.Done())
	require.EqualValues(t, 1, s.Counts.GetFailed())
}

func TestWhatAStateRemembers(t *testing.T) {
	t.Parallel()
	s := run.Fold(life(asked("a"), accepted(), paused(0), resumed(3), cancelled("wrong dates"), cancelled("again"), resumed(9)))[0]
	require.Equal(t, []any{"wrong dates", uint64(3), noon, noon.Add(4 * time.Second), 4 * time.Second},
		[]any{s.Reason, s.MaxRequests, s.Started, s.Ended, s.Took(noon.Add(time.Hour))})
	s = run.Fold(life(asked("a"), accepted(), failed("b")))[0]
	require.Equal(t, []string{"the disk is gone", "b"}, []string{s.Reason, s.SupersededBy()})
	s = run.Fold(life(asked("a")))[0]
	require.Equal(t, time.Minute, s.Took(noon.Add(time.Minute)))
	require.EqualValues(t, 7, s.MaxRequests)
}

// Services tell of themselves now and then; a pause tells what was sent at once.
func TestPausedRunKnowsItsRequests(t *testing.T) {
	t.Parallel()
	pause := event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Paused{Paused: &ihcv1.RunPaused{Requests: 3}}})
	s := run.Fold(life(asked("a"), accepted(), pause))[0]
	s.Progress = run.Progress{Attributor: &ihcv1.Progress{Requests: 1}}
	require.Equal(t, run.Done{Requests: 3}, s.Done())
}

func TestRunsAreInTheOrderTheyWereAskedFor(t *testing.T) {
	t.Parallel()
	states := run.Fold(life(asked("b"), asked("a"), accepted(), asked("c"), asked("b")))
	require.Len(t, states, 3)
	require.Equal(t, []string{"b", "a", "c"}, []string{states[0].ID, states[1].ID, states[2].ID})
}

func TestRequestThatCannotBeReadIsARun(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"what":1}`, `{"model":"magic"}`} {
		s := run.Fold([]run.Entry{run.RequestEntry([]byte(data), noon, 42)})[0]
		require.Equal(t, "20230901-120000-42", s.ID)
		require.Nil(t, s.Request)
		require.Equal(t, run.StatusRequested, s.Status())
	}
	s := run.Fold([]run.Entry{run.RequestEntry([]byte(`{"run_id":"mine","max_requests":"3"}`), noon, 42)})[0]
	require.Equal(t, []any{"mine", uint64(3)}, []any{s.ID, s.MaxRequests})
}

// However events come, a run that has ended stays as it is, and one entry at a
// time comes to the same as all at once.
func TestAnyLifeEndsOnce(t *testing.T) {
	t.Parallel()
	kinds := []func() run.Entry{
		func() run.Entry { return asked("a") }, accepted, extracted, written, func() run.Entry { return paused(2) },
		func() run.Entry { return resumed(1) }, func() run.Entry { return failed("") }, func() run.Entry { return failed("b") },
		func() run.Entry { return cancelled("x") }, func() run.Entry { return reported(1, true, 0) }, func() run.Entry { return dead("a") },
	}
	rapid.Check(t, func(t *rapid.T) {
		var entries []run.Entry
		for _, next := range rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 20).Draw(t, "life") {
			entries = append(entries, next())
		}
		entries = life(entries...)
		var h run.History
		var end run.Status
		for i, e := range entries {
			s := h.Apply(e)
			require.Len(t, h.States(), len(run.Fold(entries[:i+1])))
			if s == nil {
				continue
			}
			if end != "" {
				require.Equal(t, end, s.Status(), "an end was taken back")
			} else if s.Status().Ended() {
				end = s.Status()
			}
		}
		require.Equal(t, run.Fold(entries), h.States())
	})
}

func TestReplay(t *testing.T) {
	t.Parallel()
	origin := run.Fold(life(asked("a"), accepted()))[0]
	_, _, err := run.Replay(origin, &ihcv1.RunRequest{RunId: "b", ReplayOf: "a", ReplayFrom: run.FromResults})
	require.ErrorContains(t, err, "run a was not extracted to its end (it is running)")
	require.Equal(t, errkind.Input, errkind.KindOf(err))

	origin = run.Fold(life(asked("a"), event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{
		Request: &ihcv1.RunRequest{RunId: "a", Model: "api", MaxRequests: 7, LookbackDays: 3}}}}), extracted()))[0]
	announce, stored, err := run.Replay(origin, &ihcv1.RunRequest{RunId: "b", ReplayOf: "a", ReplayFrom: run.FromJourneys, Model: "builtin", LookbackDays: 9})
	require.NoError(t, err)
	require.Equal(t, []any{"a", "", "b", "builtin", uint32(3), uint64(0)}, []any{stored, announce.GetResultsRun(), announce.GetRequest().GetRunId(),
		announce.GetRequest().GetModel(), announce.GetRequest().GetLookbackDays(), announce.GetRequest().GetMaxRequests()})

	// How refunds are told is nothing that was scored.
	origin.Request.Refunds = run.RefundsSubtract
	for set, want := range map[string]string{"": run.RefundsSubtract, run.RefundsCount: run.RefundsCount} {
		announce, _, err = run.Replay(origin, &ihcv1.RunRequest{RunId: "b", ReplayOf: "a", ReplayFrom: run.FromResults, Refunds: set})
		require.NoError(t, err)
		require.Equal(t, want, announce.GetRequest().GetRefunds())
	}

	// A replay of a replay from results starts from where the results are.
	origin.ID, origin.ResultsRun = "b", "a"
	announce, stored, err = run.Replay(origin, &ihcv1.RunRequest{RunId: "c", ReplayOf: "b", ReplayFrom: run.FromResults})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "a", "api"}, []string{stored, announce.GetResultsRun(), announce.GetRequest().GetModel()})
}

func TestResultsAreNotScoredAgain(t *testing.T) {
	t.Parallel()
	for setting, value := range map[string]any{"model": "api", "conv_type_id": "x", "model_params": "{}", "max_requests": 1, "redistribution_parameter": map[string]any{}} {
		data, err := json.Marshal(map[string]any{"replay_of": "a", "replay_from": "results", setting: value})
		require.NoError(t, err)
		r, err := run.Decode(data)
		require.NoError(t, err)
		_, err = run.Complete(r)
		require.Error(t, err, setting)
		require.Equal(t, errkind.Input, errkind.KindOf(err))
	}
}

func TestCountsAreOfEveryOutcome(t *testing.T) {
	t.Parallel()
	c := &ihcv1.Counts{}
	for i, o := range run.Outcomes() {
		run.Add(c, o.Kind, uint64(i+1), 100)
		require.EqualValues(t, i+1, run.Of(c, o.Kind), o.Name)
		require.Equal(t, o.Kind, run.OutcomeKind(o.Name))
	}
	require.Len(t, run.Outcomes(), len(ihcv1.OutcomeKind_name)-1, "an outcome is not in the table")
	require.Equal(t, c.GetInRange(), run.Accounted(c))
	require.EqualValues(t, 3, run.WithAttribution(c))
	require.EqualValues(t, 200, c.GetTouchpoints())
	require.Equal(t, "without sessions", run.OutcomeOf(ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS).Words)
	run.Add(c, 99, 1, 1)
	require.EqualValues(t, 5, c.GetFailed(), "a kind that nobody knows is a failure")
	for _, n := range run.Each(nil) {
		require.Zero(t, n)
	}
}

// The picture and the table of docs/runs.md name the states that there are.
func TestDocumentNamesEveryState(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/runs.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(data), "```mermaid")
	picture, _, _ := strings.Cut(rest, "```")
	for _, s := range []run.Status{run.StatusRequested, run.StatusRunning, run.StatusPaused, run.StatusStuck, run.StatusCompleted,
		run.StatusPartly, run.StatusUnreconciled, run.StatusFailed, run.StatusCancelled, run.StatusSuperseded} {
		require.Regexp(t, `\b`+string(s)+`\b`, picture)
		require.Contains(t, string(data), "| `"+string(s)+"` |")
	}
	for _, p := range []run.Phase{run.PhaseExtracting, run.PhaseScoring, run.PhaseWriting, run.PhaseReporting} {
		require.Contains(t, string(data), "| `"+string(p)+"` |")
	}
}
