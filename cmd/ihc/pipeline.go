package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// makeWritable creates the output directory and finds out now, and not after a
// run, that the files of these names cannot be put there.
func makeWritable(dir string, names ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errkind.Environmentf("cannot create the output directory: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return errkind.Environmentf("cannot write %s: something that is no file has this name; remove it", path)
		}
		part := atomicfile.Part(path)
		if info, err := os.Lstat(part); err == nil && !info.Mode().IsRegular() {
			return errkind.Environmentf("cannot write %s: %s, to which it is written first, is no file; remove it", path, part)
		}
	}
	probe, err := os.CreateTemp(dir, ".ihc-*")
	if err == nil {
		err = fill(probe)
		_ = os.Remove(probe.Name())
	}
	if err != nil {
		if inPath := (*os.PathError)(nil); errors.As(err, &inPath) {
			err = inPath.Err
		}
		return errkind.Environmentf("cannot write to the output directory %s: %w", dir, err)
	}
	return nil
}

// leastRoom is how much room on the disk the report's files take at least: a
// disk that is full is found before a run is paid.
const leastRoom = 64 << 10

// fill writes that much and closes the file.
func fill(f *os.File) error {
	_, err := f.Write(make([]byte, leastRoom))
	if err == nil {
		err = f.Sync() // some file systems find out late
	}
	return errors.Join(err, f.Close())
}

// defaultDataDir is where streams are kept that are to be kept, and for which
// nobody named a directory.
const defaultDataDir = "ihc-data"

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
