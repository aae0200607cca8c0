package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store"
)

// Rates are the rates of a SQLite file: see [store.Rates].
var Rates = store.Rates{
	Check:   store.PerRow{Session: 0.27, Conversion: 0.27},
	Sort:    store.PerRow{Session: 0.38, Touchpoint: 0.3},
	Reuse:   store.PerRow{Conversion: 3.5},
	Score:   store.PerRow{Conversion: 10, Touchpoint: 0.51},
	Reused:  store.PerRow{Conversion: 9, Touchpoint: 0.03},
	Sweep:   store.PerRow{Conversion: 4, Touchpoint: 0.28},
	Report:  store.PerRow{Session: 0.64, Conversion: 5.8, Touchpoint: 0.2},
	Compare: store.PerRow{Session: 0.85, Touchpoint: 0.15},
}

// Size implements [store.Source], by the row numbers.
func (d *Database) Size(ctx context.Context) (store.Size, error) {
	size := store.Size{Rates: Rates}
	err := d.inSnapshot(ctx, noSource, func(conn *sql.Conn) (err error) {
		for table, n := range map[string]*int64{tables.SessionSources: &size.Sessions, tables.SessionCosts: &size.Costs, tables.Conversions: &size.Conversions} {
			first, last, numbered, err := rowNumbers(ctx, conn, table)
			if err != nil {
				return err
			}
			if numbered {
				*n = last - first + 1
			}
		}
		if ledger, err := hasTables(ctx, conn, "pipeline_counts"); err != nil || !ledger {
			return err
		}
		err = conn.QueryRowContext(ctx, `SELECT total(touchpoints) / sum(conversions) FROM pipeline_counts WHERE outcome <> 'reused'
			GROUP BY run HAVING sum(conversions) > 0 ORDER BY run DESC LIMIT 1`).Scan(&size.PerConversion)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return err
	})
	return size, err
}
