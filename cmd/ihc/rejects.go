package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/open"
)

// rejectColumns are those of a file of rows that could not be used.
var rejectColumns = []string{"file", "line", "column", "value", "reason"}

// keepRejects writes the rows that could not be used, and returns where. Where
// there were none and all was imported, it removes the file of an earlier import,
// whose path it returns.
func (r *intakeRun) keepRejects(imported bool) (string, error) {
	path := r.flags.rejects
	if path == "" {
		path = open.Beside(r.flags.db, ".rejects.csv")
	}
	if len(r.rejects) > 0 {
		return path, atomicfile.Write(path, 0o644, func(w io.Writer) error {
			out := csv.NewWriter(w)
			err := out.WriteAll(append([][]string{rejectColumns}, r.rejects...))
			return errors.Join(err, out.Error())
		})
	}
	if imported && holdsRejects(path) {
		return path, os.Remove(path)
	}
	return "", nil
}

// holdsRejects says whether a file is one that keepRejects wrote.
func holdsRejects(path string) bool {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close() //nolint:errcheck // only read
	title := []byte(strings.Join(rejectColumns, ",") + "\n")
	begin := make([]byte, len(title))
	_, err = io.ReadFull(file, begin)
	return err == nil && bytes.Equal(begin, title)
}

// namesFile refuses "-" for a flag whose file is written beside what is printed.
func namesFile(flag, path string) error {
	if path == "-" {
		return errkind.Inputf("--%s -: standard output is for what the command prints; name a file, or ./- for one of that name", flag)
	}
	return nil
}
