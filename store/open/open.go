// Package open finds the kind of a database by its name.
package open

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/tabular"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/postgres"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// Database returns the database of that name: the address of a PostgreSQL
// database, postgres://…, or the path of a SQLite file. Nothing is opened yet, so
// that there are no errors.
func Database(name string) store.Database {
	if IsAddress(name) {
		return postgres.New(name)
	}
	return sqlite.New(name)
}

// IsAddress says whether a name is the address of a server's database, and not the
// path of a file.
func IsAddress(name string) bool {
	return postgres.Names(name)
}

// Absolute returns the name by which a database is found from any directory.
func Absolute(name string) (string, error) {
	if IsAddress(name) {
		return name, nil
	}
	return filepath.Abs(name)
}

// Shown returns the name as it may be shown: an address without its password.
func Shown(name string) string {
	if IsAddress(name) {
		return postgres.Shown(name)
	}
	return name
}

// Hide returns a text in which no address shows a password.
func Hide(text string) string { return postgres.Hide(text) }

// Label returns what a database may be called in a word: the file's name, or the
// name of the database on its server.
func Label(name string) string {
	if IsAddress(name) {
		return postgres.Label(name)
	}
	return filepath.Base(name)
}

// Beside returns the path of a file that belongs to a database: beside a file, with
// another ending, and for a server's database in the working directory.
func Beside(name, ending string) string {
	if IsAddress(name) {
		return filepath.Base(Label(name)) + ending
	}
	return strings.TrimSuffix(name, filepath.Ext(name)) + ending
}

// onlyFiles refuses what is for files alone.
func onlyFiles(name, what string) error {
	if IsAddress(name) {
		return errkind.Inputf("%s is for SQLite files, and %q is a server's database: name a file", what, Shown(name))
	}
	return nil
}

// Example makes up a shop (see [shop.Generate]) in a new database of that name,
// in the place of one that is there.
func Example(ctx context.Context, name string, cfg shop.Config) (shop.Stats, error) {
	if err := onlyFiles(name, "an example shop"); err != nil {
		return shop.Stats{}, err
	}
	return sqlite.GenerateShop(ctx, name, cfg, true)
}

// Settle leaves the database of that name whole: what users of it who ended
// without a word left beside the file is put into it (see [sqlite.Checkpoint]).
func Settle(name string) {
	if !IsAddress(name) {
		sqlite.Checkpoint(name)
	}
}

// Import takes the rows that fill gives into the source tables of the database
// of that name, all or none. A file is made if it is not there (see [sqlite.Import]);
// in PostgreSQL the tables are (see [postgres.Import]).
func Import(ctx context.Context, name string, o store.IntakeOptions, fill func(store.Intake) error) (store.Imported, error) {
	if IsAddress(name) {
		return postgres.Import(ctx, name, o, fill)
	}
	return sqlite.Import(ctx, name, o, fill)
}

// Rows reads a table, a view or a query of the database of that name: the path of
// a SQLite file (see [sqlite.Rows]) or an address of PostgreSQL (see [postgres.Rows]).
func Rows(ctx context.Context, name, what string) (tabular.Rows, error) {
	if IsAddress(name) {
		return postgres.Rows(ctx, name, what)
	}
	return sqlite.Rows(ctx, name, what)
}

// Table reads one of the five tables, as Rows does, in the order of its key's
// bytes.
func Table(ctx context.Context, name, table string) (tabular.Rows, error) {
	if IsAddress(name) {
		return postgres.Table(ctx, name, table)
	}
	return sqlite.Table(ctx, name, table)
}

// Schema returns the five tables as SQL.
func Schema() string { return sqlite.Schema }
