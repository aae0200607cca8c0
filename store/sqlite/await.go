package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/store"
)

// silence is how long a lock may last before it is told.
const silence = 500 * time.Millisecond

// await waits until the database at path is not locked by another process, and
// says so, where somebody listens (see [store.OnWait]). It tries again and again,
// each time for a moment, since a statement that waits for a lock cannot be
// interrupted. It returns the error of a lock that lasts; what is wrong otherwise
// [Open] will find.
func await(ctx context.Context, path string, mode Mode, s settings) error {
	tell := store.Waiting(ctx)
	if tell == nil {
		return nil
	}
	s.busy, s.asItIs = silence, true
	open := openReader
	if mode == Write {
		open = openWriter
	}
	for end, told := time.Now().Add(defaultBusyTimeout), false; ; told = true {
		db, err := open(ctx, path, s)
		if err == nil {
			_ = db.Close()
		}
		if !isSQLite(err, sqlite3.ErrBusy, sqlite3.ErrLocked) {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
		if !told {
			tell(fmt.Sprintf("database %q is %v: it is waited for, up to %s", s.shown, store.ErrLocked, defaultBusyTimeout))
		}
		if ended := retry.Sleep(ctx, retry.Real, retry.Lock.Delay(1)); ended != nil {
			return ended
		}
	}
}
