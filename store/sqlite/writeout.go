package sqlite

import (
	"sync"
	"sync/atomic"
)

// outflow has what a transaction writes into the file itself go out to the disk
// while it goes on. Left to the system, that stays in memory until the commit, which
// waits for all of it.
type outflow struct {
	file    FileID
	between int // bytes from one time to the next

	bytes  int // written since it last began
	active atomic.Bool
	ends   sync.WaitGroup
}

// written counts bytes and has them go out when it is time.
func (o *outflow) written(bytes int) {
	if o.bytes += bytes; o.bytes < o.between || !o.active.CompareAndSwap(false, true) {
		return
	}
	o.bytes = 0
	o.ends.Go(func() {
		writeOut(o.file)
		o.active.Store(false)
	})
}

// close waits for what is under way.
func (o *outflow) close() { o.ends.Wait() }
