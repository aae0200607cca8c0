package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain lets the tests run this program as the command ihc.
func TestMain(m *testing.M) {
	if os.Getenv("IHC_TEST_AS_COMMAND") != "" {
		os.Exit(execute(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func TestAFullStandardOutputIsTheEnvironmentsFault(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	t.Cleanup(func() { _ = full.Close() })
	self, err := os.Executable()
	require.NoError(t, err)
	for _, args := range [][]string{{"--version"}, {"--help"}, {"model", "show"}, {"model", "show", "--text"},
		{"version"}, {"schema"}, {"config"}, {"help", "run"}, {"completion", "bash"}} {
		said := &tail{}
		cmd := exec.CommandContext(t.Context(), self, args...)
		cmd.Env = append(os.Environ(), "IHC_TEST_AS_COMMAND=1")
		cmd.Stdout, cmd.Stderr = full, said
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Run(), &exit, "%q", args)
		require.Equal(t, 3, exit.ExitCode(), "%q", args)
		require.Equal(t, "ihc: the result cannot be written to standard output: write /dev/stdout: no space left on device\n", said.text, "%q", args)
	}
}

// tail keeps what was written.
type tail struct{ text string }

func (t *tail) Write(p []byte) (int, error) { t.text += string(p); return len(p), nil }

// A program that asked for JSON gets JSON also of what went wrong, once, with the
// code that the HTTP API has for it.
func TestWhoAsksForJSONGetsTheErrorsCode(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	run := func(args ...string) (stdout string, exit int) {
		cmd := exec.CommandContext(t.Context(), self, args...)
		cmd.Env = append(os.Environ(), "IHC_TEST_AS_COMMAND=1")
		out, err := cmd.Output()
		var failed *exec.ExitError
		require.ErrorAs(t, err, &failed, "%q", args)
		return string(out), failed.ExitCode()
	}
	nowhere := t.TempDir() + "/shop.db"
	for _, args := range [][]string{{"report", "--db", nowhere, "--format", "json"}, {"explain", "--db", nowhere, "--json", "o1"}, {"validate", "--db", nowhere, "--json"},
		{"plan", "--db", nowhere, "--json"}, {"run", "--db", nowhere, "--json", "--out", t.TempDir()}} {
		out, exit := run(args...)
		var told struct{ Error, Code string }
		require.NoError(t, json.Unmarshal([]byte(out), &told), "%q: %s", args, out)
		require.Equal(t, "environment", told.Code, "%q", args)
		require.Contains(t, told.Error, "no database at", "%q", args)
		require.Equal(t, 3, exit, "%q", args)
	}
	out, exit := run("report", "--db", nowhere, "--format", "json", "--start-date", "2023-13-01")
	require.Contains(t, out, `"code": "bad_input"`)
	require.Equal(t, 2, exit)
	out, _ = run("report", "--db", nowhere, "--format", "csv")
	require.Empty(t, out)
}
