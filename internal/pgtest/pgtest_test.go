//go:build postgres

package pgtest

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServerIsThereAndGoesWithItsTest(t *testing.T) { //nolint:tparallel // what comes after is of when the server has gone
	t.Parallel()
	var socket string
	t.Run("While", func(t *testing.T) {
		s := Start(t, Options{ICU: "en-US", TimeZone: "Asia/Kolkata"})
		socket = filepath.Join(s.dir, ".s.PGSQL.5432")
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.Contains(t, s.DSN("postgres"), "postgres://ihc@/postgres?host=")
	})
	_, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
	require.Error(t, err)
}

// A server that was killed comes back with what was committed.
func TestAKilledServerComesBackWithItsData(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	psql := func(query string) string {
		out, err := exec.CommandContext(t.Context(), filepath.Join(s.bin, "psql"), "-tAc", query, s.DSN("postgres")).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	psql("CREATE TABLE what (it text); INSERT INTO what VALUES ('there')")
	require.True(t, s.Kill())
	require.False(t, s.Kill())
	require.NoError(t, s.Restart())
	require.NoError(t, s.Restart())
	s.Suspend()
	s.Resume()
	require.Equal(t, "there\n", psql("SELECT it FROM what"))
}
