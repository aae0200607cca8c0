package main

import (
	"archive/zip"
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/mattn/go-sqlite3"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// command runs one command with arguments and returns what it printed on
// standard output and its error.
func command(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// sampleShop makes a shop and changes it by a script.
func sampleShop(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	_, err := sqlite.GenerateShop(t.Context(), path, shop.Config{Sessions: 600}, false)
	require.NoError(t, err)
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(script)
	require.NoError(t, err)
	return path
}

func zipped(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	target := filepath.Join(t.TempDir(), "challenge.zip")
	f, err := os.Create(target)
	require.NoError(t, err)
	w := zip.NewWriter(f)
	m, err := w.Create("folder/" + filepath.Base(path))
	require.NoError(t, err)
	_, err = m.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	return target
}

const (
	withWarning = `UPDATE conversions SET revenue = -1 WHERE rowid = 1`
	withErrors  = `UPDATE conversions SET conv_date = '1.6.2023' WHERE rowid <= 3; DROP TABLE session_costs`
)

func TestValidateCommand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		args   []string
		exit   int
		prints []string
		says   string
	}{
		"sound":          {"", nil, 0, []string{"600 sessions from 2023-06-01 to 2023-08-31", "\nsound: 0 errors, "}, ""},
		"range":          {"", []string{"--start-date", "2023-07-01", "--end-date", "2023-07-31"}, 0, []string{"of them in range"}, ""},
		"warning":        {withWarning, nil, 0, []string{"\nwarning: conversions.revenue: 1 row: ", "\nsound: 0 errors, 2 warnings"}, ""},
		"warning strict": {withWarning, []string{"--strict"}, 2, []string{"\nnot sound: 0 errors, 2 warnings"}, "2 warnings, which --strict"},
		"errors":         {withErrors, nil, 2, []string{"\nerror: conversions.conv_date: 3 rows: ", "\nerror: session_costs: the table is missing", "\nnot sound: 2 errors"}, "and 1 more error"},
		"wrong date":     {"", []string{"--start-date", "1.6.2023"}, 2, nil, "is no date: write it as YYYY-MM-DD"},
		"wrong range":    {"", []string{"--start-date", "2023-06-02", "--end-date", "2023-06-01"}, 2, nil, "swap them"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := command(t, newValidateCmd(), append([]string{"--db", sampleShop(t, c.script)}, c.args...)...)
			require.Equal(t, c.exit, errkind.ExitCode(err), err)
			if c.exit != 0 {
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "\n")
			}
			for _, p := range c.prints {
				require.Contains(t, out, p)
			}
			if c.prints == nil {
				require.Empty(t, out)
			}
		})
	}
}

func TestValidateCommandWithoutDatabase(t *testing.T) {
	t.Parallel()
	_, err := command(t, newValidateCmd())
	require.Equal(t, 2, errkind.ExitCode(err))
	require.ErrorContains(t, err, "--db")
	_, err = command(t, newValidateCmd(), "--db", filepath.Join(t.TempDir(), "none.db"))
	require.Equal(t, 3, errkind.ExitCode(err))
	text := filepath.Join(t.TempDir(), "x.db")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o600))
	_, err = command(t, newValidateCmd(), "--db", text)
	require.Equal(t, 2, errkind.ExitCode(err))
}

func TestValidateCommandJSON(t *testing.T) {
	t.Parallel()
	path := sampleShop(t, withErrors)
	out, err := command(t, newValidateCmd(), "--db", path, "--json")
	require.Equal(t, 2, errkind.ExitCode(err))
	var got struct {
		Database string
		Sound    bool
		Errors   int
		Sessions int64
		Findings []findings.Finding
	}
	d := json.NewDecoder(bytes.NewBufferString(out))
	require.NoError(t, d.Decode(&got))
	require.False(t, d.More(), "one object and nothing else")
	require.Equal(t, path, got.Database)
	require.False(t, got.Sound)
	require.Equal(t, 2, got.Errors)
	require.Equal(t, int64(600), got.Sessions)
	require.Equal(t, "unreadable_date", got.Findings[0].Code)
}
