package cli

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ending is how a run ended by its JSON.
type ending struct {
	RunID     string `json:"run_id"`
	Status    string `json:"status"`
	ExitCode  int    `json:"exit_code"`
	Error     string `json:"error"`
	StartDate string `json:"start_date"`
	EndDate   string `json:"end_date"`
	Requests  int    `json:"requests"`
}

func endingIn(t *testing.T, text string) ending {
	t.Helper()
	var e ending
	require.NoError(t, json.Unmarshal([]byte(text), &e), text)
	return e
}

// statusInDatabase is what the ledger calls a run.
func statusInDatabase(t *testing.T, path, id string) (status string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT status FROM pipeline_runs WHERE run_id = ?`, id).Scan(&status))
	return status
}

// slow is a house with a shop and an API that takes longer than any test waits.
func slow(t *testing.T) (h *house, args []string, asked func() bool) {
	t.Helper()
	h = newHouse(t).with("IHC_API_KEY=" + secret)
	db := smallShop(h)
	api, root := startSandbox(h, "--latency", "1h")
	asked = func() bool {
		var stats struct {
			InFlight int `json:"in_flight"`
			Requests int
		}
		getJSON(t, root+"/stats", &stats)
		return stats.Requests+stats.InFlight > 0
	}
	return h, []string{"run", db, "--out", h.path("out"), "--api-url", api, "--conv-type-id", "any", "--result", h.path("result.json")}, asked
}

// begin starts a command; said is what it has said so far on standard error, which
// is in the house's file of that name.
func (h *house) begin(args ...string) (cmd *exec.Cmd, said func() string) {
	h.t.Helper()
	cmd = h.command(h.t.Context(), args...)
	errs, err := os.Create(h.path("said"))
	require.NoError(h.t, err)
	defer errs.Close()
	cmd.Stderr = errs
	require.NoError(h.t, cmd.Start())
	return cmd, func() string { return read(h.t, errs.Name()) }
}

// interrupted runs a command and sends it signals once the API is asked.
func interrupted(h *house, asked func() bool, args []string, signals ...syscall.Signal) (code int, stderr string) {
	h.t.Helper()
	cmd, said := h.begin(args...)
	if !assertEventually(asked) {
		_ = cmd.Process.Kill()
		h.t.Fatalf("nothing was asked\n%s", said())
	}
	for i, s := range signals {
		require.NoError(h.t, cmd.Process.Signal(s))
		if i < len(signals)-1 {
			require.True(h.t, assertEventually(func() bool { return strings.Contains(said(), "again stops at once") }), said())
		}
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), said()
}

func assertEventually(is func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(poll) {
		if is() {
			return true
		}
	}
	return false
}

func TestSignalsHaveTheirExitCodesAndSayWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signals []syscall.Signal
		code    int
		says    string
	}{
		"one interrupt":  {[]syscall.Signal{syscall.SIGINT}, 130, "ihc: interrupted; with --data-dir a run can go on later\n"},
		"one terminate":  {[]syscall.Signal{syscall.SIGTERM}, 143, "ihc: interrupted; with --data-dir a run can go on later\n"},
		"two interrupts": {[]syscall.Signal{syscall.SIGINT, syscall.SIGINT}, 130, "was stopped at once; it cannot go on, since it has no --data-dir\n"},
		"two of a kind":  {[]syscall.Signal{syscall.SIGINT, syscall.SIGTERM}, 143, "was stopped at once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, args, asked := slow(t)
			h = h.with("IHC_GRACE=200ms")
			if len(c.signals) > 1 {
				h = h.with("IHC_GRACE=1h")
			}
			code, said := interrupted(h, asked, args, c.signals...)
			require.Equal(t, c.code, code, said)
			require.Contains(t, said, "stopping: waiting for what is under way, requests to the API too, for up to ")
			require.True(t, strings.HasSuffix(said, c.says) || strings.Contains(said, c.says), said)
			left, err := os.ReadDir(h.path("tmp"))
			require.NoError(t, err)
			require.Empty(t, left)
			e := endingIn(t, read(t, h.path("result.json")))
			require.Equal(t, []any{"interrupted", c.code}, []any{e.Status, e.ExitCode})
			if len(c.signals) == 1 { // at once it is tried, for a moment
				require.Equal(t, "interrupted", statusInDatabase(t, h.path("shop.db"), e.RunID))
			}
		})
	}
}

func TestInterruptedRunIsCalledSo(t *testing.T) {
	t.Parallel()
	h, args, asked := slow(t)
	// The first chunk is asked about while extraction may still have its end to tell.
	scoring := func() bool { return asked() && strings.Contains(read(t, h.path("said")), " in 1 chunk\n") }
	_, said := interrupted(h.with("IHC_GRACE=100ms"), scoring, append(args, "--data-dir", h.path("streams")), syscall.SIGINT)
	require.Contains(t, said, "the same command goes on with run ")
	var runs []ending
	require.NoError(t, json.Unmarshal([]byte(h.must("runs", "--data-dir", h.path("streams"), "--json").stdout), &runs))
	require.Len(t, runs, 1)
	require.Equal(t, "interrupted", runs[0].Status)
	require.Contains(t, h.must("status", "last", "--data-dir", h.path("streams")).stdout, "interrupted, scoring")
}

// A process that was killed says nothing. What it left on the machine does.
func TestRunWhoseProcessWasKilledIsCalledInterrupted(t *testing.T) {
	t.Parallel()
	h, args, asked := slow(t)
	db, tmp := h.path("shop.db"), h.path("left")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	h = h.with("TMPDIR=" + tmp)
	noted := func() bool {
		notes, err := filepath.Glob(filepath.Join(tmp, "ihc-run-*", "run.json"))
		return err == nil && len(notes) == 1 && asked()
	}
	_, said := interrupted(h, noted, args, syscall.SIGKILL)
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Len(t, left, 1, said)
	var known []ending
	require.NoError(t, json.Unmarshal([]byte(h.must("runs", db, "--json").stdout), &known))
	require.Len(t, known, 1)
	require.Equal(t, "interrupted", known[0].Status)
	require.Contains(t, h.must("status", "last", "--db", db).stdout, "interrupted")
	require.Equal(t, "running", statusInDatabase(t, db, known[0].RunID)) // who only looks writes nothing

	// A run of another database leaves the note, and not the streams, to this one's.
	script(t, h.path("other.db"), sound)
	h.must("run", h.path("other.db"), "--model", "builtin", "--out", h.path("out"))
	note, err := os.ReadDir(filepath.Join(tmp, left[0].Name()))
	require.NoError(t, err)
	require.Len(t, note, 2)
	h.must("run", db, "--model", "builtin", "--out", h.path("out"))
	require.Equal(t, "interrupted", statusInDatabase(t, db, known[0].RunID))
	left, err = os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRunThatTakesTooLongFails(t *testing.T) {
	t.Parallel()
	h, args, asked := slow(t)
	before := stateOf(t, h.path("shop.db"), h.path("out"))
	var e ending
	for timeout := time.Second / 2; e.RunID == "" || !asked(); timeout *= 2 { // until the machine gets as far as the API in it
		r := h.with("IHC_GRACE=100ms").run(append(args, "--timeout", timeout.String())...)
		require.Equal(t, 1, r.code)
		require.Equal(t, "ihc: not done within "+timeout.String()+" (--timeout)", r.complaint(t))
		e = endingIn(t, read(t, h.path("result.json")))
		require.Equal(t, []any{"failed", 1}, []any{e.Status, e.ExitCode})
	}
	require.Equal(t, "failed", statusInDatabase(t, h.path("shop.db"), e.RunID))
	require.Equal(t, before.reports, stateOf(t, h.path("shop.db"), h.path("out")).reports)
}

// A scheduler that tries again gets the run that there is.
func TestSameRunIdIsTheSameRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t).with("IHC_API_KEY=" + secret)
	db := smallShop(h)
	api, root := startSandbox(h)
	args := []string{"run", db, "--out", h.path("out"), "--api-url", api, "--conv-type-id", "any", "--run-id", "nightly-1", "--json"}
	first := endingIn(t, h.must(args...).stdout)
	second := endingIn(t, h.must(args...).stdout)
	require.Equal(t, first, second)
	require.Equal(t, "nightly-1", first.RunID)
	var stats struct{ Requests int }
	getJSON(t, root+"/stats", &stats)
	require.Equal(t, first.Requests, stats.Requests, "the second asked nothing")

	other := h.run(append(args, "--lookback-days", "3")...)
	require.Equal(t, 2, other.code)
	require.Contains(t, other.complaint(t), "run nightly-1 is there already, and was asked for with other settings")
}

// A scheduler that took a try for dead and begins the next beside it gets that
// run's result, too.
func TestSameRunIdInTwoProcessesIsTheSameRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t).with("IHC_API_KEY=" + secret)
	db := smallShop(h)
	api := newGate(t, 0)
	args := []string{"run", db, "--out", h.path("out"), "--api-url", api.url, "--conv-type-id", "any", "--run-id", "nightly-1", "--json"}
	begin := func(name string) (try *exec.Cmd, said func() string, result func() ending) {
		try = h.command(t.Context(), args...)
		out, err := os.Create(h.path(name))
		require.NoError(t, err)
		errs, err := os.Create(h.path(name + ".err"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, errors.Join(out.Close(), errs.Close())) })
		try.Stdout, try.Stderr = out, errs
		require.NoError(t, try.Start())
		said = func() string { return read(t, errs.Name()) }
		return try, said, func() ending {
			require.NoError(t, try.Wait(), said())
			return endingIn(t, read(t, out.Name()))
		}
	}
	first, said, result := begin("first")
	require.True(t, assertEventually(func() bool { return api.came.Load() > 0 }), said())
	require.NoError(t, first.Process.Signal(syscall.SIGSTOP))
	_, said, again := begin("second")
	waits := assertEventually(func() bool {
		return strings.Contains(said(), "waiting for another process that has run nightly-1 under way")
	})
	other := h.run("run", db, "--out", h.path("other"), "--model", "builtin", "--run-id", "nightly-2")
	require.NoError(t, first.Process.Signal(syscall.SIGCONT))
	require.True(t, waits, said())
	require.Equal(t, 3, other.code)
	require.Contains(t, other.complaint(t), "data directory ihc-data is in use by another process (run nightly-1)")
	api.open()
	is := result()
	require.Equal(t, []string{"nightly-1", "completed"}, []string{is.RunID, is.Status})
	require.Equal(t, is, again())
}

func TestDetachedRunIsLeftToTheStack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	up := h.serve("up", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
	on := h.with("NATS_URL=" + natsURL(t, up))
	// What the file and the environment say of a run in this process does not keep
	// one on a stack.
	text(t, h.path("ihc.yaml"), "db: shop.db\nout: elsewhere\nconcurrency: 2\n")
	on = on.with("IHC_KEEP_RUNS=20", "IHC_RUN_COLUMN=true", "IHC_DATA_DIR=streams", "IHC_OUT=elsewhere")
	require.Equal(t, "daily\n", on.must("run", "--detach", "--run-id", "daily").stdout)
	require.Equal(t, "daily", endingIn(t, on.must("run", "--run-id", "daily", "--json").stdout).RunID)
	require.Contains(t, on.must("status", "dai").stdout, "completed")
	require.Equal(t, 2, on.run("status", "x").code)
}

// The codes are explained in one table, which the command and docs/runs.md share.
func TestExitCodesAreDocumented(t *testing.T) {
	t.Parallel()
	page := read(t, "../../docs/runs.md")
	help := newHouse(t).must("--help").stdout
	_, table, found := strings.Cut(help, "Exit codes:\n")
	require.True(t, found)
	for line := range strings.Lines(table) {
		code, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if code == "" {
			break
		}
		require.Contains(t, page, "| "+code+" | "+strings.TrimSpace(what)+" |")
	}
}

func TestPausedRunIsExitCode4(t *testing.T) {
	t.Parallel()
	h := newHouse(t).with("IHC_API_KEY=" + secret)
	db := smallShop(h)
	api, _ := startSandbox(h)
	args := []string{"run", db, "--out", h.path("out"), "--api-url", api, "--conv-type-id", "any", "--max-journeys", "1",
		"--max-requests", "1", "--data-dir", h.path("streams"), "--json"}
	r := h.run(args...)
	require.Equal(t, 4, r.code, r.stderr)
	e := endingIn(t, r.stdout)
	require.Equal(t, []any{"paused", 4}, []any{e.Status, e.ExitCode})
}

func TestRelativeDatesAreShownResolved(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	r := h.must("run", db, "--out", h.path("out"), "--start-date", "2023-W35", "--end-date", "2023-09", "--json")
	e := endingIn(t, r.stdout)
	require.Equal(t, []string{"2023-08-28", "2023-09-30"}, []string{e.StartDate, e.EndDate})
	require.Contains(t, r.stderr, "conversions from 2023-08-28 to 2023-09-30")
	e = endingIn(t, h.must("run", db, "--out", h.path("out"), "--end-date", "-1y", "--timezone", "Pacific/Kiritimati", "--json").stdout)
	require.Len(t, e.EndDate, len("2023-09-30"))
}

// Where a file cannot be put is found before anything is sent.
func TestPlacesOfFilesAreLookedAtFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	before := stateOf(t, db, h.path("out"))
	for _, name := range []string{"report.html", "channel_reporting.csv", "reconciliation.json"} {
		in := "in-place-of-" + name
		require.NoError(t, os.MkdirAll(h.path(in, name), 0o700))
		r := h.run("run", db, "--out", h.path(in))
		requireRefused(t, r, 3, name+": something that is no file has this name", before, stateOf(t, db, h.path("out")))

		in = "link-beside-" + name
		require.NoError(t, os.MkdirAll(h.path(in), 0o700))
		require.NoError(t, os.Symlink(db, h.path(in, "."+name+".part")))
		r = h.run("run", db, "--out", h.path(in))
		requireRefused(t, r, 3, "."+name+".part, to which it is written first, is no file; remove it", before, stateOf(t, db, h.path("out")))
	}
	require.NoError(t, os.Mkdir(h.path("result.json"), 0o700))
	r := h.run("run", db, "--out", h.path("other"), "--result", h.path("result.json"))
	requireRefused(t, r, 3, "result.json: something that is no file has this name", before, stateOf(t, db, h.path("out")))
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil {
		defer full.Close()
		cmd := h.command(t.Context(), "run", db, "--out", h.path("other"))
		cmd.Stdout = full
		_ = cmd.Run()
		require.Equal(t, 3, cmd.ProcessState.ExitCode())
	}
}

// A trigger of the user's that never ends does not hold a run for ever.
func TestEndlessStatementEndsWithCtrlC(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	script(t, db, `CREATE TABLE attribution_customer_journey (conv_id text NOT NULL, session_id text NOT NULL, ihc real NOT NULL, PRIMARY KEY (conv_id, session_id))`,
		`CREATE TRIGGER endless BEFORE INSERT ON attribution_customer_journey BEGIN
			SELECT (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c); END`)
	args := []string{"run", db, "--out", h.path("out"), "--model", "builtin"}
	r := h.run(append(args, "--timeout", "500ms")...)
	require.NotZero(t, r.code)
	code, said := interrupted(h, func() bool { return strings.Contains(read(t, h.path("said")), "scoring with") }, args, syscall.SIGINT)
	require.Equal(t, 130, code, said)
	require.NotContains(t, said, "goroutine")
}

func TestWhatDoesNothingIsSaid(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	r := h.must("run", db, "--out", h.path("out"), "--model", "builtin", "--max-requests", "3")
	require.Contains(t, r.stderr, "note: the built-in model sends no requests: --max-requests and --payloads do nothing\n")
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	r = h.run("up", db, "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0", "--http", taken.Addr().String())
	require.Equal(t, 3, r.code)
	require.Empty(t, r.stdout, "it is not ready")
	require.Contains(t, r.complaint(t), "(--http): ")
}
