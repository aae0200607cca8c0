//go:build postgres

package postgres

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain has properties tried less often than usual, unless it is told how
// often: each try makes a dozen tables on a server.
func TestMain(m *testing.M) {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "rapid.checks" })
	if !told {
		if err := flag.Set("rapid.checks", "5"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}
