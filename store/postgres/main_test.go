//go:build postgres

package postgres

import (
	"flag"
	"testing"

	"github.com/ihc-pipeline/ihc/internal/leak"
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
	leak.Main(m)
}
