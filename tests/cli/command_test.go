package cli

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// commands returns every command there is, as words: what help lists, at
// every level.
func commands(h *house, words ...string) [][]string {
	h.t.Helper()
	all := [][]string{words}
	help := h.must(append(append([]string{}, words...), "--help")...).stdout
	listed := false
	for line := range strings.Lines(help) {
		switch {
		case strings.HasSuffix(strings.TrimSpace(line), ":"):
			title := strings.TrimSpace(line)
			listed = title != "Flags:" && title != "Global Flags:" && title != "Usage:" && title != "Examples:" && title != "Aliases:"
		case strings.TrimSpace(line) == "":
			listed = false
		case listed:
			m := regexp.MustCompile(`^  ([a-z-]+)  +\S`).FindStringSubmatch(line)
			if len(m) == 2 && m[1] != "help" {
				all = append(all, commands(h, append(append([]string{}, words...), m[1])...)...)
			}
		}
	}
	return all
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := commands(h)
	require.Greater(t, len(all), 10)
	names := map[string]bool{}
	for _, words := range all {
		name := strings.Join(words, " ")
		names[name] = true
		help := h.must(append(append([]string{}, words...), "--help")...)
		require.Empty(t, help.stderr, name)
		require.Contains(t, help.stdout, "Usage:", name)
		require.Contains(t, help.stdout, "-h, --help", name)
		for line := range strings.Lines(help.stdout) {
			require.NotRegexp(t, `^ +--[a-z-]+( [a-z]+)?\s*$`, line, "%s: a flag without a word about it", name)
		}
		require.Equal(t, help.stdout, h.must(append([]string{"help"}, words...)...).stdout, name)
		if len(words) > 0 && words[0] != "completion" && !strings.Contains(help.stdout, "Available Commands:") {
			require.Contains(t, help.stdout, "Examples:\n  ", "%s: no example", name)
		}
	}
	for _, name := range []string{"demo", "run", "up", "import", "validate", "sandbox", "score", "model", "completion bash"} {
		require.Contains(t, names, name)
	}
	require.Regexp(t, `^ihc version \S+\n$`, h.must("--version").stdout)
}

func TestShellCompletion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for shell, check := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"-n"}, "powershell": nil} {
		r := h.must("completion", shell)
		require.Empty(t, r.stderr, shell)
		require.Contains(t, r.stdout, "__complete", shell)
		if path, err := exec.LookPath(shell); err == nil && check != nil { // the shell itself finds no fault with it
			parse := exec.CommandContext(t.Context(), path, check...)
			parse.Stdin = strings.NewReader(r.stdout)
			out, err := parse.CombinedOutput()
			require.NoError(t, err, "%s: %s", shell, out)
		}
	}
	require.Contains(t, h.must("__complete", "ru").stdout, "run\t")
	flags := h.must("__complete", "run", "--start").stdout
	require.Contains(t, flags, "--start-date")
}

func TestDemo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.must("demo", "--out", h.path("demo"))
	require.Contains(t, r.stdout, "Reconciliation")
	require.NotContains(t, r.stdout, "DOES NOT HOLD")
	for _, file := range []string{"shop.db", "channel_reporting.csv", "reconciliation.json"} {
		require.FileExists(t, h.path("demo", file))
		require.Contains(t, r.stdout, h.path("demo", file), "the demonstration names what it made")
	}
	first := tables(t, h.path("demo", "shop.db"))
	csvBytes := read(t, h.path("demo", "channel_reporting.csv"))
	h.must("demo", "--out", h.path("demo")) // over the first
	require.Empty(t, first.Only(untouched).Diff(tables(t, h.path("demo", "shop.db")).Only(untouched)))
	require.Equal(t, csvBytes, read(t, h.path("demo", "channel_reporting.csv")))
	h.must("demo", "--out", h.path("other"), "--seed", "2")
	require.NotEqual(t, csvBytes, read(t, h.path("other", "channel_reporting.csv")))
}

// An interrupted run with a data directory goes on where it stood, and what
// was being asked when it was interrupted is not asked again.
func TestInterruptedRunGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t).with("IHC_API_KEY=" + secret)
	h.must("demo", "--out", h.path("demo"))
	h.must("demo", "--out", h.path("undisturbed")) // the same shop
	whole, _ := startSandbox(h)
	h.must("run", "--db", h.path("undisturbed", "shop.db"), "--out", h.path("undisturbed"), "--model", "api", "--api-url", whole, "--conv-type-id", "any")
	reference := read(t, h.path("undisturbed", "channel_reporting.csv"))
	const atOnce = 8
	api := newGate(t, atOnce)
	args := []string{"run", "--db", h.path("demo", "shop.db"), "--out", h.path("out"), "--model", "api", "--api-url", api.url,
		"--conv-type-id", "any", "--data-dir", h.path("streams")}

	run, said := h.with("IHC_GRACE=1h").begin(args...)
	require.True(t, assertEventually(func() bool { return api.came.Load() > atOnce }), said())
	require.NoError(t, run.Process.Signal(syscall.SIGINT))
	require.True(t, assertEventually(func() bool { return strings.Contains(said(), "stopping: waiting for what is under way") }), said())
	api.open()
	require.Error(t, run.Wait())
	require.Equal(t, 130, run.ProcessState.ExitCode(), said())
	require.Regexp(t, `(?m)^ihc: interrupted; the same command goes on with run \S+$`, said())
	require.Less(t, api.Stats().ConversionsScored, 600, "it was interrupted in the middle")

	other := h.run(append(args, "--lookback-days", "3")...) // but not with other settings
	require.Equal(t, 2, other.code)
	require.Contains(t, other.complaint(t), "unfinished and with other settings")

	r := h.must(append(args, "--json")...)
	require.Contains(t, r.stderr, "going on with run ")
	o := parse(t, r.stdout)
	require.Equal(t, "completed", o.Status)
	stats := api.Stats()
	require.Equal(t, o.Conversions.Attributed, stats.ConversionsScored)
	require.Zero(t, stats.ConversionsScoredTwice)
	require.Equal(t, o.Requests, stats.Requests)
	require.Equal(t, reference, read(t, o.CSV))

	// The next time there is nothing to go on with: it is a new run.
	again := parse(t, h.must(append(args, "--json")...).stdout)
	require.NotEqual(t, o.RunID, again.RunID)
	require.Equal(t, filepath.Dir(o.CSV), filepath.Dir(again.CSV))
}
