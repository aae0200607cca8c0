package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/embedded"
	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/services/reporter"
)

// stack is a running stack for one test, with commands that talk to it.
type stack struct {
	t           *testing.T
	db, out     string
	url         string
	client      *stream.Client
	scoredByAPI *sandbox.Sandbox
	stop        func()
}

// newAPI starts an API sandbox and returns settings to score with it.
func newAPI(t *testing.T, faults sandbox.Faults) (*sandbox.Sandbox, attributor.Config) {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{Key: "key", Faults: faults})
	require.NoError(t, err)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, attributor.Config{APIKey: "key", APIURL: server.URL + "/v1", ConvTypeID: "type", Workers: 4, Timeout: time.Minute}
}

func newStack(t *testing.T, dir string, faults sandbox.Faults) *stack {
	t.Helper()
	return newStackOn(t, sampleShop(t, ""), dir, faults)
}

func newStackOn(t *testing.T, db, dir string, faults sandbox.Faults) *stack {
	t.Helper()
	s := &stack{t: t, db: db, out: t.TempDir()}
	var config attributor.Config
	s.scoredByAPI, config = newAPI(t, faults)
	c, err := embedded.FromEnv(config)
	require.NoError(t, err)
	require.NoError(t, c.At(s.db, s.out))
	c.Dir, c.Keep, c.Listen = dir, true, "127.0.0.1:0"
	p, _, err := embedded.Start(context.Background(), c)
	require.NoError(t, err)
	s.client, s.url, s.stop = p.Client, p.URL(), sync.OnceFunc(p.Stop)
	t.Cleanup(s.stop)
	return s
}

// run runs a command against the stack and returns what it printed on standard
// output, on standard error, and its error.
func (s *stack) run(cmd *cobra.Command, args ...string) (out, log string, err error) {
	s.t.Helper()
	return separately(s.t, cmd, append(args, "--nats", s.url)...)
}

func separately(t *testing.T, cmd *cobra.Command, args ...string) (out, log string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = cmd.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

// ok runs a command that must succeed and returns its standard output.
func (s *stack) ok(cmd *cobra.Command, args ...string) string {
	s.t.Helper()
	out, log, err := s.run(cmd, args...)
	require.NoError(s.t, err, log)
	return out
}

// refused runs a command that must fail with the code, in one line that says so.
func (s *stack) refused(code int, says string, cmd *cobra.Command, args ...string) {
	s.t.Helper()
	out, _, err := s.run(cmd, args...)
	requireOneLine(s.t, err, code, says)
	require.Empty(s.t, out)
}

func requireOneLine(t *testing.T, err error, code int, says string) {
	t.Helper()
	require.ErrorContains(t, err, says)
	require.Equal(t, code, errkind.ExitCode(err), err)
	require.NotContains(t, err.Error(), "\n")
}

func decoded[T any](t *testing.T, text string) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// state returns what `ihc status --json` says.
func (s *stack) state(id string, more ...string) ops.View {
	s.t.Helper()
	return decoded[ops.View](s.t, s.ok(newStatusCmd(), append(more, id, "--json")...))
}

// spent waits until so many chunks of a run are scored, and returns its state: it is
// told to be paused while the last requests of its budget are under way.
func (s *stack) spent(id string, budget uint64) (state ops.View) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		state = s.state(id)
		return state.Chunks.Scored >= budget
	}, time.Minute, 10*time.Millisecond)
	require.Equal(s.t, budget, state.Chunks.Scored)
	return state
}

func (s *stack) csv() string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.out, reporter.CSVFile))
	require.NoError(s.t, err)
	return string(data)
}

func TestRunsStatusAndReplay(t *testing.T) {
	t.Parallel()
	s := newStack(t, t.TempDir(), sandbox.Faults{})
	require.Equal(t, "no runs yet\n", s.ok(newRunsCmd()))
	require.Equal(t, "[]\n", s.ok(newRunsCmd(), "--json"))
	first := decoded[run.Result](t, s.ok(newRunCmd(), "--json"))
	require.Equal(t, run.StatusCompleted, first.Status)
	requests, csv := s.scoredByAPI.Stats().Requests, s.csv()
	require.NotZero(t, requests)

	// The results are written again: nothing is asked, nothing differs.
	require.NoError(t, os.Remove(filepath.Join(s.out, reporter.CSVFile)))
	second := decoded[run.Result](t, s.ok(newReplayCmd(), first.RunID, "--from", "results", "--json"))
	require.Equal(t, requests, s.scoredByAPI.Stats().Requests)
	require.Equal(t, csv, s.csv())
	require.Equal(t, first.Conversions, second.Conversions)
	require.NotEqual(t, first.RunID, second.RunID)

	// The journeys are scored again, by another model.
	third := decoded[run.Result](t, s.ok(newReplayCmd(), second.RunID, "--from", "journeys", "--model", "builtin", "--json"))
	require.Equal(t, "builtin", third.Model)
	require.Equal(t, first.Conversions, third.Conversions)
	require.Equal(t, requests, s.scoredByAPI.Stats().Requests)
	require.Equal(t, csv, s.csv(), "the sandbox scores with the same model")

	runs := decoded[[]ops.View](t, s.ok(newRunsCmd(), "--json"))
	require.Len(t, runs, 3)
	for i, want := range []run.Result{first, second, third} {
		require.Equal(t, want.RunID, runs[i].RunID)
		require.Equal(t, run.StatusCompleted, runs[i].Status)
		require.Equal(t, want.Conversions, runs[i].Conversions)
		require.NotNil(t, runs[i].Ended)
		require.Positive(t, runs[i].Seconds)
	}
	require.Equal(t, []string{"", first.RunID, second.RunID}, []string{runs[0].ReplayOf, runs[1].ReplayOf, runs[2].ReplayOf})
	require.Equal(t, "results", runs[1].ReplayFrom)

	text := s.ok(newRunsCmd())
	require.Contains(t, text, "replay of "+first.RunID+" from results")
	require.Len(t, strings.Split(strings.TrimSpace(text), "\n"), 4)
	text = s.ok(newStatusCmd(), third.RunID)
	require.Contains(t, text, "completed")
	require.Contains(t, text, "replay of "+second.RunID+" from journeys")
	require.Empty(t, *s.state(first.RunID, "--failed").Failed)
	require.Equal(t, first.Conversions, s.state(first.RunID, "--watch").Conversions, "one that is over is watched to its end at once")

	s.refused(2, "run nobody is not known", newStatusCmd(), "nobody")
	s.refused(2, "run * is not known", newStatusCmd(), "*")
	s.refused(2, "run nobody is not known", newCancelCmd(), "nobody")
	s.refused(2, "run nobody is not known", newResumeCmd(), "nobody")
	s.refused(2, "run nobody is not known", newReplayCmd(), "nobody", "--from", "results")
	s.refused(2, "say what to start from", newReplayCmd(), first.RunID)
	s.refused(2, `--from "x"`, newReplayCmd(), first.RunID, "--from", "x")
	s.refused(2, "--model says how to score", newReplayCmd(), first.RunID, "--from", "results", "--model", "api")
	s.refused(2, "there is nothing to cancel", newCancelCmd(), first.RunID)
	s.refused(2, "is not paused (it is completed)", newResumeCmd(), first.RunID)
	s.refused(2, "takes the id of one run", newStatusCmd())
	require.Len(t, decoded[[]ops.View](t, s.ok(newRunsCmd(), "--json")), 3, "what was refused left a run")
}

func TestStatusListsWhatFailed(t *testing.T) {
	t.Parallel()
	s := newStack(t, t.TempDir(), sandbox.Faults{Poison: []string{"o_000000001_*"}, Partial: []string{"o_000000002_*"}})
	out, _, err := s.run(newRunCmd(), "--json")
	requireOneLine(t, err, 1, "conversions failed")
	r := decoded[run.Result](t, out)
	require.Equal(t, run.StatusPartly, r.Status)
	failed := *s.state(r.RunID, "--failed").Failed
	require.Len(t, failed, int(r.Conversions["failed"]))
	require.Contains(t, failed[0].Reason, "the IHC API")
	text, _, err := s.run(newStatusCmd(), r.RunID, "--failed", "--watch")
	requireOneLine(t, err, 1, "conversions failed")
	for _, f := range failed {
		require.Contains(t, text, f.Conversion)
		require.Contains(t, text, f.Reason)
	}
	// A replay of the results has the same failures, though none of its own.
	out, _, err = s.run(newReplayCmd(), r.RunID, "--from", "results", "--json")
	requireOneLine(t, err, 1, "conversions failed")
	require.Equal(t, failed, *s.state(decoded[run.Result](t, out).RunID, "--failed").Failed)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := newStack(t, t.TempDir(), sandbox.Faults{Rate5xx: 1})
	ended := make(chan error, 1)
	go func() {
		_, _, err := s.run(newRunCmd())
		ended <- err
	}()
	require.Eventually(t, func() bool { return s.scoredByAPI.Stats().Requests > 0 }, time.Minute, 10*time.Millisecond)
	id := decoded[[]ops.View](t, s.ok(newRunsCmd(), "--json"))[0].RunID
	require.Equal(t, run.StatusRunning, s.state(id).Status)
	require.Equal(t, "run "+id+" is cancelled\n", s.ok(newCancelCmd(), id, "--reason", "wrong dates"))
	requireOneLine(t, <-ended, 1, "run "+id+" was cancelled: wrong dates")
	require.Equal(t, "run "+id+" is cancelled already\n", s.ok(newCancelCmd(), id))
	got := s.state(id)
	require.Equal(t, []any{run.StatusCancelled, "wrong dates"}, []any{got.Status, got.Reason})
	require.NoFileExists(t, filepath.Join(s.out, reporter.CSVFile))
}

// A request that nobody has taken up yet is a run that can be seen and ended.
func TestRequestedRunIsKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := broker.Start(broker.Config{Dir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	nc, err := server.Connect("test")
	require.NoError(t, err)
	require.NoError(t, stream.EnsureOn(t.Context(), nc, stream.DefaultSettings()))
	client, err := stream.New(t.Context(), nc, stream.Options{Stage: "test"})
	require.NoError(t, err)
	s := &stack{t: t, url: server.URL()}
	require.NoError(t, client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "mine", StartDate: "2023-09-01"}))
	stored := func(subject, text string) { // as with the stock command line, but that the stream's word is waited for
		_, err := nc.RequestWithContext(t.Context(), subject, []byte(text))
		require.NoError(t, err)
	}
	stored(stream.SubjectRunRequested, `{"end_date":"2023-09-01"}`)
	stored(stream.SubjectRunRequested, `{"what":1}`)
	runs := decoded[[]ops.View](t, s.ok(newRunsCmd(), "--json"))
	require.Len(t, runs, 3)
	require.Equal(t, []any{"mine", run.StatusRequested, "2023-09-01"}, []any{runs[0].RunID, runs[0].Status, runs[0].StartDate})
	require.Contains(t, s.ok(newRunsCmd()), "a request that cannot be read")
	s.ok(newCancelCmd(), runs[1].RunID)
	require.Equal(t, run.StatusCancelled, s.state(runs[1].RunID).Status)
	stored("ihc.v1.run.cancelled."+runs[2].RunID, `{"cancelled":{"reason":"a typo"}}`)
	require.Equal(t, []any{run.StatusCancelled, "a typo"}, []any{s.state(runs[2].RunID).Status, s.state(runs[2].RunID).Reason})
	s.refused(2, "not extracted to its end (it is requested)", newReplayCmd(), "mine", "--from", "journeys")

	// The same while nothing runs.
	server.Stop(t.Context())
	out, _, err := separately(t, newRunsCmd(), "--data-dir", dir, "--json")
	require.NoError(t, err)
	require.Len(t, decoded[[]ops.View](t, out), 3)
	_, _, err = separately(t, newCancelCmd(), "mine", "--data-dir", dir)
	require.NoError(t, err)
	for says, args := range map[string][]string{
		"there are no streams in it":     {"--data-dir", t.TempDir()},
		"give one of them":               {"--data-dir", dir, "--nats", "nats://127.0.0.1:1"},
		"there is nothing to --watch":    {"--data-dir", dir, "--watch"},
		"run nobody is not known":        {"--data-dir", dir},
		"see \"status --help\"":          {"--no-such-flag"},
		"takes the id of one run; `ihc ": {"another"},
	} {
		cmd := newStatusCmd()
		cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
			return errkind.Inputf("%w; see %q", err, cmd.CommandPath()+" --help")
		})
		_, _, err := separately(t, cmd, append([]string{"nobody"}, args...)...)
		requireOneLine(t, err, 2, says)
	}
}

func TestBudgetOfAStack(t *testing.T) {
	t.Parallel()
	s := newStack(t, t.TempDir(), sandbox.Faults{})
	whole := decoded[run.Result](t, s.ok(newRunCmd(), "--json", "--max-sessions", "50", "--max-journeys", "10"))
	csv := s.csv()
	const budget = 2
	require.Greater(t, whole.Requests, uint64(2*budget))
	s.scoredByAPI.ResetStats()

	out, _, err := s.run(newRunCmd(), "--json", "--full", "--max-sessions", "50", "--max-journeys", "10", "--max-requests", "2")
	requireOneLine(t, err, 4, "paused: the run's budget of requests (--max-requests) is used up; `ihc resume ")
	r := decoded[run.Result](t, out)
	require.Equal(t, run.StatusPaused, r.Status)
	got := s.spent(r.RunID, budget)
	require.Equal(t, budget, s.scoredByAPI.Stats().Requests)
	require.Equal(t, []any{run.StatusPaused, uint64(budget)}, []any{got.Status, got.MaxRequests})
	require.EqualValues(t, whole.Requests, got.Chunks.Total)
	require.Contains(t, s.ok(newStatusCmd(), r.RunID), "ihc resume "+r.RunID)

	_, _, err = s.run(newResumeCmd(), r.RunID, "--max-requests", "2")
	requireOneLine(t, err, 4, "paused: ")
	require.Equal(t, run.StatusPaused, s.spent(r.RunID, 2*budget).Status)
	require.Equal(t, 2*budget, s.scoredByAPI.Stats().Requests)

	done := decoded[run.Result](t, s.ok(newResumeCmd(), r.RunID, "--json"))
	require.Equal(t, []any{run.StatusCompleted, r.RunID, whole.Conversions}, []any{done.Status, done.RunID, done.Conversions})
	require.EqualValues(t, whole.Requests, s.scoredByAPI.Stats().Requests, "a request whose result was stored was sent again")
	require.Equal(t, csv, s.csv())
	require.Equal(t, run.StatusCompleted, s.state(r.RunID).Status)
}

// A run that was cut short by its budget goes on with the same command.
func TestBudgetOfAKeptDirectory(t *testing.T) {
	api, config := newAPI(t, sandbox.Faults{})
	t.Setenv("IHC_API_KEY", "key")
	t.Setenv("IHC_API_URL", config.APIURL)
	t.Setenv("NATS_URL", "")
	dir := t.TempDir()
	args := func(db, name string, more ...string) []string {
		return append([]string{"--db", db, "--out", filepath.Join(dir, name), "--data-dir", filepath.Join(dir, name), "--conv-type-id", "type",
			"--max-sessions", "50", "--max-journeys", "10", "--json"}, more...)
	}
	csv := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name, reporter.CSVFile))
		require.NoError(t, err)
		return string(data)
	}
	db := sampleShop(t, "")
	out, _, err := separately(t, newRunCmd(), args(db, "whole")...)
	require.NoError(t, err)
	whole := decoded[run.Result](t, out)
	api.ResetStats()

	db = sampleShop(t, "")
	id := ""
	for n := 1; ; n++ {
		out, _, err := separately(t, newRunCmd(), args(db, "parts", "--max-requests", "3")...)
		r := decoded[run.Result](t, out)
		if n == 1 {
			require.NotEmpty(t, r.RunID)
			id = r.RunID
			_, _, err := separately(t, newRunCmd(), args(db, "parts", "--lookback-days", "3")...)
			requireOneLine(t, err, 2, "unfinished and with other settings")
		}
		require.Equal(t, id, r.RunID, "another run was begun")
		if err == nil {
			require.Greater(t, n, 2)
			break
		}
		requireOneLine(t, err, 4, "the same command goes on with run "+id)
		require.Equal(t, run.StatusPaused, r.Status)
		require.Equal(t, 3*n, api.Stats().Requests)
	}
	require.EqualValues(t, whole.Requests, api.Stats().Requests)
	require.Zero(t, api.Stats().ConversionsScoredTwice)
	require.Equal(t, csv("whole"), csv("parts"))
}

// deadChunks leaves in dir a run whose chunks have all ended in the dead letters.
func deadChunks(t *testing.T, dir, db, id string) (chunks int) {
	t.Helper()
	server, err := broker.Start(broker.Config{Dir: dir})
	require.NoError(t, err)
	defer server.Stop(context.Background())
	nc, err := server.Connect("test")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, stream.EnsureOn(ctx, nc, stream.DefaultSettings()))
	client, err := stream.New(ctx, nc, stream.Options{Stage: stream.StageAttributor})
	require.NoError(t, err)
	require.NoError(t, client.PublishRequest(ctx, &ihcv1.RunRequest{RunId: id, Model: run.ModelBuiltin, MaxSessions: 50}))
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() {
		done <- extractor.Run(serving, extractor.Config{Database: db}, service.Deps{Bus: client, Log: slog.New(slog.DiscardHandler)})
	}()
	go func() {
		done <- stream.Consume(serving, client, stream.Chunks, 1, nil, stream.Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} }),
			func(context.Context, stream.Message[*ihcv1.JourneyChunk]) error {
				return stream.Poison(errors.New("out of order"))
			})
	}()
	require.Eventually(t, func() bool {
		x, err := client.Extracted(ctx, id)
		if err != nil {
			return false
		}
		chunks = 0
		require.NoError(t, client.DeadLetters(ctx, id, func(stream.DeadLetter) error { chunks++; return nil }))
		return chunks == int(x.GetChunks())
	}, time.Minute, 10*time.Millisecond)
	stop()
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.NoError(t, client.Close(ctx))
	return chunks
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	dir, db := t.TempDir(), sampleShop(t, "")
	n := deadChunks(t, dir, db, "run")
	require.Greater(t, n, 2)
	s := newStackOn(t, db, dir, sandbox.Faults{})

	// A run that cannot end says so at once, and why.
	s.refusedWatch("run", "run run cannot end: a message of the attributor is among the dead letters: out of order; see `ihc dead ls --run run`")
	require.Equal(t, []any{run.StatusStuck, n}, []any{s.state("run").Status, s.state("run").DeadLetters})
	require.Contains(t, s.ok(newStatusCmd(), "run"), "ihc dead ls --run run")

	letters := decoded[[]jsonDead](t, s.ok(newDeadCmd(), "ls", "--json"))
	require.Len(t, letters, n)
	require.Len(t, decoded[[]jsonDead](t, s.ok(newDeadCmd(), "ls", "--json", "--run", "run")), n)
	require.Equal(t, "no dead letters\n", s.ok(newDeadCmd(), "ls", "--run", "other"))
	text := s.ok(newDeadCmd(), "ls")
	require.Contains(t, text, "out of order")
	shown := decoded[jsonDead](t, s.ok(newDeadCmd(), "show", "1"))
	require.Equal(t, []any{"run", uint32(1), "attributor", "out of order", "IHC_JOURNEYS", "ihc.v1.journeys.extracted.run.1"},
		[]any{shown.Run, shown.Chunk, shown.Stage, shown.Reason, shown.Stream, shown.Subject})
	var message struct {
		RunID    string `json:"run_id"`
		Journeys []any
	}
	require.NoError(t, json.Unmarshal(shown.Message, &message))
	require.Equal(t, "run", message.RunID)
	require.NotEmpty(t, message.Journeys)

	s.refused(2, "there is no dead letter 9999", newDeadCmd(), "show", "9999")
	s.refused(2, `"x" is no dead letter's number`, newDeadCmd(), "requeue", "x")
	s.refused(2, "by their numbers, by --run or by --all", newDeadCmd(), "requeue")
	s.refused(2, "by their numbers, by --run or by --all", newDeadCmd(), "purge", "1", "--all")
	s.refused(2, "would remove 1 dead letters for good (2): add --yes", newDeadCmd(), "purge", "2")

	// Put back, one by its number and then the others, they are scored, and
	// the run ends well.
	require.Equal(t, "put 1 dead letters back\n", s.ok(newDeadCmd(), "requeue", "1"))
	s.refusedWatch("run", "cannot end")
	require.Contains(t, s.ok(newDeadCmd(), "requeue", "--run", "run"), "dead letters back")
	r := s.ok(newStatusCmd(), "run", "--watch")
	require.Contains(t, r, string(run.StatusCompleted))
	require.Equal(t, "no dead letters\n", s.ok(newDeadCmd(), "ls"))
	require.NotEmpty(t, s.csv())
	require.Equal(t, "put 0 dead letters back\n", s.ok(newDeadCmd(), "requeue", "--all"))
	require.Equal(t, "removed 0 dead letters\n", s.ok(newDeadCmd(), "purge", "--all"))
}

// refusedWatch watches a run that cannot end.
func (s *stack) refusedWatch(id, says string) {
	s.t.Helper()
	_, _, err := s.run(newStatusCmd(), id, "--watch")
	requireOneLine(s.t, err, 1, says)
}

// The same in a kept directory: the command that ran into them says so, and
// goes on with the run once they are put back.
func TestDeadLettersOfAKeptDirectory(t *testing.T) {
	t.Setenv("NATS_URL", "")
	dir, out, db := t.TempDir(), t.TempDir(), sampleShop(t, "")
	n := deadChunks(t, dir, db, "run")
	again := func() (string, error) {
		out, _, err := separately(t, newRunCmd(), "--db", db, "--out", out, "--data-dir", dir, "--model", "builtin", "--max-sessions", "50", "--json")
		return out, err
	}
	text, err := again()
	requireOneLine(t, err, 1, "run run cannot end: a message of the attributor is among the dead letters: out of order")
	require.Equal(t, []any{"run", run.StatusStuck}, []any{decoded[run.Result](t, text).RunID, decoded[run.Result](t, text).Status})
	text, _, err = separately(t, newDeadCmd(), "requeue", "--all", "--data-dir", dir)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("put %d dead letters back\n", n), text)
	text, err = again()
	require.NoError(t, err)
	require.Equal(t, []any{"run", run.StatusCompleted}, []any{decoded[run.Result](t, text).RunID, decoded[run.Result](t, text).Status})
}

// Nobody would work on the letters of a run that is over; they say so.
func TestDeadLettersOfARunThatIsOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := deadChunks(t, dir, sampleShop(t, ""), "run")
	offline := func(cmd *cobra.Command, args ...string) (string, string, error) {
		return separately(t, cmd, append(args, "--data-dir", dir)...)
	}
	_, _, err := offline(newCancelCmd(), "run")
	require.NoError(t, err)
	_, _, err = offline(newDeadCmd(), "requeue", "1")
	requireOneLine(t, err, 2, "dead letter 1 is of run run, which has been cancelled")
	out, log, err := offline(newDeadCmd(), "requeue", "--all")
	require.NoError(t, err)
	require.Equal(t, "put 0 dead letters back\n", out)
	require.Equal(t, n, strings.Count(log, "left dead letter"))
	_, _, err = offline(newDeadCmd(), "purge", "1", "--yes")
	require.NoError(t, err)
	_, _, err = offline(newDeadCmd(), "purge", "--run", "run", "--yes")
	require.NoError(t, err)
	out, _, err = offline(newDeadCmd(), "ls")
	require.NoError(t, err)
	require.Equal(t, "no dead letters\n", out)
}

// What cannot be decoded can be looked at all the same, and is filed where it
// belongs.
func TestDeadLetterThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	s := newStack(t, t.TempDir(), sandbox.Faults{})
	nc, err := stream.Dial(stream.Address{URL: s.url}, "test", slog.New(slog.DiscardHandler), false)
	require.NoError(t, err)
	defer nc.Close()
	for subject, data := range map[string]string{"ihc.v1.journeys.extracted.run.7": "garbage", stream.SubjectRunRequested: `{"model":`} {
		require.NoError(t, nc.Publish(subject, []byte(data)))
	}
	var letters []jsonDead
	require.Eventually(t, func() bool {
		letters = decoded[[]jsonDead](t, s.ok(newDeadCmd(), "ls", "--json"))
		return len(letters) == 2
	}, time.Minute, 10*time.Millisecond)
	for _, d := range letters {
		shown := decoded[jsonDead](t, s.ok(newDeadCmd(), "show", fmt.Sprint(d.Number)))
		require.Nil(t, shown.Message)
		require.Equal(t, len(shown.Data), shown.Bytes)
		switch d.Stage {
		case stream.StageAttributor:
			require.Equal(t, "garbage", string(shown.Data))
			require.Equal(t, []any{"run", uint32(7)}, []any{d.Run, d.Chunk})
		case stream.StageExtractor:
			require.Equal(t, `{"model":`, string(shown.Data))
			require.Equal(t, "unknown", d.Run)
		}
	}
	runs := decoded[[]ops.View](t, s.ok(newRunsCmd(), "--json"))
	require.Len(t, runs, 1)
	require.Equal(t, []any{run.StatusFailed, 1}, []any{runs[0].Status, runs[0].DeadLetters})
}
