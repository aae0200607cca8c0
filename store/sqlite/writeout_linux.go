package sqlite

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// writeOut has the system begin to write to the disk what it holds of a file that
// this process has open. It waits for nothing and promises nothing: what is synced
// later has less left to write. It uses a descriptor that is there, SQLite's, since
// to close one of its own would give up the locks of all others
// (https://www.sqlite.org/howtocorrupt.html, section 2.2). Should that be closed at
// this moment and its number be another file's, then that is written out.
func writeOut(file FileID) {
	open, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		var is unix.Stat_t
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || unix.Fstat(fd, &is) != nil || uint64(is.Dev) != file.Device || is.Ino != file.Inode { //nolint:unconvert // is.Dev has fewer bits elsewhere
			continue
		}
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
		return
	}
}
