package freeport

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAHeldPortIsListenedAtByWhoNamesItAlone(t *testing.T) {
	t.Parallel()
	at := Hold(t).String()
	for range 2 {
		_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at)
		require.NoError(t, err)
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, l.Close())
	}
	for range 2000 {
		require.NotEqual(t, at, Hold(t).String())
	}
}
