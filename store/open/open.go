// Package open finds the kind of a database by its name.
package open

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/tabular"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/postgres"
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

// Import takes the rows that fill gives into the source tables of the database
// of that name, all or none, and makes it if it is not there (see [sqlite.Import]).
func Import(ctx context.Context, name string, o store.IntakeOptions, fill func(store.Intake) error) (store.Imported, error) {
	return sqlite.Import(ctx, name, o, fill)
}

// Rows reads a table, a view or a query of the database of that name: the path of
// a SQLite file (see [sqlite.Rows]) or an address of PostgreSQL (see [postgres.Rows]).
func Rows(ctx context.Context, name, what string) (tabular.Rows, error) {
	if postgres.Names(name) {
		return postgres.Rows(ctx, name, what)
	}
	return sqlite.Rows(ctx, name, what)
}

// Shown returns the name of a database as it may be printed.
func Shown(name string) string {
	if postgres.Names(name) {
		return postgres.Shown(name)
	}
	return name
}

// Schema returns the five tables as SQL.
func Schema() string { return sqlite.Schema }
