package sqlite

import (
	"context"
	"sync"
)

// bytesBetween is about how many bytes of rows are written from one checkpoint
// to the next.
const bytesBetween = 32 << 20

// checkpoints copies from the write-ahead log into the database while the
// writer goes on, on a connection of its own. Left to itself SQLite does that
// on the writer's, which waits for the disk meanwhile; and it still does what
// could not be done here.
type checkpoints struct {
	handle  *Handle
	between int // bytes from one to the next

	mu     sync.Mutex
	bytes  int  // written since the last began
	active bool // one is under way
	ends   sync.WaitGroup
}

// written counts bytes that were committed and begins a checkpoint when it is
// time for one.
func (c *checkpoints) written(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += bytes
	if c.bytes < c.between || c.active {
		return
	}
	c.bytes, c.active = 0, true
	c.ends.Go(func() {
		ctx := context.Background() // not worth giving up halfway
		if db, _, err := c.handle.DB(ctx); err == nil {
			_, _ = db.ExecContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.active = false
	})
}

// close waits for the checkpoint that is under way.
func (c *checkpoints) close() error {
	c.ends.Wait()
	return c.handle.Close()
}
