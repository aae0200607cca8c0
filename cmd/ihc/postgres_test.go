//go:build postgres

package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/store/open"
)

// secret is a password in an address, which must not be printed.
const secret = "s3cr3t"

// withSecret returns an address of the server with a password in it.
func withSecret(server *pgtest.Server) string {
	return strings.Replace(server.DSN("postgres"), pgtest.User+"@", pgtest.User+":"+secret+"@", 1)
}

// typedWhole runs a command and returns all that it printed, with its error.
func typedWhole(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var printed bytes.Buffer
	root, _ := newRootCmd()
	root.SetArgs(args)
	root.SetOut(&printed)
	root.SetErr(&printed)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := root.ExecuteContext(ctx); err != nil {
		return printed.String() + err.Error(), err
	}
	return printed.String(), nil
}

// everyCommand is all that takes a database, in an order in which it can be done.
// DB stands for the database.
var everyCommand = [][]string{
	{"validate", "DB"},
	{"validate", "--db", "DB", "--json"},
	{"plan", "--db", "DB", "--json"},
	{"run", "--db", "DB", "--run-id", "first", "--end-date", "2023-07-31", "--out", "."},
	{"run", "--db", "DB", "--run-id", "second", "--out", "."},
	{"report", "--db", "DB", "--format", "html", "--out", "now.html"},
	{"report", "--db", "DB", "--format", "csv", "--by", "channel-day", "--timezone", "America/New_York", "--out", "now.csv"},
	{"report", "--db", "DB", "--format", "json", "--phases", "--paths", "--unattributed", "--start-date", "2023-07", "--end-date", "2023-07", "--compare", "previous"},
	{"report", "--db", "DB", "--format", "md"},
	{"report", "--db", "DB", "--format", "parquet", "--out", "now.parquet"},
	{"report", "--db", "DB", "--format", "xlsx", "--out", "now.xlsx"},
	{"report", "--db", "DB"},
	{"diff", "--db", "DB"},
	{"diff", "--db", "DB", "first", "second", "--json"},
	{"explain", "--db", "DB", "o_000000011_9b814657"},
	{"models", "--db", "DB", "--json"},
	{"model", "train", "--db", "DB", "--name", "mine", "--out", "mine.json"},
	{"model", "train", "--db", "DB", "--name", "other", "--lookback-days", "10", "--out", "other.json"},
	{"model", "compare", "--db", "DB", "mine.json", "other.json"},
	{"doctor", "--db", "DB"},
	{"export", "--db", "DB", "--out", "tables"},
	{"export", "--db", "DB", "--out", "tables", "--format", "parquet"},
	{"config", "--db", "DB"},
}

// varies is what differs from one run of the same to the next.
var varies = regexp.MustCompile(`\d+\.\d s\b|"(seconds|accepted_at|ended_at)": [^\n]*|(?m)^.*(page|report): +\S+$`)

// left is all that the commands print and write, by the command and the path.
func left(t *testing.T, database string) map[string]string {
	t.Helper()
	t.Chdir(t.TempDir())
	all := map[string]string{}
	for _, line := range everyCommand {
		args := append([]string(nil), line...)
		for i, a := range args {
			if a == "DB" {
				args[i] = database
			}
		}
		out, err := typedWhole(t, args...)
		all[strings.Join(line, " ")] = out
		require.NoError(t, err, "%s: %s", line, out)
	}
	require.NoError(t, filepath.WalkDir(".", func(path string, of fs.DirEntry, err error) error {
		if err != nil || of.IsDir() || strings.Contains(path, "jetstream") {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	}))
	here, err := os.Getwd()
	require.NoError(t, err)
	for what, text := range all {
		text = strings.NewReplacer(open.Shown(database), "DB", here, "HERE", open.Label(database), "DB").Replace(text)
		all[what] = varies.ReplaceAllString(text, "…")
	}
	return all
}

// Every command that takes a file takes an address, prints and writes the same to
// the byte, and keeps the password to itself.
func TestEveryCommandTakesPostgresInPlaceOfAFile(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{ICU: "en-US", TimeZone: "Asia/Kolkata"})
	file := sampleShop(t, `UPDATE conversions SET revenue = -revenue WHERE rowid % 11 = 0; UPDATE session_sources SET channel_name = 'éclair' WHERE rowid % 17 = 0`)
	address := withSecret(server)
	out, err := typedWhole(t, "import", "--from", file, "--db", address)
	require.NoError(t, err, out)
	require.NotContains(t, out, secret)

	want := left(t, file)
	got := left(t, address)
	for what, text := range got {
		require.NotContains(t, text, secret, what)
	}
	require.Len(t, got, len(want))
	for what := range want {
		if strings.HasPrefix(what, "config") || strings.HasPrefix(what, "doctor") || what == "now.xlsx" { // which has the time in it
			continue
		}
		require.Equal(t, want[what], got[what], what)
	}
}

// IHC_DB stands for --db, and no help shows it.
func TestPasswordIsNotPrintedFromTheEnvironment(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	t.Chdir(t.TempDir())
	t.Setenv("IHC_DB", withSecret(server))
	for _, args := range [][]string{{"validate"}, {"doctor"}, {"report"}, {"diff"}, {"explain", "c"}, {"models"}, {"plan"}, {"run"}, {"model", "train"}, {"export"}, {"import", "--sessions", "none.csv"},
		{"config"}, {"config", "--json"}, {"import", "none.zip"}, {"up", "--listen", "nowhere:-1"}, {"serve", "--console", "nowhere:-1"}} {
		out, err := typedWhole(t, args...)
		require.NotContains(t, out, secret, args)
		require.NotContains(t, out, "name the database", args)
		if args[0] != "config" && args[0] != "doctor" {
			require.Error(t, err, args) // there is no table
		}
	}
	root, _ := newRootCmd()
	for _, c := range root.Commands() {
		out, err := typedWhole(t, c.Name(), "--help")
		require.NoError(t, err)
		require.NotContains(t, out, secret, c.Name())
	}
}
