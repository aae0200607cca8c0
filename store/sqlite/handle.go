package sqlite

import (
	"context"
	"database/sql"
	"os"
	"sync"
	"time"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

// Handle keeps one database open for a long-lived service and opens it anew
// when the file was replaced, by an import for example, so that nobody goes on
// writing into a file that has no name any more. It opens nothing before it is
// asked to, and is for any number of goroutines.
type Handle struct {
	path string
	mode Mode
	opts []Option

	mu sync.Mutex
	db *sql.DB
	id FileID
}

// handleBusy is how long a handle's statements wait for a lock unless opts say
// otherwise: a service tries again, and says meanwhile what it waits for.
const handleBusy = time.Second

// NewHandle returns a handle of the database at path, to be opened with opts.
func NewHandle(path string, mode Mode, opts ...Option) *Handle {
	return &Handle{path: path, mode: mode, opts: append([]Option{BusyTimeout(handleBusy)}, opts...)}
}

// DB returns the database that is at the path now. Its errors are those of
// [Open]. fresh says whether it was opened by this call.
func (h *Handle) DB(ctx context.Context) (db *sql.DB, fresh bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, err := Identity(h.path)
	if err != nil {
		return nil, false, err
	}
	if h.db != nil && h.id == id {
		return h.db, false, nil
	}
	if db, err = Open(ctx, h.path, h.mode, h.opts...); err != nil {
		return nil, false, err
	}
	if h.db != nil {
		_ = h.db.Close()
	} else {
		kept.Lock()
		kept.by[h.path]++
		kept.Unlock()
	}
	h.db, h.id = db, id
	return db, true, nil
}

// Close closes what is open, and leaves the file whole if nobody else has it
// open: see [Checkpoint].
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.db == nil {
		return nil
	}
	kept.Lock()
	defer kept.Unlock()
	err := h.db.Close()
	h.db = nil
	if h.mode == Write {
		kept.wrote[h.path] = true
	}
	if kept.by[h.path]--; kept.by[h.path] > 0 {
		return err // it is for the last to leave it whole
	}
	delete(kept.by, h.path)
	if kept.wrote[h.path] {
		delete(kept.wrote, h.path)
		Checkpoint(h.path)
	}
	return err
}

// kept counts the keepers of this process that have the database at a path
// open. It is held to close, so that none closes in another's way.
var kept = struct {
	sync.Mutex
	by    map[string]int
	wrote map[string]bool // one of them that is closed could write
}{by: map[string]int{}, wrote: map[string]bool{}}

// Checkpoint puts what the write-ahead log of the database at path holds into the
// file and removes the log, so that the file can be taken elsewhere by itself,
// and another be put in its place. SQLite does so when the last connection is
// closed; but two that close in each other's way both leave it to the other.
// Between two runs the file also gets back the journal mode it had (see giveBack).
// Where somebody still uses the database, or it cannot be written, the log
// stays, which loses nothing. A file without a log that no run was on is left as
// it is to the byte.
func Checkpoint(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	path = followed(path) // beside which SQLite keeps the log
	arrive(path)
	defer giveBack(ctx, path)
	for try := range 4 {
		if _, err := os.Stat(path + "-wal"); err != nil {
			return
		}
		if try > 0 && retry.Sleep(ctx, retry.Real, retry.Lock.Delay(try)) != nil { // after whoever does the same at the same time
			return
		}
		if db, err := Open(ctx, path, Write, asItIs(), BusyTimeout(200*time.Millisecond)); err == nil {
			_ = db.Close()
		}
	}
}
