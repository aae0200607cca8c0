package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// called runs one command on its own and returns what it printed.
func called(t *testing.T, cmd *cobra.Command, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&log)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), log.String(), err
}

// requireFault wants an error of that kind, on one line, that says so much.
func requireFault(t *testing.T, kind errkind.Kind, says string, err error) {
	t.Helper()
	require.ErrorContains(t, err, says)
	require.Equal(t, kind, errkind.KindOf(err), "%v", err)
	require.NotContains(t, err.Error(), "\n")
}

// journeysDB writes a shop of that many users with one conversion each, whose
// sessions go A, B, …, an hour and then two hours apart.
func journeysDB(t *testing.T, users, sessions int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(t, err)
	var script strings.Builder
	script.WriteString(sqlite.Schema + "BEGIN;")
	for u := range users {
		for s := range sessions {
			fmt.Fprintf(&script, "INSERT INTO session_sources VALUES ('u%d-s%d', 'u%d', '2023-09-01', '%02d:00:00', '%c', 1, %d, 0);",
				u, s, u, s*(s+1)/2, 'A'+s%26, s%2)
		}
		fmt.Fprintf(&script, "INSERT INTO session_sources VALUES ('u%d-later', 'u%d', '2023-09-02', '00:00:00', 'Later', 0, 0, 0);", u, u)
		fmt.Fprintf(&script, "INSERT INTO conversions VALUES ('c%d', 'u%d', '2023-09-02', '00:00:00', 10);", u, u)
	}
	script.WriteString("COMMIT;")
	_, err = db.Exec(script.String())
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return path
}

// change runs a statement on a database.
func change(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(t, err)
	_, err = db.Exec(statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

func TestModelShow(t *testing.T) {
	t.Parallel()
	out, _, err := called(t, newModelCmd(), "", "show", "--text")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(out, "published-shop\n"), "the model says whose it is: %s", out)
	for _, says := range []string{"Not constants of the method", "initializer 0.323, holder 0.374, closer 0.303", "151 knots", "Direct Traffic"} {
		require.Contains(t, out, says)
	}
	out, _, err = called(t, newModelCmd(), "", "show")
	require.NoError(t, err)
	p, err := ihcmodel.ParseParams([]byte(out))
	require.NoError(t, err)
	require.Equal(t, ihcmodel.DefaultParams(), p)
	_, _, err = called(t, newModelCmd(), "", "show", "--json", "--text")
	requireFault(t, errkind.Input, "one or the other", err)
}

func TestModelValidate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "params.json")
	p := ihcmodel.DefaultParams()
	p.ChannelScores = nil
	require.NoError(t, os.WriteFile(file, p.JSON(), 0o600))
	out, _, err := called(t, newModelCmd(), "", "validate", file)
	require.NoError(t, err)
	require.Equal(t, file+": valid (published-shop: 151 and 82 knots, 0 channels)\n", out)
	out, _, err = called(t, newModelCmd(), "", "show", file, "--text")
	require.NoError(t, err)
	require.Contains(t, out, "channel scores: none")
	out, _, err = called(t, newModelCmd(), string(p.JSON()), "validate", "-")
	require.NoError(t, err)
	require.Contains(t, out, "standard input: valid")

	require.NoError(t, os.WriteFile(file, []byte(`{"name":"x","shop":1}`), 0o600))
	_, _, err = called(t, newModelCmd(), "", "validate", file)
	requireFault(t, errkind.Input, file+`: unknown field "shop"`, err)
	_, _, err = called(t, newModelCmd(), "", "validate", file+"-not")
	requireFault(t, errkind.Input, "no such file", err)
	_, _, err = called(t, newModelCmd(), "", "validate")
	requireFault(t, errkind.Input, "takes one argument, a parameter file; 0 given", err)
	_, _, err = called(t, newModelCmd(), "", "show", file)
	requireFault(t, errkind.Input, "unknown field", err)
}

func TestModelTrain(t *testing.T) {
	t.Parallel()
	db, dir := journeysDB(t, 300, 4), t.TempDir()
	change(t, db, `UPDATE session_sources SET event_time = '05:59:00' WHERE event_time = '06:00:00'`) // gaps too much alike to cut any
	out, plots := filepath.Join(dir, "params.json"), filepath.Join(dir, "plots")
	report, log, err := called(t, newModelCmd(), "", "train", "--db", db, "--out", out, "--plots", plots, "--guess-scores")
	require.NoError(t, err)
	require.Contains(t, report, "Learned from 300 journeys, 300 of them with two sessions or more (1200 sessions).")
	require.Contains(t, report, "wrote "+out)
	require.NotContains(t, report, "Later", "a session at the time of the conversion is not before it")
	require.Contains(t, log, "closer-curve.svg")

	data, err := os.ReadFile(out)
	require.NoError(t, err)
	p, err := ihcmodel.ParseParams(data)
	require.NoError(t, err)
	require.Equal(t, "trained on shop.db", p.Name)
	require.Contains(t, p.Provenance, "300 conversions from 2023-09-02 to 2023-09-02")
	require.Greater(t, p.ChannelScores["A"].Initializer, 1.2, "A opens every journey")
	require.Less(t, p.ChannelScores["B"].Initializer, 0.8)
	require.Greater(t, p.ChannelScores["D"].Closer, 1.2, "D ends every journey")
	for _, name := range []string{"initializer-curve.svg", "closer-curve.svg"} {
		svg, err := os.ReadFile(filepath.Join(plots, name))
		require.NoError(t, err)
		require.Contains(t, string(svg), "trained on shop.db")
		require.Contains(t, string(svg), "published-shop", "drawn beside it")
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "no half-written file is left")

	// The same data give the same file.
	again := filepath.Join(dir, "again.json")
	_, _, err = called(t, newModelCmd(), "", "train", "--db", db, "--out", again, "--guess-scores")
	require.NoError(t, err)
	same, err := os.ReadFile(again)
	require.NoError(t, err)
	require.Equal(t, string(data), string(same))
}

func TestModelTrainSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "params.json")
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("no database"), 0o600))
	shop := journeysDB(t, 3, 2)
	for _, tc := range []struct {
		kind errkind.Kind
		says string
		args []string
	}{
		{errkind.Input, "say where the parameters go: --out FILE", []string{"--db", shop}},
		{errkind.Input, "--db", []string{"--out", out}},
		{errkind.Environment, "no such file", []string{"--db", shop + "-not", "--out", out}},
		{errkind.Input, "is no SQLite database", []string{"--db", text, "--out", out}},
		{errkind.Input, "no journey has two sessions or more", []string{"--db", journeysDB(t, 3, 1), "--out", out}},
		{errkind.Environment, "cannot write", []string{"--db", shop, "--out", filepath.Join(text, "x", "params.json")}},
		{errkind.Environment, "--plots", []string{"--db", shop, "--out", out + "2", "--plots", filepath.Join(text, "plots")}},
	} {
		_, _, err := called(t, newModelCmd(), "", append([]string{"train"}, tc.args...)...)
		requireFault(t, tc.kind, tc.says, err)
		require.NoFileExists(t, out)
	}
}
