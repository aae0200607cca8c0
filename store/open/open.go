// Package open finds the kind of a database by its name.
package open

import (
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// Database returns the database of that name: the path of a SQLite file.
// Nothing is opened yet, so that there are no errors.
func Database(name string) store.Database { return sqlite.New(name) }

// Settle leaves the database of that name whole: what users of it who ended
// without a word left beside the file is put into it (see [sqlite.Checkpoint]).
func Settle(name string) { sqlite.Checkpoint(name) }
