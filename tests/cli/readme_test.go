package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/freeport"
)

// pasted is a block of commands of a document, and the output that the next
// block shows of it, "" for none.
type pasted struct{ commands, shows string }

var fence = regexp.MustCompile("(?s)\n```([a-z]*)\n(.*?\n)```\n")

// pastedOf returns the blocks of commands in a document, in their order.
func pastedOf(t *testing.T, path string) []pasted {
	t.Helper()
	var all []pasted
	shown := false // the last block of commands has its output
	for _, m := range fence.FindAllStringSubmatch(read(t, path), -1) {
		switch {
		case m[1] == "sh":
			all, shown = append(all, pasted{commands: m[2]}), false
		case m[1] == "" && len(all) > 0 && !shown:
			all[len(all)-1].shows, shown = m[2], true
		}
	}
	require.NotEmpty(t, all, path)
	return all
}

// changing matches what differs from run to run: durations, and names of runs.
var changing = regexp.MustCompile(`\b\d{8}-\d{6}-[A-Z2-7]{3}\b|\b\d+\.\d s\b`)

// belated matches the lines that tell how far a run is, which a slow machine alone
// gets to see.
var belated = regexp.MustCompile(`(?m)^(waiting\b.*|.*\bconversions extracted\b.*|(checking|sorting|writing|making) the \w+, about .* left)\n`)

// requireShown holds what a document shows against what came. A line … stands
// for any number of lines.
func requireShown(t *testing.T, shows, came string) {
	t.Helper()
	pattern := ""
	for line := range strings.Lines(shows) {
		if line == "…\n" {
			pattern += `(?s:.*?)`
			continue
		}
		pattern += regexp.QuoteMeta(changing.ReplaceAllString(line, "~"))
	}
	require.Regexp(t, `^`+pattern, changing.ReplaceAllString(belated.ReplaceAllString(came, ""), "~"))
}

// paste runs commands in bash as somebody pastes them, and returns what came.
// In the place of make and go, for which there is no clone, stands the command.
func paste(t *testing.T, h *house, commands string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", `make() { bin/ihc "$@" --out out/demo; }; go() { :; }
`+commands)
	cmd.Dir, cmd.Env = h.dir, h.env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", commands, out)
	return string(out)
}

// The README can be pasted from top to bottom, and shows what comes. Blocks for
// containers are run by the tests in tests/e2e.
func TestReadmeShowsWhatComes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bin(t, h)
	port := fmt.Sprint(freeport.Hold(t).Port())
	ran := 0
	for _, block := range pastedOf(t, "../../README.md") {
		if strings.Contains(block.commands, "docker ") {
			continue
		}
		ran++
		elsewhere := strings.NewReplacer("sandbox ", "sandbox --listen 127.0.0.1:"+port+" ", ":8088", ":"+port)
		require.NotEmpty(t, block.shows, "no output is shown of %s", block.commands)
		came := paste(t, h, elsewhere.Replace(block.commands))
		requireShown(t, block.shows, strings.ReplaceAll(came, ":"+port, ":8088"))
	}
	require.Greater(t, ran, 3)
}

// bin puts the command where a clone has it.
func bin(t *testing.T, h *house) {
	t.Helper()
	require.NoError(t, os.Mkdir(h.path("bin"), 0o700))
	require.NoError(t, os.Symlink(ihc, h.path("bin", "ihc")))
}

// The shell of docs/daily.md does what it says: the command by hand, the script
// for cron, and its tries.
func TestDailyRunsDoWhatTheyShow(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("no jq")
	}
	h := newHouse(t)
	bin(t, h)
	h.must("demo", "--out", h.path("out", "demo"))
	for _, block := range pastedOf(t, "../../docs/daily.md") {
		came := paste(t, h, block.commands)
		requireShown(t, block.shows, came)
	}
	require.Equal(t, "daily-2023-08-30", endingIn(t, read(t, h.path("out", "result.json"))).RunID)

	// What may pass is tried again, and told in the end.
	tried := exec.CommandContext(t.Context(), "./daily.sh", "2023-08-29")
	tried.Dir, tried.Env = h.dir, h.with("SHOP=none.db", "PAUSE=0").env
	out, err := tried.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 3, tried.ProcessState.ExitCode(), "%s", out)
	require.Equal(t, 3, strings.Count(string(out), "ihc: no database at"), "%s", out)
	require.Contains(t, string(out), `failed: no database at "none.db"`)
}
