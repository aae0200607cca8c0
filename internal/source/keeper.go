package source

import (
	"context"
	"database/sql"
	"sync"
)

// Keeper keeps one database open for a long-lived service and opens it anew
// when the file was replaced, by an import for example, so that nobody goes on
// writing into a file that has no name any more. It opens nothing before it is
// asked to, and is for any number of goroutines.
type Keeper struct {
	path string
	mode Mode

	mu sync.Mutex
	db *sql.DB
	id FileID
}

// NewKeeper returns a keeper of the database at path.
func NewKeeper(path string, mode Mode) *Keeper { return &Keeper{path: path, mode: mode} }

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
	if db, err = Open(ctx, k.path, k.mode); err != nil {
		return nil, false, err
	}
	if k.db != nil {
		_ = k.db.Close()
	}
	k.db, k.id = db, id
	return db, true, nil
}

// Close closes what is open.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.db == nil {
		return nil
	}
	err := k.db.Close()
	k.db = nil
	return err
}
