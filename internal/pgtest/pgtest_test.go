//go:build postgres

package pgtest

import (
	"net"
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
