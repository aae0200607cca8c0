package writer

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// tellAlone warns, once, that there is another writer of a SQLite file: such a
// file takes one at a time, so that a second one does no harm and no good. Each
// writer waits for the milestones of runs nearly all of the time, which is how it
// is seen; two looks tell one that is there from one that leaves as this begins.
func (w *writer) tellAlone(ctx context.Context) {
	seen := 0
	for seen < 2 && retry.Sleep(ctx, retry.Real, w.LooksEvery()) == nil {
		if n, err := w.Bus.WaitingFor(ctx, stream.Milestones); err == nil && n > 1 {
			seen++
		} else {
			seen = 0
		}
	}
	if seen == 2 {
		w.Log.Warn("there is another writer, and a SQLite file takes one at a time: the second gains nothing, and each waits for the other; run one writer, or take PostgreSQL")
	}
}
