package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type shownSetting struct{ Name, Value, From string }

func settings(t *testing.T, h *house, args ...string) map[string]shownSetting {
	t.Helper()
	var shown struct {
		File     string
		Settings []shownSetting
	}
	require.NoError(t, json.Unmarshal([]byte(h.must(append([]string{"config", "--json"}, args...)...).stdout), &shown))
	by := map[string]shownSetting{}
	for _, s := range shown.Settings {
		by[s.Name] = s
	}
	return by
}

// A flag that is typed comes before the environment, that before the file.
func TestSettingsHaveAnOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	text(t, h.path("ihc.yaml"), "lookback-days: 3\nstart-date: 2023-09-01\nend-date: 2023-09\nout: from-file\nrun:\n  max-sessions: 70\nvalidate:\n  strict: true\n")
	with := h.with("IHC_START_DATE=2023-09-02", "IHC_API_KEY="+secret)
	got := settings(t, with)
	require.Equal(t, shownSetting{"start-date", "2023-09-02", "IHC_START_DATE"}, got["start-date"])
	require.Equal(t, shownSetting{"end-date", "2023-09", "ihc.yaml"}, got["end-date"])
	require.Equal(t, shownSetting{"max-sessions", "70", "ihc.yaml"}, got["max-sessions"])
	require.Equal(t, shownSetting{"max-journeys", "100", "default"}, got["max-journeys"])
	require.Equal(t, shownSetting{"IHC_API_KEY", "(hidden)", "environment"}, got["IHC_API_KEY"])
	require.Equal(t, "true", settings(t, with, "validate")["strict"].Value)

	e := endingIn(t, h.with("IHC_START_DATE=2023-09-02").must("run", db, "--end-date", "2023-09-03", "--json").stdout)
	require.Equal(t, []string{"2023-09-02", "2023-09-03"}, []string{e.StartDate, e.EndDate})
	require.FileExists(t, h.path("from-file", "channel_reporting.csv"))

	// Beside the database, and not where the command is typed.
	require.NoError(t, os.Mkdir(h.path("elsewhere"), 0o700))
	text(t, h.path("elsewhere", "ihc.yaml"), "max-sessions: 0\n")
	require.Equal(t, "70", settings(t, h, "--db", db)["max-sessions"].Value)
	require.Equal(t, "0", settings(t, h, "--db", h.path("elsewhere", "x.db"))["max-sessions"].Value)
}

func TestFilesOfSettingsThatAreWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	for content, says := range map[string]string{
		"max-sesions: 3":       `ihc.yaml: line 1: max-sesions: no command has the flag --max-sesions (did you mean "max-sessions"?)`,
		"run:\n  timout: 3s":   `ihc.yaml: line 2: run.timout: no command has the flag --timout (did you mean "timeout"?)`,
		"timeout: soon":        `ihc.yaml: timeout "soon": use a duration such as 90s, 5m or 1h30m`,
		"db: [a, b]":           "ihc.yaml: line 1: db takes one value",
		"max-sessions: 3\n\t-": "ihc.yaml: this is no YAML",
	} {
		text(t, h.path("ihc.yaml"), content)
		before := stateOf(t, db, h.path("out"))
		requireRefused(t, h.run("run", db, "--out", h.path("out")), 2, says, before, stateOf(t, db, h.path("out")))
	}
	r := h.run("run", db, "--config", h.path("none.yaml"))
	require.Equal(t, 2, r.code)
	require.Contains(t, r.complaint(t), "--config: open ")
	r = h.with("IHC_TIMEOUT=soon").run("run", db, "--config", text(t, h.path("empty.yaml"), ""))
	require.Contains(t, r.complaint(t), `environment variable IHC_TIMEOUT: timeout "soon": `)
	for variable, says := range map[string]string{
		"IHC_GRACE": "use a duration such as 90s, 5m or 1h30m", "IHC_CONCURRENCY": "use a whole number", "IHC_CONSOLE_READ_ONLY": "use true or false",
	} {
		r = h.with(variable+"=soon").run("up", db, "--config", h.path("empty.yaml"))
		require.Equal(t, 2, r.code, variable)
		require.Regexp(t, `^ihc: environment variable `+variable+`: (\S+ )?"soon"( is no value that it takes)?: `+says+`$`, r.complaint(t))
	}
}

func TestMisspeltCommands(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for words, says := range map[string]string{
		"rnu":      `unknown command "rnu" for "ihc" (did you mean "run"?)`,
		"valdiate": `(did you mean "validate"?)`,
		"xyzzy":    `unknown command "xyzzy" for "ihc"; see "ihc --help"`,

		"completion nosh": "ihc completion knows no shell \"nosh\": use bash, fish, powershell, zsh",
		"help nosh":       `unknown command "nosh" for "ihc"; see "ihc --help"`,
		"help model trai": `unknown command "trai" for "ihc model" (did you mean "train"?)`,
	} {
		r := h.run(strings.Fields(words)...)
		require.Equal(t, 2, r.code)
		require.Contains(t, r.complaint(t), says)
	}
	require.Contains(t, h.run("runs", "--state", "faild").complaint(t), `(did you mean "failed"?)`)
}

func TestDoctorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	before := tables(t, db)
	api, root := startSandbox(h.with("IHC_SANDBOX_KEY=" + secret))
	good := h.with("IHC_API_KEY="+secret, "IHC_CONV_TYPE_ID=any").must("doctor", db, "--api-url", api)
	require.NotContains(t, good.stdout, "wrong")
	require.NotContains(t, good.stdout+good.stderr, secret)
	var stats struct {
		Scored int `json:"conversions_scored"`
	}
	getJSON(t, root+"/stats", &stats)
	require.Zero(t, stats.Scored)
	require.Empty(t, before.Diff(tables(t, db)), "it changes nothing")

	bad := h.with("IHC_API_KEY=another-key-altogether", "IHC_CONV_TYPE_ID=any").run("doctor", db, "--api-url", api)
	require.Equal(t, 3, bad.code)
	require.Contains(t, bad.complaint(t), "key: the API refuses it")
	require.Equal(t, 3, h.run("doctor", "--db", h.path("none.db")).code)
	require.Equal(t, 3, h.run("doctor", db, "--nats", "nats://127.0.0.1:1").code)
}

func TestVersionSaysCommitAndDate(t *testing.T) {
	t.Parallel()
	var v map[string]string
	require.NoError(t, json.Unmarshal([]byte(newHouse(t).must("version", "--json").stdout), &v))
	for _, key := range []string{"version", "commit", "date", "go"} {
		require.NotEmpty(t, v[key], key)
	}
}

func TestRunsAreChosen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	for _, id := range []string{"one", "two", "three"} {
		h.must("run", db, "--out", h.path("out"), "--run-id", id, "--data-dir", h.path("streams"))
	}
	listed := func(args ...string) (ids []string) {
		var runs []ending
		require.NoError(t, json.Unmarshal([]byte(h.must(append([]string{"runs", "--data-dir", h.path("streams"), "--json"}, args...)...).stdout), &runs))
		for _, r := range runs {
			ids = append(ids, r.RunID)
		}
		return ids
	}
	require.Equal(t, []string{"one", "two", "three"}, listed("--state", "completed,failed", "--since", "yesterday"))
	require.Equal(t, []string{"two", "three"}, listed("--limit", "2"))
	require.Empty(t, listed("--state", "failed"))
	require.Empty(t, listed("--since", "2999-01"))
	require.Contains(t, h.must("status", "on", "--data-dir", h.path("streams")).stdout, "completed")
	require.Contains(t, h.run("status", "t", "--data-dir", h.path("streams")).complaint(t), "several runs begin with t, two and three among them")
	offered := h.must("__complete", "status", "--data-dir", h.path("streams"), "").stdout
	require.Contains(t, offered, "last\tthe last run\nthree\tcompleted, all conversions\n")
	require.Contains(t, h.must("__complete", "run", "--model", "").stdout, "builtin\n")
	require.Contains(t, h.must("__complete", "run", "--model", "").stdout, "linear\n")
	require.Contains(t, h.must("__complete", "run", "--long-journeys", "").stdout, "latest\n")
}

// A run without streams is known to the database, also once its records have gone.
func TestRunsThatADatabaseKnows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	var ids []string
	for range 4 {
		ids = append(ids, endingIn(t, h.must("run", db, "--out", h.path("out"), "--keep-runs", "2", "--json").stdout).RunID)
	}
	type known struct {
		ending
		Dropped bool
	}
	var runs []known
	require.NoError(t, json.Unmarshal([]byte(h.must("runs", db, "--json").stdout), &runs))
	require.Len(t, runs, 4)
	for i, r := range runs {
		require.Equal(t, []any{ids[i], "reported", i < 2}, []any{r.RunID, r.Status, r.Dropped})
	}
	require.Contains(t, h.must("runs", db).stdout, "dropped")
	require.Contains(t, h.must("status", ids[0], "--db", db).stdout, "dropped (--keep-runs)")
	require.Contains(t, h.must("status", "last", "--db", db).stdout, "kept")
	for _, command := range []string{"status", "diff"} {
		require.Contains(t, h.must("__complete", command, "--db", db, "").stdout, ids[3]+"\treported, all conversions\n")
	}
	require.Equal(t, 2, h.run("status", "none", "--db", db).code)
	require.Contains(t, h.run("runs", db, "--state", "repoted").complaint(t), `(did you mean "reported"?)`)
	require.Contains(t, h.run("runs", db, "--data-dir", h.path("streams")).complaint(t), "give one of them")
	require.Equal(t, 2, h.run("status", ids[0], "--db", db, "--watch").code)

	// The file's database is asked where there are no streams, and only there.
	text(t, h.path("ihc.yaml"), "db: shop.db\n")
	require.Contains(t, h.must("runs", "--limit", "1").stdout, ids[3])
	h.must("run", "--run-id", "night", "--data-dir", h.path("streams"), "--out", h.path("out"))
	require.NotContains(t, h.must("runs", "--data-dir", h.path("streams")).stdout, ids[3])
}
