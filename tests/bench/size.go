package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/tables"
)

const megabyte = 1e6

// size measures the database after a run, by table.
func (b *bench) size() error {
	rs, err := b.rounds()
	if err != nil {
		return err
	}
	whole, err := fileSize(rs.db)
	if err != nil {
		return err
	}
	sizes, err := tableSizes(b.ctx, rs.db)
	if err != nil {
		return err
	}
	b.add("database after a run", float64(whole)/megabyte, "MB", 0, "%s", shown(sizes))
	added := whole - rs.before
	b.add("added by the run", float64(added)/float64(rs.ours.touchpoints), "bytes a touchpoint", 0, "%.1f MB, for %d touchpoints", float64(added)/megabyte, rs.ours.touchpoints)

	const results, asRowid, journal = tables.CustomerJourney, "results ÷ as a rowid table", "journal ÷ results"
	if len(sizes) == 0 {
		why := "needs -tags sqlite_dbstat, which make bench gives"
		b.absent(asRowid, 0.65, why)
		b.absent(journal, 0.5, why)
		return nil
	}
	if _, err := b.itself("rowid", rs.db); err != nil {
		return err
	}
	old, err := fileSize(rowidPath(rs.db))
	if err != nil {
		return err
	}
	ours := sizeOf(sizes, results)
	b.add(asRowid, float64(ours)/float64(old), "ratio", 0.65, "%s of %.1f MB and %.1f MB", results, float64(ours)/megabyte, float64(old)/megabyte)
	b.add("database ÷ with results as a rowid table", float64(whole)/float64(whole-ours+old), "ratio", 0, "%.1f MB and %.1f MB", float64(whole)/megabyte, float64(whole-ours+old)/megabyte)
	if kept := sizeOf(sizes, "pipeline_journeys"); kept > 0 {
		b.add(journal, float64(kept)/float64(ours), "ratio", 0.5, "pipeline_journeys of %.1f MB and %s of %.1f MB", float64(kept)/megabyte, results, float64(ours)/megabyte)
	} else {
		b.absent(journal, 0.5, "there is no pipeline_journeys")
	}
	return os.Remove(rowidPath(rs.db))
}

// tableSize is what a table takes, with its indices.
type tableSize struct {
	name  string
	bytes int64
}

// tableSizes returns all tables, the largest first, and none where SQLite was
// built without its table of pages.
func tableSizes(ctx context.Context, path string) (all []tableSize, err error) {
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT tbl_name, sum(pgsize) FROM dbstat('main', 1) JOIN sqlite_schema USING (name) GROUP BY 1 ORDER BY 2 DESC, 1`)
	if err != nil {
		if strings.Contains(err.Error(), "no such table: dbstat") {
			err = nil
		}
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t tableSize
		if err := rows.Scan(&t.name, &t.bytes); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, rows.Err()
}

// sizeOf returns the bytes of the tables whose names begin so.
func sizeOf(tables []tableSize, prefix string) (bytes int64) {
	for _, t := range tables {
		if strings.HasPrefix(t.name, prefix) {
			bytes += t.bytes
		}
	}
	return bytes
}

// shown lists the tables that take a hundredth of the whole or more.
func shown(tables []tableSize) string {
	least := sizeOf(tables, "") / 100
	tables = slices.DeleteFunc(slices.Clone(tables), func(t tableSize) bool { return t.bytes < least })
	var list []string
	for _, t := range tables {
		list = append(list, fmt.Sprintf("%s %.1f", t.name, float64(t.bytes)/megabyte))
	}
	return strings.Join(list, ", ")
}

func rowidPath(db string) string { return strings.TrimSuffix(db, ".db") + "-rowid.db" }

// copyToRowid copies the results into a table that has row numbers and an
// automatic index of its key, in a file of its own. The rows come in the order
// of the key, which leaves that layout no gaps.
func copyToRowid(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", rowidPath(path)+"?_journal_mode=OFF&_synchronous=OFF&_cache_size=-262144")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1) // a database is attached to a connection
	_, err = db.ExecContext(ctx, `ATTACH ? AS ran`, path)
	if err == nil {
		_, err = db.ExecContext(ctx, `CREATE TABLE main.attribution_customer_journey
			(conv_id text NOT NULL, session_id text NOT NULL, ihc real NOT NULL, PRIMARY KEY (conv_id, session_id));
		INSERT INTO main.attribution_customer_journey SELECT conv_id, session_id, ihc FROM ran.attribution_customer_journey ORDER BY 1, 2`)
	}
	return errors.Join(err, db.Close())
}

// checkpoint brings all of a database into its file.
func checkpoint(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return errors.Join(err, db.Close())
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
