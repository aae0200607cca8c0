package source

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// Keeper keeps one database open for a long-lived service and opens it anew
// when the file was replaced, by an import for example, so that nobody goes on
// writing into a file that has no name any more. It opens nothing before it is
// asked to, and is for any number of goroutines.
type Keeper struct {
	path string
	mode Mode
	opts []Option

	mu sync.Mutex
	db *sql.DB
	id FileID
}

// keeperBusy is how long a keeper's statements wait for a lock unless opts say
// otherwise: a service tries again, and says meanwhile what it waits for.
const keeperBusy = time.Second

// NewKeeper returns a keeper of the database at path, to be opened with opts.
func NewKeeper(path string, mode Mode, opts ...Option) *Keeper {
	return &Keeper{path: path, mode: mode, opts: append([]Option{BusyTimeout(keeperBusy)}, opts...)}
}

// DB returns the database that is at the path now. Its errors are those of
// [Open]. fresh says whether it was opened by this call.
func (k *Keeper) DB(ctx context.Context) (db *sql.DB, fresh bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, err := Identity(k.path)
	if err != nil {
		return nil, false, err
	}
	if k.db != nil && k.id == id {
		return k.db, false, nil
	}
	if db, err = Open(ctx, k.path, k.mode, k.opts...); err != nil {
		return nil, false, err
	}
	if k.db != nil {
		_ = k.db.Close()
	} else {
		kept.Lock()
		kept.by[k.path]++
		kept.Unlock()
	}
	k.db, k.id = db, id
	return db, true, nil
}

// Close closes what is open, and leaves the file whole if nobody else has it
// open: see [Fold].
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.db == nil {
		return nil
	}
	kept.Lock()
	defer kept.Unlock()
	err := k.db.Close()
	k.db = nil
	if kept.by[k.path]--; kept.by[k.path] > 0 {
		return err // it is for the last to leave it whole
	}
	delete(kept.by, k.path)
	if k.mode == Write {
		Fold(k.path)
	}
	return err
}

// kept counts the keepers of this process that have the database at a path
// open. It is held to close, so that none closes in another's way.
var kept = struct {
	sync.Mutex
	by map[string]int
}{by: map[string]int{}}

// Fold puts what the write-ahead log of the database at path holds into the
// file and removes the log, so that the file can be taken elsewhere by itself,
// and another be put in its place. SQLite does so when the last connection is
// closed; but two that close in each other's way both leave it to the other.
// Where somebody still uses the database, or it cannot be written, the log
// stays, which loses nothing. A file without a log is left as it is to the byte.
func Fold(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	path = followed(path) // beside which SQLite keeps the log
	for try := range 4 {
		if _, err := os.Stat(path + "-wal"); err != nil {
			return
		}
		if try > 0 { // after whoever does the same at the same time
			select {
			case <-ctx.Done():
				return
			case <-time.After(rand.N(50 * time.Millisecond)):
			}
		}
		if db, err := Open(ctx, path, Write, BusyTimeout(200*time.Millisecond)); err == nil {
			_ = db.Close()
		}
	}
}
