package sqlite

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

// Slices implements [store.Source]. A file is read by one process, and as one
// slice.
func (d *Database) Slices(ctx context.Context, o journey.Options, _ int, do func(context.Context, []journey.Options) error) error {
	return do(ctx, []journey.Options{o})
}
