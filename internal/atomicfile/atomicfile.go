// Package atomicfile writes files whole or not at all: whoever reads one sees
// the old content or the new (invariant 9), also after a crash and while
// several processes write it.
package atomicfile

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Write puts what write writes into the file at path, with the permissions
// perm, and makes the directory if need be. The content is written to
// .NAME.part beside it, under flock, so that several writers take turns; it is
// synced to the disk and renamed. A part file that a killed process left is
// written over. A symbolic link at path is replaced, one at the part file is
// refused.
//
// Errors, those of write among them, are of kind [errkind.Environment] and
// read "cannot write PATH: …". After one the old file stands, and nothing is
// left beside it.
func Write(path string, perm fs.FileMode, write func(io.Writer) error) error {
	return WriteAs(path, perm, -1, write)
}

// WriteAs is [Write] of a file that belongs to the group gid. -1 leaves it to
// the process's own group.
func WriteAs(path string, perm fs.FileMode, gid int, write func(io.Writer) error) error {
	if err := replace(path, perm, gid, write); err != nil {
		return errkind.Environmentf("cannot write %s: %w", path, err)
	}
	return nil
}

// WriteBytes is [Write] of content that is in memory.
func WriteBytes(path string, perm fs.FileMode, content []byte) error {
	return Write(path, perm, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Part returns the path of the file that what is to be at path is written to first.
func Part(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
}

func replace(path string, perm fs.FileMode, gid int, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	part := Part(path)
	f, err := openAlone(part, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
		_ = f.Close() // everything is synced; this lets the next writer in
	}()
	b := bufio.NewWriterSize(f, 1<<16)
	for _, step := range []func() error{
		func() error { return write(b) },
		b.Flush,
		func() error { return f.Chown(-1, gid) },
		func() error { return f.Chmod(perm) }, // after the group, whose change takes permissions away
		f.Sync,
		func() error { return os.Rename(part, path) },
		func() error { return SyncDir(dir) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir puts the names in a directory on the disk: after it, a file that was
// made or renamed there is found under its name whatever happens.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openAlone opens an empty file for writing that no other process has open by
// this function; it waits for those that do.
func openAlone(path string, perm fs.FileMode) (*os.File, error) {
	for removed := false; ; {
		f, err := open(path, perm)
		if err != nil {
			return nil, err
		}
		mine := false
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err == nil {
			mine, err = isAt(f, path)
		}
		if mine && err == nil {
			if err = errors.Join(f.Chmod(perm|0o600), f.Truncate(0)); err == nil {
				return f, nil
			}
			// A killed process left it complete, not to be written any more,
			// or it belongs to another user.
			if !removed {
				removed, err = true, os.Remove(path)
			}
		}
		// Else the process that had the file removed it, or renamed it: then it
		// is the finished file, and not to be touched. Try again.
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

// open opens or makes the part file; one that cannot be written, only for
// reading, which is enough to wait until its writer has ended.
func open(path string, perm fs.FileMode) (*os.File, error) {
	// Without O_NONBLOCK, a pipe put at this name would hold the open up.
	const flags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flags, perm|0o600)
	if errors.Is(err, fs.ErrPermission) {
		if readable, e := os.OpenFile(path, os.O_RDONLY|flags, 0); e == nil {
			f, err = readable, nil
		}
	}
	if errors.Is(err, syscall.ELOOP) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("it is a symbolic link; remove it")}
	}
	return f, err
}

// isAt says whether the open file f is the one at path. One that is no regular
// file is an error.
func isAt(f *os.File, path string) (bool, error) {
	is, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !is.Mode().IsRegular() {
		return false, &fs.PathError{Op: "open", Path: path, Err: errors.New("it is no regular file; remove it")}
	}
	there, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(is, there), err
}
