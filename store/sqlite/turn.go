package sqlite

import (
	"context"
	"sync"
)

// turns has, by its path, the turn to write to each database that this process
// writes to.
var turns sync.Map // path → chan struct{}

// turn waits until no other transaction of this process writes to the database at
// path, as long as that takes, and has the next one wait until done is called.
// SQLite would let it wait for a moment and then tell of a lock, which looks as if
// another program had it. It returns the error of a ctx that ends before that.
func turn(ctx context.Context, path string) (done func(), err error) {
	of, _ := turns.LoadOrStore(followed(path), make(chan struct{}, 1))
	mine := of.(chan struct{}) //nolint:forcetypeassert // nothing else is in there
	select {
	case mine <- struct{}{}:
		return func() { <-mine }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
