package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/tables"
)

// RowRange is a range of a table's rows, for readers that share the work; the zero
// value is all of them.
type RowRange struct {
	from, to int64 // row numbers, both included
	part     bool
}

// RangeRows is how many rows a span has about: little to read for one, and
// enough not to matter what it takes to begin.
const RangeRows = 20_000

// Where returns the condition that selects the span's rows, to be put after
// the FROM clause, with the qualified name of the row number, as in "s.rowid";
// its parameters are Args.
func (s RowRange) Where(rowid string) string {
	if !s.part {
		return ""
	}
	return " WHERE " + rowid + " BETWEEN ? AND ?"
}

// Args returns the parameters of Where.
func (s RowRange) Args() []driver.Value {
	if !s.part {
		return nil
	}
	return []driver.Value{s.from, s.to}
}

// maxRanges bounds how many there are where row numbers lie far apart.
const maxRanges = 10_000

// RowRanges divides a table into ranges of about so many rows, in their order.
// What has no row numbers of its own is one range: a view, and a table that
// was made WITHOUT ROWID or with a column of that name.
func RowRanges(ctx context.Context, conn *sql.Conn, table string, rows int64) ([]RowRange, error) {
	first, last, numbered, err := rowNumbers(ctx, conn, table)
	if err != nil {
		return nil, err
	}
	if !numbered {
		return []RowRange{{}}, nil
	}
	var all []RowRange
	size := max(rows, (last-first)/maxRanges+1)
	for ; last-first >= size; first += size { // never past the greatest number there is
		all = append(all, RowRange{first, first + size - 1, true})
	}
	if first <= last {
		all = append(all, RowRange{first, last, true})
	}
	return all, nil
}

// rowNumbers returns the first and the last row number of a table, 0 and -1 of an
// empty one, where rows have numbers.
func rowNumbers(ctx context.Context, conn *sql.Conn, table string) (first, last int64, numbered bool, err error) {
	err = conn.QueryRowContext(ctx, `SELECT type = 'table' AND NOT wr AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(t.name, t.schema) WHERE lower(name) = 'rowid')
		FROM pragma_table_list t WHERE lower(name) = ? ORDER BY schema = 'temp' DESC LIMIT 1`, table).Scan(&numbered)
	if err == nil && numbered {
		// Each alone, SQLite finds them without reading the table.
		err = conn.QueryRowContext(ctx, `SELECT coalesce((SELECT min(rowid) FROM `+table+`), 0), coalesce((SELECT max(rowid) FROM `+table+`), -1)`).Scan(&first, &last)
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("look at %s: %w", table, err)
	}
	return first, last, numbered, nil
}

// condition selects part of a table's rows: what follows the FROM clause, and
// its parameters. The zero value selects all.
type condition struct {
	where string
	args  []driver.Value
	// conversion is what to group by where attributions are to be taken by
	// conversion: the column itself where the part is in the order of it, and
	// otherwise a term that keeps SQLite from going by another order.
	conversion string
	// whole: all attributions of a conversion are in one part.
	whole bool
}

// and returns the condition with one more term, which has one parameter.
func (c condition) and(term string, arg driver.Value) condition {
	if c.where == "" {
		return condition{where: " WHERE " + term, args: []driver.Value{arg}}
	}
	return condition{where: c.where + " AND " + term, args: append(slices.Clip(c.args), arg)}
}

// partition divides a table into parts of about so many rows, by the row
// number where the table has one. attribution_customer_journey without one is
// divided by conversions.
func partition(ctx context.Context, conn *sql.Conn, table string, rows int64) ([]condition, error) {
	ranges, err := RowRanges(ctx, conn, table, rows)
	if err != nil {
		return nil, err
	}
	if len(ranges) == 1 && !ranges[0].part && table == tables.CustomerJourney {
		return byConversion(ctx, conn, max(rows/attributionsGuessed, 1))
	}
	parts := make([]condition, len(ranges))
	for i, r := range ranges {
		parts[i] = condition{where: r.Where("rowid"), args: r.Args(), conversion: "+conv_id COLLATE BINARY"}
	}
	return parts, nil
}

// attributionsGuessed is how many attributions a conversion may have; a wrong
// guess makes parts of another size.
const attributionsGuessed = 20

// byConversion divides attribution_customer_journey into parts of so many
// conversions, in the order of its key. The first and the last have no bound,
// so that rows of conversions that are not there any more are in one as well.
// They are sorted where they are compared, by SQLite: of a database in UTF-16 it
// compares other bytes than Go would.
func byConversion(ctx context.Context, conn *sql.Conn, conversions int64) (parts []condition, err error) {
	found, err := conn.QueryContext(ctx, `SELECT conv_id||'' FROM (SELECT conv_id, row_number() OVER (ORDER BY conv_id) AS n FROM conversions)
		WHERE n % ? = 0 ORDER BY (conv_id||'') COLLATE BINARY`, conversions)
	if err != nil {
		return nil, fmt.Errorf("look at conversions: %w", err)
	}
	defer found.Close()
	var bounds []string
	for found.Next() {
		var bound string
		if err := found.Scan(&bound); err != nil {
			return nil, fmt.Errorf("look at conversions: %w", err)
		}
		bounds = append(bounds, bound)
	}
	var from condition
	for _, bound := range bounds {
		parts = append(parts, from.and(`conv_id COLLATE BINARY < ?`, bound))
		from = condition{}.and(`conv_id COLLATE BINARY >= ?`, bound)
	}
	parts = append(parts, from)
	for i := range parts {
		parts[i].conversion, parts[i].whole = "conv_id COLLATE BINARY", true
	}
	return parts, found.Err()
}
