package postgres

import (
	"cmp"
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/packing"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store"
)

// Rates are the rates of a PostgreSQL database: see [store.Rates].
var Rates = store.Rates{
	Sorted:  packing.SliceConversions,
	Check:   store.PerRow{Session: 0.4, Conversion: 0.4},
	Sort:    store.PerRow{Session: 0.1, Conversion: 0.5, Touchpoint: 0.3},
	Reuse:   store.PerRow{Conversion: 3.8},
	Read:    store.PerRow{Conversion: 2.1, Touchpoint: 0.17},
	Score:   store.PerRow{Conversion: 6, Touchpoint: 0.48},
	Reused:  store.PerRow{Conversion: 9, Touchpoint: 0.05},
	Sweep:   store.PerRow{Conversion: 3, Touchpoint: 0.8},
	Replace: store.PerRow{Conversion: 4, Touchpoint: 8.7},
	Shown:   store.PerRow{Touchpoint: 0.7},
	Report:  store.PerRow{Session: 0.64, Conversion: 5.8, Touchpoint: 0.2},
	Compare: store.PerRow{Session: 0.85, Touchpoint: 0.15},
}

// joined is the rate of a report that the server adds up: see [summing.readTables].
var joined = store.PerRow{Session: 1.6, Conversion: 14.5, Touchpoint: 0.52}

// Size implements [store.Source], by what the server last counted.
func (d *Database) Size(ctx context.Context, start, end string) (store.Size, error) {
	size := store.Size{Rates: Rates}
	err := d.reading(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT `+counted("$1")+`, `+counted("$2")+`, `+counted("$3"), tables.SessionSources, tables.SessionCosts, tables.Conversions).
			Scan(&size.Sessions, &size.Costs, &size.Conversions)
		if max(size.Sessions, size.Conversions) > int64(d.sessions) {
			size.Rates.Report = joined
		}
		if size.InRange = size.Conversions; err == nil && (start != "" || end != "") {
			err = tx.QueryRow(ctx, `SELECT count(*) FROM conversions WHERE conv_date::text BETWEEN $1 AND $2`, cmp.Or(start, civil.First), cmp.Or(end, civil.Last)).Scan(&size.InRange)
		}
		if err != nil {
			return err
		}
		if there, err := hasTables(ctx, tx, "pipeline_counts", "pipeline_latest"); err != nil || !there {
			return err
		}
		// Counted here only where the server has not: it may be much.
		if err := tx.QueryRow(ctx, `SELECT CASE WHEN `+counted("$1")+` > 0 THEN `+counted("$1")+` ELSE (SELECT count(*) FROM pipeline_latest) END`, "pipeline_latest").Scan(&size.Attributed); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT coalesce(sum(touchpoints) / nullif(sum(conversions), 0), 0)::float8 FROM pipeline_counts WHERE outcome <> 'reused'`).Scan(&size.PerConversion)
	})
	return size, err
}

// counted returns the term for how many rows a table has, 0 where nobody counted them.
func counted(name string) string {
	return `coalesce((SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(` + name + `)), 0)`
}
