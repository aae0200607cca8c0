// Package leak fails tests that leave goroutines behind.
package leak

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is for goroutines that were told to end, as those of a server are: on a
// busy machine that takes them a while.
const patience = time.Minute

// Main runs the tests of a package, for its TestMain, and fails them where a
// goroutine is left that does not end.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := Left(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Left waits until no goroutine is left but the caller's. After a minute it is an
// error that names those that are.
func Left() error { return left(patience) }

func left(patience time.Duration) error {
	for until := time.Now().Add(patience); ; {
		err := goleak.Find() // which looks for half a second
		if err == nil || time.Now().After(until) {
			return err
		}
	}
}
