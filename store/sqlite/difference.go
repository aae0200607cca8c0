package sqlite

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
)

// Difference implements [store.Reports].
func (d *Database) Difference(ctx context.Context, first, second string) (*store.Difference, error) {
	var diff *store.Difference
	err := d.inSnapshot(ctx, noSource, func(conn *sql.Conn) error {
		there, err := hasTables(ctx, conn, "pipeline_totals", "pipeline_changes")
		if err != nil {
			return err
		}
		if !there {
			return history.NoTables(strconv.Quote(d.path))
		}
		all, err := readRecords(ctx, conn)
		if err != nil {
			return err
		}
		from, to, err := all.Choose(first, second)
		if err == nil {
			diff, err = difference(ctx, conn, from, to)
		}
		return err
	})
	return diff, err
}

// Runs implements [store.Reports].
func (d *Database) Runs(ctx context.Context) (all []store.KnownRun, err error) {
	err = d.inSnapshot(ctx, noSource, func(conn *sql.Conn) error {
		known, err := hasTables(ctx, conn, "pipeline_runs")
		if err != nil || !known {
			return err
		}
		there, err := hasTables(ctx, conn, "pipeline_totals")
		if err != nil {
			return err
		}
		if !there {
			return history.NoTables(strconv.Quote(d.path))
		}
		all, err = readRecords(ctx, conn)
		return err
	})
	return all, err
}

func readRecords(ctx context.Context, conn *sql.Conn) (all history.Records, err error) {
	found, err := conn.QueryContext(ctx, `SELECT run_id, status, request, scored_by, model, program, source, coalesce(report, 0), dropped, asked, coalesce(expected_range, 0) FROM pipeline_runs ORDER BY run`)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var r history.Record
		if err := found.Scan(&r.ID, &r.Status, &r.Request, &r.ScoredBy, &r.Model, &r.Program, &r.Source, &r.Report, &r.Dropped, &r.Asked, &r.InRange); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, found.Err()
}

func difference(ctx context.Context, conn *sql.Conn, from, to history.Record) (*store.Difference, error) {
	before, err := readTotals(ctx, conn, from.Report)
	if err != nil {
		return nil, err
	}
	after, err := readTotals(ctx, conn, to.Report)
	if err != nil {
		return nil, err
	}
	why, err := readChanges(ctx, conn, from.Report, to.Report)
	if err != nil {
		return nil, err
	}
	return history.Difference(from, to, before, after, why), nil
}
