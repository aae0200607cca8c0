package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a command prints and cannot is the environment's fault, and told once.
func TestOutputThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	t.Cleanup(func() { _ = full.Close() })
	h := newHouse(t)
	db, streams := smallShop(h), h.path("streams")
	for _, id := range []string{"first", "second"} {
		h.must("run", "--db", db, "--out", h.path("out"), "--data-dir", streams, "--run-id", id)
	}
	for _, args := range [][]string{
		{"validate", "--db", db}, {"report", "--db", db}, {"report", "--db", db, "--format", "json"}, {"report", "--db", db, "--format", "xlsx"},
		{"diff", "--db", db}, {"diff", "--db", db, "--json"}, {"diff", "--db", db, "--csv"}, {"explain", "--db", db, "c1"}, {"plan", "--db", db},
		{"models", "--db", db}, {"export", "--db", db, "--out", h.path("tables")}, {"runs", "--data-dir", streams}, {"status", "last", "--data-dir", streams},
		{"dead", "ls", "--data-dir", streams}, {"run", "--db", db, "--dry-run"}, {"run", "--db", db, "--out", h.path("out")},
		{"run", "--db", db, "--out", h.path("out"), "--json"}, {"doctor", "--db", db}, {"config"}, {"schema"}, {"version"}, {"help"}, {"completion", "zsh"},
	} {
		said, err := os.Create(h.path("said"))
		require.NoError(t, err)
		cmd := h.command(t.Context(), args...)
		cmd.Stdout, cmd.Stderr = full, said
		_ = cmd.Run()
		require.NoError(t, said.Close())
		require.Equal(t, 3, cmd.ProcessState.ExitCode(), args)
		r := result{stderr: read(t, h.path("said"))}
		require.Equal(t, "ihc: the result cannot be written to standard output: write /dev/stdout: no space left on device", r.complaint(t), args)
	}
}

// What a message advises can be typed as it stands: it asks where the command did.
func TestAdviceNamesTheDataDirectory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	h.must("run", "--db", db, "--out", h.path("out"), "--data-dir", "streams")
	for advised, args := range map[string][]string{
		"runs":    {"status", "nobody", "--data-dir", "streams"},
		"dead ls": {"dead", "show", "7", "--data-dir", "streams"},
	} {
		r := h.run(args...)
		require.Equal(t, 2, r.code, args)
		require.Contains(t, r.complaint(t), "`ihc "+advised+" --data-dir streams` lists ")
		h.must(append(strings.Fields(advised), "--data-dir", "streams")...)
	}
}
