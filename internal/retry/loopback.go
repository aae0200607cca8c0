package retry

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Local waits for a server on this machine that refuses connections: somebody
// may have started it a moment ago.
var Local = Policy{First: 50 * time.Millisecond, Max: 250 * time.Millisecond, Factor: 1.5}

const (
	localFor  = 5 * time.Second // in which a server on this machine has to come
	localTell = time.Second     // after which whoever waits is told
)

// Loopback calls do once and, where it fails because nothing listens at an
// address of this machine, again for up to five seconds. address is a URL or
// host:port, or several with commas in between. refused tells which errors mean
// that nothing listens; nil takes those of the system. tell is called once, when
// a second has passed. The error is the last one of do.
func Loopback(ctx context.Context, clock Clock, address string, do func(context.Context) error, refused func(error) bool, tell func()) error {
	if refused == nil {
		refused = func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
	}
	var waited time.Duration
	for tries := 1; ; tries++ {
		err := do(ctx)
		if err == nil || !refused(err) || waited >= localFor || !isLoopback(address) {
			return err
		}
		pause := Local.Delay(tries)
		if waited < localTell && waited+pause >= localTell {
			tell()
		}
		waited += pause
		if Sleep(ctx, clock, pause) != nil {
			return err
		}
	}
}

// isLoopback tells whether all addresses in the list are this machine's own.
func isLoopback(list string) bool {
	for address := range strings.SplitSeq(list, ",") {
		address = strings.TrimSpace(address)
		if !strings.Contains(address, "://") {
			address = "tcp://" + address
		}
		u, err := url.Parse(address)
		if err != nil {
			return false
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
