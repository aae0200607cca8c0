package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/tables"
)

// csvDir returns where the tables of a database are exported to.
func csvDir(db string) string { return strings.TrimSuffix(db, ".db") + "-csv" }

// exportCSV writes the three tables that are read as CSV files with a header.
func exportCSV(ctx context.Context, path string) error {
	if err := os.Mkdir(csvDir(path), 0o755); err != nil {
		return err
	}
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return err
	}
	for _, table := range []string{tables.SessionSources, tables.Conversions, tables.SessionCosts} {
		err = errors.Join(err, exportTable(ctx, db, table, filepath.Join(csvDir(path), table+".csv")))
	}
	return errors.Join(err, db.Close())
}

func exportTable(ctx context.Context, db *sql.DB, table, to string) error {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+table) //nolint:gosec // one of three names
	if err != nil {
		return err
	}
	defer rows.Close()
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(file, 1<<20)
	err = writeCSV(buffer, rows)
	// What was written before is not to be written while something is measured.
	return errors.Join(err, buffer.Flush(), file.Sync(), file.Close())
}

// writeCSV writes rows after a header; NULL is an empty field.
func writeCSV(to io.Writer, rows *sql.Rows) error {
	fields, err := rows.Columns()
	if err != nil {
		return err
	}
	w := csv.NewWriter(to)
	if err := w.Write(fields); err != nil {
		return err
	}
	values, targets := make([]sql.NullString, len(fields)), make([]any, len(fields))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i, v := range values {
			fields[i] = v.String
		}
		if err := w.Write(fields); err != nil {
			return err
		}
	}
	w.Flush()
	return errors.Join(rows.Err(), w.Error())
}

func (b *bench) peerDB() string { return filepath.Join(b.dir, "peer.duckdb") }

// fillPeer has the peer make its results anew, in one of its ways.
func (b *bench) fillPeer(way string) (usage, error) {
	for _, suffix := range []string{"", ".wal"} {
		if err := os.RemoveAll(b.peerDB() + suffix); err != nil {
			return usage{}, err
		}
	}
	path, err := b.shop(b.config)
	if err != nil {
		return usage{}, err
	}
	p, err := b.start(nil, nil, "peer", "fill", way, csvDir(path), b.peerDB())
	if err != nil {
		return usage{}, err
	}
	return p.wait()
}

// totals is what results add up to, as the peer prints them.
type totals struct {
	Journeys, Touchpoints int
	Revenue, Cost         float64
}

func (b *bench) peerTotals() (t totals, err error) {
	var out bytes.Buffer
	p, err := b.start(&out, nil, "peer", "totals", b.peerDB())
	if err == nil {
		_, err = p.wait()
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &t)
	}
	return t, err
}

func ourTotals(ctx context.Context, path string) (t totals, err error) {
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return t, err
	}
	err = db.QueryRowContext(ctx, `SELECT count(DISTINCT conv_id), count(*), (SELECT sum(ihc_revenue) FROM channel_reporting), (SELECT sum(cost) FROM channel_reporting)
		FROM attribution_customer_journey`).Scan(&t.Journeys, &t.Touchpoints, &t.Revenue, &t.Cost)
	return t, errors.Join(err, db.Close())
}

// differs says where two totals are not the same but for the rounding of sums.
func (t totals) differs(o totals) error {
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }
	if t.Journeys == o.Journeys && t.Touchpoints == o.Touchpoints && near(t.Revenue, o.Revenue) && near(t.Cost, o.Cost) {
		return nil
	}
	return fmt.Errorf("results that must be the same add up to %+v here and to %+v there", t, o)
}

// peer compares the pipeline with DuckDB doing less.
func (b *bench) peer() error {
	rs, err := b.rounds()
	if err != nil {
		return err
	}
	ours, err := ourTotals(b.ctx, rs.db)
	if err != nil {
		return err
	}
	theirs, err := b.peerTotals()
	if err == nil {
		err = ours.differs(theirs)
	}
	if err != nil {
		return err
	}
	for _, way := range []struct {
		name   string
		goal   float64
		usages []usage
	}{{"pipeline ÷ DuckDB doing less", 2.5, rs.peers}, {"pipeline ÷ DuckDB, its fastest statements", 0, rs.tuned}} {
		var took, mib []float64
		for _, p := range way.usages {
			took, mib = append(took, p.seconds), append(mib, p.mib)
		}
		b.add(way.name, rs.ratio(took), "ratio", way.goal, "median of %d pairs; %.1f s and %.1f s for %d touchpoints; DuckDB's most memory %.0f MiB",
			b.runs, median(rs.ours.seconds), median(took), theirs.Touchpoints, median(mib))
	}
	return nil
}
