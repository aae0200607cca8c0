// Package freeport finds ports for tests that have to name one before somebody
// listens there. Whoever can listen on port 0 does that, and asks which it became.
package freeport

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Ports below those that the system hands out by itself, as it would to some
// connection by the time that the port is used, or while a server that was killed
// is away.
const first, last = 15_000, 32_000

var tried atomic.Int64

// New returns a port of 127.0.0.1 that nobody listens at, and that this process
// gets only once.
func New(t testing.TB) int {
	t.Helper()
	for range last - first {
		port := first + (os.Getpid()*7+int(tried.Add(1)))%(last-first)
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at(port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return 0
}

// Address returns one as 127.0.0.1:port.
func Address(t testing.TB) string {
	t.Helper()
	return at(New(t))
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
