package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func TestImportCommand(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	sound := zipped(t, sampleShop(t, ""))
	out, err := command(t, newImportCmd(), sound, "--data", data)
	require.NoError(t, err)
	require.Contains(t, out, "imported "+filepath.Join(data, "shop.db")+"\n")
	require.Contains(t, out, "\nsound: 0 errors")

	_, err = command(t, newImportCmd(), sound, "--data", data)
	require.Equal(t, 2, errkind.ExitCode(err))
	require.ErrorContains(t, err, "--force")

	out, err = command(t, newImportCmd(), sound, "--data", data, "--force", "--json")
	require.NoError(t, err)
	var got struct {
		Path, Member    string
		Sound           bool
		Bytes, Sessions int64
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Equal(t, filepath.Join(data, "shop.db"), got.Path)
	require.Equal(t, "folder/shop.db", got.Member)
	require.True(t, got.Sound)
	require.Equal(t, int64(600), got.Sessions)

	// One with errors is kept, and said to be what it is.
	out, err = command(t, newImportCmd(), zipped(t, sampleShop(t, withErrors)), "--data", data, "--name", "mend.db")
	require.Equal(t, 2, errkind.ExitCode(err))
	require.Contains(t, out, "\nnot sound: 2 errors")
	require.FileExists(t, filepath.Join(data, "mend.db"))
}

func TestImportCommandRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	text := filepath.Join(dir, "notes.txt")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o600))
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"no file named": {nil, 2, "name one file"},
		"two files":     {[]string{"a.zip", "b.zip"}, 2, "2 given"},
		"missing":       {[]string{filepath.Join(dir, "none.zip")}, 3, "no such file"},
		"text":          {[]string{text}, 2, "a text file"},
		"no size":       {[]string{text, "--max-gib", "0"}, 2, "--max-gib 0"},
		"no ratio":      {[]string{text, "--max-ratio", "0"}, 2, "--max-ratio 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := command(t, newImportCmd(), append(c.args, "--data", data)...)
			require.Equal(t, c.exit, errkind.ExitCode(err), err)
			require.ErrorContains(t, err, c.says)
			require.Empty(t, out)
			require.NoDirExists(t, data)
		})
	}
}
