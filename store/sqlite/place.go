package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// sideFiles are what SQLite keeps beside a database and would apply to another
// one put in its place.
var sideFiles = []string{"-wal", "-shm", "-journal"}

// Place makes a database file at path, whole or not at all: fill writes it
// under a temporary name in the same directory (which is made if need be), and
// only a complete file, synced to the disk, gets the name. A file that is
// already there is an Input fault, unless replace is set: then it is replaced
// at once. Whatever goes wrong, nothing is left behind and the old file stays.
//
// Errors of the file system are Environment faults; those of fill come back as
// they are, apart from a full disk.
func Place(path string, replace bool, fill func(temp string) error) (err error) {
	if !replace {
		for _, p := range append([]string{path}, beside(path)...) {
			if _, err := os.Lstat(p); err == nil {
				return errkind.Inputf("%q is already there; choose another name, or --force to replace it", p)
			}
		}
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return errkind.Inputf("%q is no regular file and is not replaced; choose another name", path)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errkind.Environmentf("directory %q cannot be made: %w; choose another, or check its rights", dir, bare(err))
	}
	clearAway(dir)
	work, err := os.MkdirTemp(dir, incomplete+"*")
	if err != nil {
		return errkind.Environmentf("nothing can be written in %q: %w; check its rights", dir, bare(err))
	}
	defer os.RemoveAll(work) //nolint:errcheck // of no use to the user, and hidden
	if held := hold(work); held != nil {
		defer held.Close() //nolint:errcheck // only locked
	}
	temp := filepath.Join(work, filepath.Base(path))
	if err := fill(temp); err != nil {
		return noSpace(dir, err)
	}
	if err := syncFile(temp); err != nil {
		return noSpace(dir, errkind.Environmentf("%q cannot be written: %w; check its disk", path, bare(err)))
	}
	if err := swap(temp, path, work); err != nil {
		return errkind.Environmentf("%q cannot be written: %w; check the rights of its directory", path, bare(err))
	}
	return nil
}

// incomplete is how the names of directories begin in which a database is being made.
const incomplete = ".incomplete-"

// abandoned is how old a directory is at least that nobody holds and that is not
// just being made.
const abandoned = time.Minute

// hold locks a directory as long as the file that is returned is open; nil where
// it cannot be.
func hold(dir string) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close()
		return nil
	}
	return f
}

// clearAway removes what those left who were killed while they made a database.
func clearAway(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || !strings.HasPrefix(e.Name(), incomplete) || time.Since(info.ModTime()) < abandoned {
			continue
		}
		work := filepath.Join(dir, e.Name())
		if held := hold(work); held != nil {
			_ = os.RemoveAll(work)
			_ = held.Close()
		}
	}
}

// swap puts temp in the place of path and whatever is beside it. The log of the
// old database must be gone before the new one has its name.
func swap(temp, path, work string) error {
	var aside []string
	restore := func() {
		for _, p := range aside {
			_ = os.Rename(filepath.Join(work, filepath.Base(p)), p) // as good as can be
		}
	}
	for _, p := range beside(path) {
		err := os.Rename(p, filepath.Join(work, filepath.Base(p)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			restore()
			return err
		}
		aside = append(aside, p)
	}
	if err := os.Rename(temp, path); err != nil {
		restore()
		return err
	}
	return syncFile(filepath.Dir(path))
}

func beside(path string) []string {
	paths := make([]string, len(sideFiles))
	for i, s := range sideFiles {
		paths[i] = path + s
	}
	return paths
}

// syncFile makes a file or directory durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// noSpace tells a full disk from other errors.
func noSpace(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errkind.Environmentf("no space left in %q: free some, or choose another directory", dir)
	}
	return err
}
