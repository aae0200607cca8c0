// Package open finds the kind of a database by its name.
package open

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// Database returns the database of that name: the path of a SQLite file.
// Nothing is opened yet, so that there are no errors.
func Database(name string) store.Database { return sqlite.New(name) }

// Example makes up a shop (see [shop.Generate]) in a new database of that name,
// in the place of one that is there.
func Example(ctx context.Context, name string, cfg shop.Config) (shop.Stats, error) {
	return sqlite.GenerateShop(ctx, name, cfg, true)
}

// Settle leaves the database of that name whole: what users of it who ended
// without a word left beside the file is put into it (see [sqlite.Checkpoint]).
func Settle(name string) { sqlite.Checkpoint(name) }
