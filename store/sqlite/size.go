package sqlite

import (
	"cmp"
	"context"
	"database/sql"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store"
)

// Rates are the rates of a SQLite file: see [store.Rates].
var Rates = store.Rates{
	Check:   store.PerRow{Session: 0.31, Conversion: 0.31},
	Sort:    store.PerRow{Session: 0.38, Touchpoint: 0.3},
	Reuse:   store.PerRow{Conversion: 3.5},
	Read:    store.PerRow{Conversion: 1.5, Touchpoint: 0.27},
	Score:   store.PerRow{Conversion: 3.5, Touchpoint: 0.62},
	Reused:  store.PerRow{Conversion: 9, Touchpoint: 0.03},
	Sweep:   store.PerRow{Conversion: 2, Touchpoint: 0.36},
	Replace: store.PerRow{Conversion: 3.5, Touchpoint: 0.7},
	Renew:   store.PerRow{Conversion: 3.4},
	Shown:   store.PerRow{Touchpoint: 0.06},
	Report:  store.PerRow{Session: 0.75, Conversion: 5.5, Touchpoint: 0.28},
	Told:    store.PerRow{Conversion: 4},
	Compare: store.PerRow{Session: 0.85, Touchpoint: 0.15},
}

// Size implements [store.Source], by the row numbers. Whoever asks may have nothing else
// to do with the database: what is opened for it is not kept.
func (d *Database) Size(ctx context.Context, start, end string) (store.Size, error) {
	size := store.Size{Rates: Rates}
	db, err := Open(ctx, d.path, Read, Readers(1), BusyTimeout(handleBusy))
	if err != nil {
		return size, err
	}
	defer db.Close() //nolint:errcheck // only read
	err = d.snapshot(ctx, db, noSource, func(conn *sql.Conn) (err error) {
		for table, n := range map[string]*int64{tables.SessionSources: &size.Sessions, tables.SessionCosts: &size.Costs, tables.Conversions: &size.Conversions} {
			first, last, numbered, err := rowNumbers(ctx, conn, table)
			if err != nil {
				return err
			}
			if numbered {
				*n = last - first + 1
			}
		}
		if size.PerConversion, err = perConversion(ctx, conn, 0); err != nil {
			return err
		}
		if there, err := hasTables(ctx, conn, "pipeline_latest"); err != nil {
			return err
		} else if there {
			if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM pipeline_latest`).Scan(&size.Attributed); err != nil {
				return err
			}
		}
		if size.InRange = size.Conversions; start == "" && end == "" {
			return nil
		}
		return conn.QueryRowContext(ctx, `SELECT count(*) FROM conversions WHERE conv_date BETWEEN ? AND ?`, cmp.Or(start, civil.First), cmp.Or(end, civil.Last)).Scan(&size.InRange)
	})
	return size, err
}

// perConversion returns how many touchpoints a conversion has as runs scored it, of
// conversions with at least so many; 0 where none was scored.
func perConversion(ctx context.Context, conn *sql.Conn, least int) (n float64, err error) {
	ledger, err := hasTables(ctx, conn, "pipeline_counts")
	if err != nil || !ledger {
		return 0, err
	}
	err = conn.QueryRowContext(ctx, `SELECT total(touchpoints) / max(total(conversions), 1) FROM pipeline_counts WHERE outcome <> 'reused' AND touchpoints >= ?`, least).Scan(&n)
	return n, err
}
