package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// ihc is the path of the command, built once.
var ihc string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ihc-cli-")
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // temporary
		ihc = filepath.Join(dir, "ihc")
		args := []string{"build", "-o", ihc}
		if raceDetector {
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, "github.com/ihc-pipeline/ihc/cmd/ihc")...)
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build ihc: %v\n", err)
			return 1
		}
		return m.Run()
	}())
}

// patience is how long one command may take before the test calls it hung: much
// longer than the slowest does on a machine that has other things to do.
const patience = 5 * time.Minute

// house is where one test lives: its directory, and the environment its
// commands get, which is nothing of the tester's own.
type house struct {
	t   *testing.T
	dir string
	env []string
	as  *syscall.Credential // nil: the tester
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	return &house{t: t, dir: dir, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + tmp}}
}

// with returns the house with more environment.
func (h *house) with(env ...string) *house {
	more := *h
	more.env = append(append([]string{}, h.env...), env...)
	return &more
}

func (h *house) path(name ...string) string {
	return filepath.Join(append([]string{h.dir}, name...)...)
}

// result is what came out of a command.
type result struct {
	stdout, stderr string
	code           int
}

// complaint returns the one line that says why a command did not do what it
// was asked, and fails the test if there is not exactly one.
func (r result) complaint(t *testing.T) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(r.stderr) {
		if strings.HasPrefix(line, "ihc: ") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	require.Len(t, lines, 1, "one line says what was wrong\nstdout: %s\nstderr: %s", r.stdout, r.stderr)
	require.True(t, strings.HasSuffix(r.stderr, lines[0]+"\n"), "and it is the last\n%s", r.stderr)
	for _, trace := range []string{"goroutine ", "panic:", "runtime error"} {
		require.NotContains(t, r.stderr+r.stdout, trace)
	}
	return lines[0]
}

// run runs the command to its end.
func (h *house) run(args ...string) result { return h.feed(nil, args...) }

func (h *house) feed(stdin io.Reader, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(h.t, err, "ihc %s", strings.Join(args, " "))
	}
	require.NoError(h.t, ctx.Err(), "ihc %s hangs\n%s%s", strings.Join(args, " "), &out, &errs)
	left, err := os.ReadDir(h.path("tmp"))
	require.NoError(h.t, err)
	require.Empty(h.t, left, "ihc %s left something in the temporary directory", strings.Join(args, " "))
	return result{stdout: out.String(), stderr: errs.String(), code: cmd.ProcessState.ExitCode()}
}

func (h *house) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, ihc, args...)
	cmd.Env, cmd.Dir = h.env, h.dir
	if h.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.as}
	}
	return cmd
}

// must runs the command and expects it to succeed.
func (h *house) must(args ...string) result {
	h.t.Helper()
	r := h.run(args...)
	require.Zero(h.t, r.code, "ihc %s\n%s%s", strings.Join(args, " "), r.stdout, r.stderr)
	return r
}

// server is a command that runs until it is told to stop.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	first string // the line it prints when it is ready
	errs  *os.File
	rest  chan string
	ended bool
}

// serve starts the command and returns when it has printed its first line.
func (h *house) serve(args ...string) *server {
	h.t.Helper()
	errs, err := os.CreateTemp(h.dir, "stderr-*")
	require.NoError(h.t, err)
	cmd := h.command(context.WithoutCancel(h.t.Context()), args...)
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	require.NoError(h.t, err)
	require.NoError(h.t, cmd.Start())
	s := &server{t: h.t, cmd: cmd, errs: errs, rest: make(chan string, 1)}
	h.t.Cleanup(func() {
		if !s.ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	reader := bufio.NewReader(out)
	line := make(chan string, 1)
	go func() {
		first, _ := reader.ReadString('\n')
		line <- first
		rest, _ := io.ReadAll(reader)
		s.rest <- string(rest)
	}()
	select {
	case s.first = <-line:
	case <-time.After(patience):
	}
	require.NotEmpty(h.t, s.first, "ihc %s did not get ready\n%s", strings.Join(args, " "), s.stderr())
	return s
}

func (s *server) stderr() string {
	data, err := os.ReadFile(s.errs.Name())
	require.NoError(s.t, err)
	return string(data)
}

// stop ends the command with a signal and returns its exit code.
func (s *server) stop(signal os.Signal) int {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(signal))
	done := make(chan struct{})
	go func() { <-s.rest; _ = s.cmd.Wait(); close(done) }()
	select {
	case <-done:
		s.ended = true
	case <-time.After(patience):
		require.Fail(s.t, "it does not stop", s.stderr())
	}
	return s.cmd.ProcessState.ExitCode()
}

// tables reads the database at path.
func tables(t *testing.T, path string) snapshot.Tables {
	t.Helper()
	all, err := snapshot.Take(t.Context(), path)
	require.NoError(t, err)
	return all
}

// untouched are the tables that no run may change.
func untouched(name string) bool {
	return !strings.HasPrefix(name, "pipeline_") && name != "attribution_customer_journey" && name != "channel_reporting"
}

// read returns the content of a file.
func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// poll is how often a condition is looked at while it is waited for.
const poll = 20 * time.Millisecond
