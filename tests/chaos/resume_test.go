//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// runIHC runs the command to its end and returns what it said and its code.
func runIHC(ctx context.Context, t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	cmd := command(ctx, env, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "ihc"), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, env...)
	cmd.SysProcAttr = childAttributes()
	return cmd
}

func (s *stack) ihc(ctx context.Context, args ...string) (string, int) {
	s.t.Helper()
	return runIHC(ctx, s.t, []string{"NATS_URL=" + s.url}, args...)
}

// Run ids differ from run to run; everything else does not.
var anyID = regexp.MustCompile(`\d{8}-\d{6}-[A-Z2-7]{3}`)

func nameless(l left) left {
	same := left{tables: snapshot.Tables{}, files: map[string]string{}}
	for name, rows := range l.tables {
		same.tables[name] = []string{}
		for _, row := range rows {
			same.tables[name] = append(same.tables[name], anyID.ReplaceAllString(row, "RUN"))
		}
	}
	for name, text := range l.files {
		same.files[name] = anyID.ReplaceAllString(text, "RUN")
	}
	return same
}

// `ihc run` with a data directory, killed again and again wherever it stands,
// goes on each time, in the same run, and ends as if nothing had been.
func TestCommandKilledAndRunAgain(t *testing.T) {
	t.Parallel()
	calm.refer(t)
	args := func(dir string, a *api) []string {
		return []string{"run", "--db", filepath.Join(dir, "shop.db"), "--out", filepath.Join(dir, "out"), "--data-dir", filepath.Join(dir, "streams"),
			"--model", "api", "--conv-type-id", "any", "--api-url", a.url, "--max-sessions", "60", "--max-journeys", "12", "--concurrency", fmt.Sprint(workers)}
	}
	env := []string{"IHC_API_KEY=" + apiKey, "IHC_API_TIMEOUT=" + apiTimeout.String()}
	whole := t.TempDir()
	copyFile(t, calm.db, filepath.Join(whole, "shop.db"))
	out, code := runIHC(t.Context(), t, env, args(whole, startAPI(t, 1, misfits()))...)
	require.Equal(t, 1, code, out) // some conversions fail in this shop
	want := nameless(whatIsLeft(t.Context(), t, filepath.Join(whole, "shop.db"), filepath.Join(whole, "out")))

	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 2))
			dir := t.TempDir()
			copyFile(t, calm.db, filepath.Join(dir, "shop.db"))
			slow := misfits()
			slow.Latency = sandbox.Duration(60 * time.Millisecond) // half a second in all
			a := startAPI(t, seed, slow)
			kills := 0
			for range 1 + r.IntN(4) {
				cmd := command(t.Context(), env, args(dir, a)...)
				var said bytes.Buffer
				cmd.Stderr = &said
				require.NoError(t, cmd.Start())
				done := make(chan error, 1)
				go func() { done <- cmd.Wait() }()
				at := a.onCall(1 + r.IntN(6))
				if r.IntN(2) == 0 { // early, perhaps before anything was asked
					c := make(chan struct{})
					time.AfterFunc(time.Duration(30+r.IntN(200))*time.Millisecond, func() { close(c) })
					at = c
				}
				select {
				case <-at:
					_ = cmd.Process.Kill() // it may be done by now
					require.Error(t, <-done, "it was killed")
					kills++
				case err := <-done:
					require.Error(t, err) // 1: it was done before
					require.Equal(t, 1, cmd.ProcessState.ExitCode(), said.String())
				case <-time.After(patience):
					_ = cmd.Process.Kill()
					require.Fail(t, "it hangs", said.String())
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out, code := runIHC(ctx, t, env, args(dir, a)...)
			require.Equal(t, 1, code, "%s", out)
			got := nameless(whatIsLeft(ctx, t, filepath.Join(dir, "shop.db"), filepath.Join(dir, "out")))
			runs := len(got.tables["pipeline_runs"])
			_, repeated := a.repeats()
			t.Logf("%d kills, %d runs, %d requests repeated", kills, runs, repeated)
			if runs > 1 { // one ended between two kills, and the next began anew
				got.tables = got.tables.Only(func(name string) bool { return !strings.HasPrefix(name, "pipeline_") })
				require.Empty(t, want.tables.Only(func(name string) bool { return !strings.HasPrefix(name, "pipeline_") }).Diff(got.tables))
				return
			}
			require.LessOrEqual(t, repeated, kills*workers)
			require.Empty(t, want.diff(got))
		})
	}
}

// `ihc up`, killed again and again, goes on with the runs it was asked for.
func TestUpKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	s, a, ctx := calmStack(t, stackOptions{})
	up := &process{name: "up", program: "ihc", log: filepath.Join(s.dir, "up.log"),
		args: []string{"up", "--db", s.db, "--out", s.out, "--data-dir", filepath.Join(s.dir, "streams"), "--listen", s.nats},
		env:  []string{"IHC_API_KEY=" + apiKey, "IHC_API_URL=" + a.url, "IHC_CONV_TYPE_ID=any", fmt.Sprintf("IHC_CONCURRENCY=%d", workers), "IHC_ACK_WAIT=" + ackWait.String()}}
	s.procs = map[string]*process{"up": up}
	s.start()
	moments := []<-chan struct{}{a.onCall(3), a.onCall(17)}
	s.request(ctx, calm.request())
	for _, at := range moments {
		select {
		case <-at:
		case <-ctx.Done():
			require.Fail(t, "it does not go on", s.logs(30))
		}
		up.kill()
		require.NoError(t, up.start())
	}
	_, err := s.outcome(ctx, "chaos")
	require.NoError(t, err, s.logs(30))
	require.NoError(t, s.drained(ctx))
	s.nc.Close()
	code, _ := up.signal(syscall.SIGTERM)
	require.Zero(t, code, s.logs(10))
	require.Empty(t, up.deaths)
	require.Empty(t, calm.want.diff(s.left(ctx)))
	_, repeated := a.repeats()
	require.LessOrEqual(t, repeated, 2*workers)
}

// A source that changes while `ihc run` is interrupted, in whatever way, is
// attributed as it is when the command runs again: by another run, which pays
// only for the journeys that were not scored or are others now.
func TestSourceChangedBetweenTwoCommands(t *testing.T) {
	t.Parallel()
	calm.refer(t)
	env := []string{"IHC_API_KEY=" + apiKey, "IHC_API_TIMEOUT=" + apiTimeout.String()}
	args := func(dir string, a *api) []string {
		return []string{"run", "--db", filepath.Join(dir, "shop.db"), "--out", filepath.Join(dir, "out"), "--data-dir", filepath.Join(dir, "streams"),
			"--model", "api", "--conv-type-id", "any", "--api-url", a.url, "--max-sessions", "60", "--max-journeys", "1", "--concurrency", "1"}
	}
	for name, change := range map[string]string{
		"revenue": `UPDATE conversions SET revenue = revenue + 1`,
		"cost":    `UPDATE session_costs SET cost = cost + 1`,
		"channel": `UPDATE session_sources SET channel_name = 'New' WHERE user_id = (SELECT user_id FROM conversions WHERE user_id IN (SELECT user_id FROM session_sources) ORDER BY conv_id LIMIT 1)`,
		"session": `INSERT INTO session_sources SELECT 'new', user_id, '2023-01-01', '00:00:00', 'New', 1, 1, 0 FROM conversions ORDER BY conv_id LIMIT 1`,
		"gone":    `DELETE FROM conversions WHERE conv_id IN (SELECT conv_id FROM conversions ORDER BY conv_id LIMIT 3)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, whole := t.TempDir(), t.TempDir()
			copyFile(t, calm.db, filepath.Join(dir, "shop.db"))
			touched := 0
			switch name {
			case "channel":
				touched = conversionsOfTheFirst(t, filepath.Join(dir, "shop.db"), `WHERE user_id IN (SELECT user_id FROM session_sources)`)
			case "session":
				touched = conversionsOfTheFirst(t, filepath.Join(dir, "shop.db"), "")
			}
			a := startAPI(t, 1, sandbox.Faults{Latency: sandbox.Duration(20 * time.Millisecond)})
			cmd := command(t.Context(), env, args(dir, a)...)
			middle, release := a.onCall(30), a.hold(30)
			require.NoError(t, cmd.Start())
			<-middle
			require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
			require.Error(t, cmd.Wait())
			release()

			alter := func(dir string) {
				db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "shop.db"))
				require.NoError(t, err)
				_, err = db.ExecContext(t.Context(), change)
				require.NoError(t, err)
				require.NoError(t, db.Close())
			}
			alter(dir)
			before := a.asked()
			out, code := runIHC(t.Context(), t, env, args(dir, a)...)
			require.Zero(t, code, out)
			require.Contains(t, out, "the source data changed while the run was interrupted; run ")
			paid := a.asked() - before

			copyFile(t, calm.db, filepath.Join(whole, "shop.db"))
			alter(whole)
			b := startAPI(t, 2, sandbox.Faults{})
			out, code = runIHC(t.Context(), t, env, args(whole, b)...)
			require.Zero(t, code, out)
			users := func(name string) bool { return !strings.HasPrefix(name, "pipeline_") }
			want := whatIsLeft(t.Context(), t, filepath.Join(whole, "shop.db"), filepath.Join(whole, "out"))
			got := whatIsLeft(t.Context(), t, filepath.Join(dir, "shop.db"), filepath.Join(dir, "out"))
			require.Empty(t, want.tables.Only(users).Diff(got.tables.Only(users)))
			require.Equal(t, want.files["channel_reporting.csv"], got.files["channel_reporting.csv"])
			t.Logf("%d requests before, %d after, of %d", before, paid, b.asked())
			// Its two requests at most that were not answered when it was killed are
			// sent again, and those for journeys that are others now.
			require.LessOrEqual(t, paid, b.asked()-before+2+touched, "what was scored is paid for again")
		})
	}
}

// conversionsOfTheFirst counts the conversions of the user whose one comes first.
func conversionsOfTheFirst(t *testing.T, path, where string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM conversions WHERE user_id = (SELECT user_id FROM conversions `+where+` ORDER BY conv_id LIMIT 1)`).Scan(&n))
	return n
}
