package main

import (
	"errors"
	"os"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// makeWritable creates the output directory and finds out now, and not after a
// run, that no report can be put there.
func makeWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errkind.Environmentf("cannot create the output directory: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".ihc-*")
	if err != nil {
		return errkind.Environmentf("cannot write to the output directory %s: %w", dir, errors.Unwrap(err))
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// dataDir returns the directory for the streams: the one named, to be kept, or
// a temporary one, which done removes.
func dataDir(named string) (dir string, done func(), err error) {
	if named != "" {
		return named, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "ihc-")
	if err != nil {
		return "", nil, errkind.Environmentf("cannot create a temporary directory: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}
