// Package sqlite is the pipeline's store in a SQLite file: all of its SQL, and
// all that is to be known of opening, sharing and leaving such a file.
package sqlite

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/store"
)

// readers is how many connections read side by side.
const readers = 2

// Database is a [store.Database] in a SQLite file. One process writes to it at
// a time; others wait for their turn.
type Database struct {
	path string
	// use is held to read while something is done, and to write to close: what
	// is closed between two runs is opened anew by the next.
	use           sync.RWMutex
	writes, reads *Handle
	checkpoints   *checkpoints
	opening       sync.Mutex
	log           openLog
	marks         sync.Map // run → [mark], of those that were found to be this database's
}

var _ store.Database = (*Database)(nil)

// New returns the database in the file at path. Nothing is opened yet.
func New(path string) *Database {
	return &Database{path: path,
		writes:      NewHandle(path, Write),
		reads:       NewHandle(path, Read, Readers(readers)),
		checkpoints: &checkpoints{handle: NewHandle(path, Write), between: bytesBetween}}
}

// Close implements [store.Database].
func (d *Database) Close() error {
	d.use.Lock()
	defer d.use.Unlock()
	return errors.Join(d.checkpoints.close(), d.reads.Close(), d.closeWrites())
}

// closeWrites closes the writing connection.
func (d *Database) closeWrites() error {
	d.log.close(d.path)
	return d.writes.Close()
}

// Check implements [store.Database].
func (d *Database) Check(ctx context.Context) error {
	db, err := Open(ctx, d.path, Read, BusyTimeout(time.Second), Readers(1))
	if err != nil {
		return err
	}
	return db.Close()
}

// Validate implements [store.Source].
func (d *Database) Validate(ctx context.Context, o findings.Options) (*findings.Findings, error) {
	db, err := Open(ctx, d.path, Read)
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // only read
	return validate(ctx, db, o, RangeRows)
}
