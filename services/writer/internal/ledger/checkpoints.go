package ledger

import (
	"context"
	"sync"

	"github.com/ihc-pipeline/ihc/internal/source"
)

// rowsBetween is how many rows are stored from one checkpoint to the next: some
// 80 MB of the write-ahead log.
const rowsBetween = 500_000

// checkpoints copies from the write-ahead log into the database while the
// writer goes on, on a connection of its own. Left to itself SQLite does that
// on the writer's, which waits for the disk meanwhile; and it still does what
// could not be done here.
type checkpoints struct {
	keeper  *source.Keeper
	between int // rows from one to the next

	mu     sync.Mutex
	rows   int  // stored since the last began
	active bool // one is under way
	ends   sync.WaitGroup
}

// stored counts rows that were committed and begins a checkpoint when it is
// time for one.
func (c *checkpoints) stored(rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows += rows
	if c.rows < c.between || c.active {
		return
	}
	c.rows, c.active = 0, true
	c.ends.Go(func() {
		ctx := context.Background() // not worth giving up halfway
		if db, _, err := c.keeper.DB(ctx); err == nil {
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
	return c.keeper.Close()
}
