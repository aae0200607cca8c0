package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Owner is the user and group the services run as.
type Owner struct{ UID, GID int }

// Own gives the directory at path, a volume's root, to o alone.
func Own(path string, o Owner) error {
	if err := errors.Join(os.Chown(path, o.UID, o.GID), os.Chmod(path, 0o700)); err != nil {
		return errkind.Environmentf("cannot hand %s to the services: %w", path, err)
	}
	return nil
}

// The files of the data directory that the services work on: databases, with
// what SQLite keeps beside them, are written, archives only read.
var (
	databases = []string{".db", ".sqlite", ".sqlite3"}
	beside    = []string{"-wal", "-shm", "-journal"}
	archives  = []string{".zip"}
)

// group returns which rights the services' group needs on a file of the data
// directory, 0 for files that are none of its business.
func group(name string) uint32 {
	name = strings.ToLower(name)
	if slices.Contains(archives, filepath.Ext(name)) {
		return 0o040
	}
	for _, suffix := range beside {
		name = strings.TrimSuffix(name, suffix)
	}
	if slices.Contains(databases, filepath.Ext(name)) {
		return 0o060
	}
	return 0
}

// Directory makes the data directory dir one that its owner and the services can
// both work in, now and for every file that comes, until ctx ends: the
// directory and its databases belong to the services' group, which may write
// them, and a database the services made belongs to the directory's owner.
// Nobody loses a right. Only files directly in dir are concerned.
//
// A directory that cannot be watched is an environment fault; a file whose
// rights cannot be changed is logged, since it may do as it is.
func Directory(ctx context.Context, dir string, services Owner, log *slog.Logger) error {
	// Where the directory cannot be entered, a watch could not be set.
	_ = shareDir(dir, services)
	// The watch is there before the first look, so that no file falls between.
	watch, err := fsnotify.NewWatcher()
	if err == nil {
		defer watch.Close() //nolint:errcheck // nothing was written
		err = watch.Add(dir)
	}
	if err != nil {
		return errkind.Environmentf("cannot watch the data directory %s: %w", dir, err)
	}
	told := map[string]bool{}
	for {
		for path, err := range shareAll(dir, services) {
			if !told[path] {
				told[path] = true
				log.Warn("cannot give the services' group its rights; that group, or everybody, must be able to write there",
					"path", path, "group", services.GID, "error", err)
			}
		}
		if err := next(ctx, watch); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// next returns when a file came, was renamed or lost rights, or ctx ended. What
// happened matters less than that something did.
func next(ctx context.Context, watch *fsnotify.Watcher) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-watch.Events:
			if e.Has(fsnotify.Create) || e.Has(fsnotify.Chmod) {
				return nil
			}
		case err := <-watch.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) { // of which any may have been one
				return fmt.Errorf("watch the data directory: %w", err)
			}
			return nil
		}
	}
}

func shareDir(dir string, services Owner) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	// Set-group-id hands the group on to what is made in the directory.
	const rights = 0o070 | os.ModeSetgid
	if is, ok := info.Sys().(*syscall.Stat_t); ok && int(is.Gid) == services.GID && info.Mode()&rights == rights {
		return nil
	}
	if err := os.Chown(dir, -1, services.GID); err != nil {
		return err
	}
	return os.Chmod(dir, info.Mode()&(os.ModePerm|os.ModeSticky)|rights)
}

// shareAll gives the group its rights on the directory and the files there are
// now and returns what went wrong by path.
func shareAll(dir string, services Owner) map[string]error {
	failed := map[string]error{}
	if err := shareDir(dir, services); err != nil {
		failed[dir] = err
	}
	var owner unix.Stat_t
	entries, err := os.ReadDir(dir)
	if err == nil {
		err = unix.Stat(dir, &owner)
	}
	if err != nil {
		failed[dir] = err
	}
	for _, e := range entries {
		rights := group(e.Name())
		if rights == 0 || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := shareFile(path, rights, int(owner.Uid), services); err != nil && !errors.Is(err, unix.ENOENT) {
			failed[path] = err
		}
	}
	return failed
}

// shareFile changes what needs a change. It holds the file itself, whatever
// its name is made to point to meanwhile.
func shareFile(path string, rights uint32, owner int, services Owner) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return err
	}
	if is.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	uid := int(is.Uid)
	if uid == services.UID {
		uid = owner
	}
	if uid != int(is.Uid) || services.GID != int(is.Gid) {
		if err := unix.Fchownat(fd, "", uid, services.GID, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	if is.Mode&rights == rights {
		return nil
	}
	// A descriptor of this kind takes no chmod, but its name in /proc does.
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), is.Mode&0o777|rights)
}
