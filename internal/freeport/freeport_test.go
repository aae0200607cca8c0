package freeport_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/freeport"
)

func TestPortsCanBeListenedAtAndComeOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 20 {
		address := freeport.Address(t)
		require.False(t, seen[address])
		seen[address] = true
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}
