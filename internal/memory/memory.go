// Package memory bounds the memory of a process.
package memory

import (
	"math"
	"os"
	"runtime/debug"
	"sync"
)

// Limit makes the garbage collector keep the Go heap below so many bytes where it
// can, unless GOMEMLIMIT says otherwise, and collect less often as long as the heap
// is far below, unless GOGC says otherwise: of a run in one process a fifth of the
// time went into that. What SQLite caches comes on top.
func Limit(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// limiting is held while the limit is changed.
var limiting sync.Mutex

// Allow lets the Go heap take so many bytes beyond the limit until done is called:
// what is to be held for long would otherwise have the garbage collector run all
// the time. A limit of GOMEMLIMIT stands.
func Allow(bytes int64) (done func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	change := func(by int64) {
		limiting.Lock()
		defer limiting.Unlock()
		if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64/2 { // there is one
			debug.SetMemoryLimit(limit + by)
		}
	}
	change(bytes)
	return sync.OnceFunc(func() { change(-bytes) })
}
