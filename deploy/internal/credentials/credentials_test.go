package credentials

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func TestCredentialsAreDrawnOnceAndHandedOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"nats", "reporter", "writer"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	require.Error(t, Ready(dir))
	require.NoError(t, Draw(dir, os.Getgid()))
	require.NoError(t, Ready(dir))

	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o440), info.Mode().Perm(), name)
		return string(data)
	}
	conf := read("nats/passwords.conf")
	require.Contains(t, conf, `REPORTER_PASSWORD: "`+read("reporter/password")+`"`)
	require.Contains(t, conf, `ADMIN_PASSWORD: "`+read("nats/admin")+`"`)
	require.NotEqual(t, read("reporter/password"), read("writer/password"))
	require.Greater(t, len(read("reporter/password")), 20)
	require.NoDirExists(t, filepath.Join(dir, "admin"), "admin has no container")

	// The second time nothing changes, and what got lost comes back.
	before := read("writer/password")
	require.NoError(t, os.Remove(filepath.Join(dir, "writer", "password")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nats", ".passwords.conf.part"), nil, 0o400)) // of a steward that was killed
	require.NoError(t, Draw(dir, os.Getgid()))
	require.Equal(t, before, read("writer/password"))
	require.Equal(t, conf, read("nats/passwords.conf"))
}

func TestCredentialsWithoutTheServersDirectory(t *testing.T) {
	t.Parallel()
	err := Draw(t.TempDir(), os.Getgid())
	require.Equal(t, errkind.Environment, errkind.KindOf(err), "%v", err)
}
