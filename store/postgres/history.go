package postgres

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store"
)

// Difference implements [store.Reports]. No history is kept in PostgreSQL.
func (d *Database) Difference(context.Context, string, string) (*store.Difference, error) {
	return nil, errkind.Inputf("%s: what changed between two runs is told of SQLite files alone: no history of reports is kept in PostgreSQL", d.name)
}

// Keep implements [store.Ledger]. All records are kept in PostgreSQL.
func (d *Database) Keep(context.Context, int) error { return nil }
