package sqlite

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

// A file that is put in the place of a database which is in use finds the old
// one's write-ahead log beside it. SQLite would apply that to the new one: to
// the harm of whoever put it there. So it is remembered which log belongs to
// which file, and the log of one that is gone is taken away before the next is
// opened (invariant 12).

// footprint is what a database, and the log beside it, was when it was opened last;
// the log is the zero value, which is nobody's, where there is none.
type footprint struct{ file, log FileID }

// logBeside returns the log that is beside the database at path.
func logBeside(path string) FileID {
	log, _ := Identity(path + "-wal")
	return log
}

// footprints are those of all databases of this process, by path.
var footprints = struct {
	sync.Mutex
	by  map[string]footprint
	met map[string]bool // at these paths there was a database that could be opened
}{by: map[string]footprint{}, met: map[string]bool{}}

// met says whether this process had the database at path open.
func met(path string) bool {
	footprints.Lock()
	defer footprints.Unlock()
	return footprints.met[path]
}

// arrive takes the log away that is beside path if it belongs to a file that
// was there before.
func arrive(path string) {
	footprints.Lock()
	defer footprints.Unlock()
	was, known := footprints.by[path]
	if file, err := Identity(path); !known || err != nil || file == was.file {
		return
	}
	if log, err := Identity(path + "-wal"); err == nil && log == was.log {
		_ = os.Remove(path + "-wal")
		_ = os.Remove(path + "-shm")
	}
	delete(footprints.by, path)
}

// note remembers which log is beside a database that is open, and was that file
// when it was opened.
func note(path string, file FileID) {
	log := logBeside(path)
	footprints.Lock()
	defer footprints.Unlock()
	footprints.by[path] = footprint{file, log}
	footprints.met[path] = true
}

// disown empties the log beside a file that was written over in place, so that
// no connection can put into the file what was another's. It does nothing unless
// the file was changed since, and the log is the one that was there. It waits for
// transactions that are under way: what one of them adds to a log that was emptied
// would stand behind a hole, and SQLite would copy the hole into the file.
func disown(ctx context.Context, path string, since time.Time) {
	held, err := holdLog(ctx, path, syscall.LOCK_EX)
	if err != nil {
		return
	}
	defer held.Close() //nolint:errcheck // only read
	footprints.Lock()
	defer footprints.Unlock()
	was, known := footprints.by[path]
	file, err := Identity(path)
	if !known || err != nil || file != was.file || modified(path).Equal(since) {
		return
	}
	if log, err := Identity(path + "-wal"); err != nil || log == was.log {
		_ = os.Truncate(path+"-wal", 0)
		_ = os.Remove(path + "-wal")
		_ = os.Remove(path + "-shm")
	}
	delete(footprints.by, path)
}

// holdLog locks the write-ahead log beside path until what is returned is closed,
// which is nothing where there is none: a transaction with others (LOCK_SH), who
// empties it alone (LOCK_EX). SQLite's own locks are of another kind and on other
// files.
func holdLog(ctx context.Context, path string, how int) (io.Closer, error) {
	log, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		if err = syscall.Flock(int(log.Fd()), how|syscall.LOCK_NB); err == nil {
			return log, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break // a file system without such locks
		}
		if err = retry.Sleep(ctx, retry.Real, retry.Lock.Delay(try)); err != nil {
			break
		}
	}
	return nil, errors.Join(err, log.Close())
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// openLog is the write-ahead log of a writing connection.
type openLog struct {
	footprint
	held *os.File // the log, which may have lost its name
}

// open notes the log of the connection that was opened on the database at path, or
// has changed its journal mode.
func (l *openLog) open(path string) {
	l.forget()
	l.file, _ = Identity(path)
	l.log = logBeside(followed(path))
	l.held, _ = os.OpenFile(followed(path)+"-wal", os.O_RDWR, 0)
}

// uprooted says whether the log under the connection was taken away, as [disown]
// does in whatever process sees it first, and SQLite where it finds it beside a
// file that is empty.
func (l *openLog) uprooted(path string) bool {
	if l.log == (FileID{}) {
		return false
	}
	file, err := Identity(path)
	if err != nil || file != l.file {
		return false
	}
	return logBeside(followed(path)) != l.log
}

// close is for right before the connection is closed. A log that was taken away is
// emptied: SQLite, which has it open still, would put what it holds into a file
// that was written over.
func (l *openLog) close(path string) {
	if l.held != nil && l.uprooted(path) {
		_ = l.held.Truncate(0)
	}
	l.forget()
}

func (l *openLog) forget() {
	if l.held != nil {
		_ = l.held.Close()
	}
	*l = openLog{}
}
