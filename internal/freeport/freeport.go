// Package freeport gives tests addresses to listen at later, or never: one that was
// only looked for would be another's by then, now and then.
package freeport

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// Reserve returns an address as [Hold] does, for programs that are no test: nobody
// is given its port until it is released.
func Reserve() (address netip.AddrPort, release func() error, err error) { return hold() }

// Hold returns an address of this machine, 127.0.0.1 and a port, at which nobody
// listens and that the system gives to nobody else until the test ends. Who names it
// can listen at it, and again when that is over.
func Hold(t testing.TB) netip.AddrPort {
	t.Helper()
	address, release, err := Reserve()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, release()) })
	return address
}
