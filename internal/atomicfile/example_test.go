package atomicfile_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
)

// A report that could not be written to its end leaves the one before it, and
// nothing beside it.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	path := filepath.Join(dir, "report.csv")
	if err := atomicfile.WriteBytes(path, 0o644, []byte("yesterday's report")); err != nil {
		fmt.Println(err)
	}

	err = atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, _ = io.WriteString(w, "today's rep")
		return errors.New("the database is locked")
	})
	fmt.Println(errors.Unwrap(errors.Unwrap(err)))

	content, _ := os.ReadFile(path)
	files, _ := os.ReadDir(dir)
	fmt.Printf("%s, %d file\n", content, len(files))
	// Output:
	// the database is locked
	// yesterday's report, 1 file
}
