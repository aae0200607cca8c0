// Package snapshot reads everything a SQLite database holds, so that two
// states of one, or one and another, can be compared bit for bit.
package snapshot

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "github.com/mattn/go-sqlite3" // the driver
)

// Tables are a database's tables by name, each as its rows, one text a row,
// sorted. Numbers are written by their bits: what differs in the last one
// differs here.
type Tables map[string][]string

// Take reads the database at path, that may be in use.
func Take(ctx context.Context, path string) (Tables, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: "mode=rw&_query_only=1&_busy_timeout=30000"}
	db, err := sql.Open("sqlite3", dsn.String())
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // only read
	return read(ctx, db)
}

func read(ctx context.Context, db *sql.DB) (Tables, error) {
	tx, err := db.BeginTx(ctx, nil) // all tables as they are at one moment
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	names, err := column(ctx, tx, `SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		return nil, err
	}
	tables := Tables{}
	for _, name := range names {
		if query, there := arrival[name]; there {
			if tables[name], err = rowsOf(ctx, tx, query); err == nil {
				continue // and otherwise it is another table of that name
			}
		}
		query, err := wholeOf(ctx, tx, name)
		if err == nil {
			tables[name], err = rowsOf(ctx, tx, query)
		}
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
	}
	verdict, err := column(ctx, tx, `PRAGMA integrity_check`)
	if err == nil && !slices.Equal(verdict, []string{"ok"}) {
		err = fmt.Errorf("the database is damaged: %s", strings.Join(verdict, "; "))
	}
	return tables, err
}

func column(ctx context.Context, tx *sql.Tx, query string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// arrival are the tables in which the order shows that results arrived in, each
// with a query for what they hold apart from that: rows of the journal go by
// numbers that are given as they come, and so do runs. What is not of the run
// alone is left out: which database it is, when and where in its stream it was
// asked for, and the address of the API, which is in the fingerprint.
var arrival = map[string]string{
	"pipeline_runs":     `SELECT run_id, status, request, model, expected_chunks, expected_range, chunks, requests, revision, shown FROM pipeline_runs`,
	"pipeline_database": `SELECT count(*) FROM pipeline_database`,
	"pipeline_chunks":   `SELECT run_id, chunk, c.revision, c.requests, c.shown FROM pipeline_chunks c JOIN pipeline_runs USING (run)`,
	"pipeline_counts":   `SELECT run_id, chunk, outcome, conversions, touchpoints FROM pipeline_counts JOIN pipeline_runs USING (run)`,
	"pipeline_outcomes": `SELECT run_id, chunk, conv_id, outcome, reason, sessions FROM pipeline_outcomes JOIN pipeline_runs USING (run)`,
	"pipeline_journeys": `SELECT run_id, chunk, conv_id, length(fingerprint), sessions, shares, strategy, left_out, j.model FROM pipeline_journeys j JOIN pipeline_runs USING (run)`,
	"pipeline_latest":   `SELECT l.conv_id, run_id, chunk, length(fingerprint) FROM pipeline_latest l LEFT JOIN pipeline_journeys USING (journey) LEFT JOIN pipeline_runs USING (run)`,
	"pipeline_adopted":  `SELECT run_id, conv_id, length(fingerprint) FROM pipeline_adopted JOIN pipeline_runs USING (run)`,
	// Channels have their numbers, and credit is told by them, in the order in which
	// results came; what was told adds up to pipeline_totals and pipeline_changes.
	"pipeline_told":     `SELECT conv_id, run_id, length(fingerprint), sessions, t.revenue FROM pipeline_told t JOIN pipeline_runs USING (run)`,
	"pipeline_channels": `SELECT name FROM pipeline_channels`,
}

// wholeOf returns the query for all that a table holds.
func wholeOf(ctx context.Context, tx *sql.Tx, table string) (string, error) {
	quoted := `"` + strings.ReplaceAll(table, `"`, `""`) + `"`
	names, err := column(ctx, tx, `SELECT name FROM pragma_table_xinfo(`+quoted+`) WHERE hidden = 0`)
	if err != nil {
		return "", err
	}
	// The plus sign takes the declared type away, for which the driver might
	// give a value of its own making.
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = `+"` + strings.ReplaceAll(n, `"`, `""`) + `"`
	}
	return `SELECT ` + strings.Join(list, ", ") + ` FROM ` + quoted, nil
}

func rowsOf(ctx context.Context, tx *sql.Tx, query string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	all := []string{}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, Row(values))
	}
	slices.Sort(all)
	return all, rows.Err()
}

// Row writes a row's values as one text.
func Row(values []any) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(" | ")
		}
		write(&b, v)
	}
	return b.String()
}

func write(b *strings.Builder, v any) {
	switch v := v.(type) {
	case float64:
		fmt.Fprintf(b, "%v (%016x)", v, math.Float64bits(v))
	case []byte:
		fmt.Fprintf(b, "x'%x'", v)
	case string:
		fmt.Fprintf(b, "%q", v)
	default:
		fmt.Fprint(b, v)
	}
}

// Only returns the tables whose names keep says yes to.
func (t Tables) Only(keep func(name string) bool) Tables {
	some := Tables{}
	for name, rows := range t {
		if keep(name) {
			some[name] = rows
		}
	}
	return some
}

// Diff says in which tables other differs, with the first few rows that one of
// them lacks; "" if they are equal.
func (t Tables) Diff(other Tables) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t)) {
		theirs, there := other[name]
		if !there {
			fmt.Fprintf(&b, "table %s is missing\n", name)
			continue
		}
		if !slices.Equal(t[name], theirs) {
			fmt.Fprintf(&b, "table %s: %d rows, now %d\n", name, len(t[name]), len(theirs))
			lacking(&b, "  - ", t[name], theirs)
			lacking(&b, "  + ", theirs, t[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(other)) {
		if _, there := t[name]; !there {
			fmt.Fprintf(&b, "table %s is new\n", name)
		}
	}
	return b.String()
}

// lacking writes the first rows that b lacks of a, counting repeated ones.
func lacking(w io.Writer, sign string, a, b []string) {
	left := map[string]int{}
	for _, row := range b {
		left[row]++
	}
	shown := 0
	for _, row := range a {
		if left[row]--; left[row] < 0 {
			if shown++; shown > 5 {
				_, _ = fmt.Fprintf(w, "%s…\n", sign)
				return
			}
			_, _ = fmt.Fprintf(w, "%s%.300s\n", sign, row)
		}
	}
}

// Files returns a digest of every regular file under dir, by its path from
// there; none for a directory that does not exist.
func Files(dir string) (map[string]string, error) {
	files := map[string]string{}
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return files, nil
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // below the directory the caller names
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		name, err := filepath.Rel(dir, path)
		files[name] = hex.EncodeToString(sum[:])
		return err
	})
	return files, err
}
