//go:build chaos

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin holds the programs, built once.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ihc-chaos-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // temporary
		bin = dir
		for name, pkg := range map[string]string{
			"ihc":        "github.com/ihc-pipeline/ihc/cmd/ihc",
			"extractor":  "github.com/ihc-pipeline/ihc/services/extractor/cmd/extractor",
			"attributor": "github.com/ihc-pipeline/ihc/services/attributor/cmd/attributor",
			"writer":     "github.com/ihc-pipeline/ihc/services/writer/cmd/writer",
			"reporter":   "github.com/ihc-pipeline/ihc/services/reporter/cmd/reporter",
			"init":       "github.com/ihc-pipeline/ihc/deploy/init",
			"natsserver": "github.com/ihc-pipeline/ihc/tests/natsserver",
		} {
			build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
			build.Stdout, build.Stderr = os.Stderr, os.Stderr
			if err := build.Run(); err != nil {
				fmt.Fprintf(os.Stderr, "cannot build %s: %v\n", name, err)
				return 1
			}
		}
		return m.Run()
	}())
}
