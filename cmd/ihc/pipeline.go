package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

// makeWritable creates the output directory and finds out now, and not after a
// run, that the files of these names cannot be put there.
func makeWritable(dir string, names ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errkind.Environmentf("--out: cannot create the output directory: %w", err)
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
	return hasRoom(dir, "the output directory "+dir)
}

// hasRoom writes a file into a directory and removes it: one that cannot be
// written, or is full, is found before a run is paid. It returns an environment
// fault that calls it by the name given.
func hasRoom(dir, name string) error {
	probe, err := os.CreateTemp(dir, ".ihc-*")
	if err == nil {
		err = fill(probe)
		_ = os.Remove(probe.Name())
	}
	if inPath := (*os.PathError)(nil); errors.As(err, &inPath) {
		err = inPath.Err
	}
	switch {
	case isFull(err):
		return errkind.Environmentf("cannot write to %s: %w; %s must be free there", name, err, human.Bytes(uint64(leastRoom)))
	case err != nil:
		return errkind.Environmentf("cannot write to %s: %w", name, err)
	}
	return nil
}

// isFull says whether an error is of a disk, or a quota, that is used up.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// leastRoom is how much room the report's files, or the streams of a small run,
// take about, in bytes.
const leastRoom = 1 << 20

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
// a temporary one, which done removes. One that has no room for them is an
// environment fault.
func dataDir(named string) (dir string, done func(), err error) {
	if named != "" {
		return named, func() {}, keepsStreams(named)
	}
	dir, err = os.MkdirTemp("", passing+"*")
	if err != nil {
		return "", nil, errkind.Environmentf("cannot create a temporary directory: %w", err)
	}
	done = func() {
		for range 10 { // a server that is not given the time to stop may make a file meanwhile
			if os.RemoveAll(dir) == nil {
				return
			}
		}
	}
	if err := hasRoom(dir, "the temporary directory "+dir); err != nil {
		done()
		return "", nil, err
	}
	return dir, done, nil
}

// keepsStreams finds out whether there is room where a directory is, or will be
// made. On a full disk the server would wait for room without a word; whatever else
// keeps it from writing it says itself.
func keepsStreams(dir string) error {
	at := filepath.Clean(dir)
	for {
		if _, err := os.Stat(at); err == nil || filepath.Dir(at) == at {
			if err := hasRoom(at, "the data directory "+dir); isFull(err) {
				return err
			}
			return nil
		}
		at = filepath.Dir(at)
	}
}
