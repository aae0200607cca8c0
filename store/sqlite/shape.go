package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
)

// column is a column the contract asks for.
type column struct {
	name string
	text bool // text, otherwise a number
}

func (c column) kind() string {
	if c.text {
		return "text"
	}
	return "a number"
}

// table is a table of the contract. Its first column names a row in messages.
type table struct {
	name    string
	columns []column
}

func (t table) columnList() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

var inputTables = []table{
	{tables.SessionSources, []column{
		{"session_id", true},
		{"user_id", true},
		{"event_date", true},
		{"event_time", true},
		{"channel_name", true},
		{"holder_engagement", false},
		{"closer_engagement", false},
		{"impression_interaction", false},
	}},
	{tables.Conversions, []column{
		{"conv_id", true},
		{"user_id", true},
		{"conv_date", true},
		{"conv_time", true},
		{"revenue", false},
	}},
	{tables.SessionCosts, []column{
		{"session_id", true},
		{"cost", false},
	}},
}

// outputTables and the columns of their keys, which come first.
var outputTables = []struct {
	table
	key int
}{
	{table{tables.CustomerJourney, []column{{name: "conv_id", text: true}, {name: "session_id", text: true}, {name: "ihc"}}}, 2},
	{table{tables.ChannelReporting, []column{{name: "channel_name", text: true}, {name: "date", text: true}, {name: "cost"}, {name: "ihc"}, {name: "ihc_revenue"}}}, 2},
}

// shape is what checking a table's columns found.
type shape struct {
	sound  bool // all columns are there, so that the rows can be read
	unique bool // an index makes the id unique
	// special are the collations of columns of text that do not go by bytes.
	special map[string]string
}

// checkShapes looks at the tables and columns of all five tables and returns
// the shapes of the input tables by name.
func (v *validation) checkShapes(ctx context.Context) (map[string]shape, error) {
	conn, err := v.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if v.order, err = wide(ctx, conn); err != nil {
		return nil, err
	}
	shapes := make(map[string]shape)
	err = inOne(ctx, conn, func() error {
		for _, t := range inputTables {
			if shapes[t.name], err = v.checkInput(ctx, conn, t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range outputTables {
		if err := v.checkOutput(ctx, conn, t.table, t.key); err != nil {
			return nil, err
		}
	}
	return shapes, v.checkTriggers(ctx, conn)
}

// checkTriggers reports those that would run on what the pipeline writes.
func (v *validation) checkTriggers(ctx context.Context, conn *sql.Conn) error {
	found, err := conn.QueryContext(ctx, `SELECT name, lower(tbl_name) FROM main.sqlite_schema WHERE type = 'trigger' AND `+ours("tbl_name")) //nolint:gosec // of constants
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var name, table string
		if err := found.Scan(&name, &table); err != nil {
			return err
		}
		v.add(findings.HasTrigger.With(human.QuoteText(name)), table, "", 0, "", "")
	}
	return found.Err()
}

func (v *validation) checkInput(ctx context.Context, conn *sql.Conn, t table) (shape, error) {
	kind, cols, err := describe(ctx, conn, t.name)
	if err != nil {
		return shape{}, v.unreadable(t, unreadable(t.name, err))
	}
	if kind == "" {
		v.add(findings.MissingTable.With(t.columnList()), t.name, "", 0, "", "")
		return shape{}, nil
	}
	s := shape{sound: true}
	for _, want := range t.columns {
		if !slices.ContainsFunc(cols, want.named) {
			v.add(findings.MissingColumn.With(want.kind()), t.name, want.name, 0, "", "")
			s.sound = false
		}
	}
	for _, c := range cols {
		if !slices.ContainsFunc(t.columns, c.named) {
			v.add(findings.ExtraColumn, t.name, c.name, 0, "", "")
		}
	}
	if !s.sound {
		return s, nil
	}
	if s.special, s.sound, err = v.checkCollations(ctx, conn, t); err != nil || !s.sound {
		return s, v.unreadable(t, unreadable(t.name, err))
	}
	stood, err := v.standIn(ctx, conn, t)
	if err != nil || stood {
		s.sound = err == nil
		return s, v.unreadable(t, err)
	}
	s.unique, err = hasKey(ctx, conn, t.name, t.columns[:1])
	return s, err
}

// standIn makes the copy of a source that cannot be read as it is. It is the
// connection's own, so that there is no other from then on.
func (v *validation) standIn(ctx context.Context, conn *sql.Conn, t table) (bool, error) {
	stood, err := standIns(ctx, conn, reading{tables: []string{t.name}, byID: true})
	if stood {
		v.db.SetMaxOpenConns(1)
	}
	return stood, err
}

// unreadable reports that a source cannot be read, where that is the user's to put
// right, and otherwise returns err.
func (v *validation) unreadable(t table, err error) error {
	if err == nil || errkind.KindOf(err) != errkind.Input {
		return err
	}
	var why sqlite3.Error
	errors.As(err, &why)
	v.add(findings.Unreadable.With(human.Quote(why.Error())), t.name, "", 0, "", "")
	return nil
}

// checkOutput looks whether a table of results, if it is there, can take them.
func (v *validation) checkOutput(ctx context.Context, conn *sql.Conn, t table, key int) error {
	kind, cols, err := describe(ctx, conn, t.name)
	if err != nil || kind == "" {
		return err
	}
	wrong := func(column, format string, args ...any) {
		v.add(findings.WrongShape.With(fmt.Sprintf(format, args...)), t.name, column, 0, "", "")
	}
	if kind == "view" {
		wrong("", "it is a view")
		return nil
	}
	for _, want := range t.columns {
		i := slices.IndexFunc(cols, want.named)
		switch {
		case i < 0:
			wrong(want.name, "the column is missing")
		case want.text && cols[i].numeric():
			wrong(want.name, "the column is declared %s, not text", human.Quote(cols[i].decl))
		case !want.text && cols[i].textual():
			wrong(want.name, "the column is declared %s, not real", human.Quote(cols[i].decl))
		case cols[i].generated:
			wrong(want.name, "the column is generated")
		}
	}
	for _, c := range cols {
		if !slices.ContainsFunc(t.columns, c.named) && c.notNull && !c.hasDefault && !c.generated {
			wrong(c.name, "the additional column must not be NULL and has no default")
		}
	}
	if v.broken(t.name) {
		return nil
	}
	unique, err := hasKey(ctx, conn, t.name, t.columns[:key])
	if err != nil {
		return err
	}
	if !unique {
		wrong("", "its primary key is not (%s, %s)", t.columns[0].name, t.columns[1].name)
	}
	special, known, err := v.checkCollations(ctx, conn, t)
	if err != nil || !known {
		return err
	}
	for _, c := range t.columns {
		if name := special[c.name]; name != "" {
			wrong(c.name, "the column compares text by the collation %s, to which names that differ are one", name)
		}
	}
	return nil
}

// broken tells whether a table has an error on record.
func (v *validation) broken(table string) bool {
	return slices.ContainsFunc(v.found.List, func(f findings.Finding) bool {
		return f.Table == table && f.Severity == findings.Error
	})
}

// declared is a column as the database declares it.
type declared struct {
	name, decl                     string
	notNull, hasDefault, generated bool
}

func (c column) named(d declared) bool    { return strings.EqualFold(c.name, d.name) }
func (d declared) named(c column) bool    { return strings.EqualFold(c.name, d.name) }
func (d declared) declares(s string) bool { return strings.Contains(strings.ToUpper(d.decl), s) }

// textual and numeric tell how SQLite stores values in the column, by
// https://www.sqlite.org/datatype3.html#determination_of_column_affinity.
// A column that is neither stores them as they come.
func (d declared) textual() bool {
	return !d.declares("INT") && (d.declares("CHAR") || d.declares("CLOB") || d.declares("TEXT"))
}

func (d declared) numeric() bool {
	return !d.textual() && d.decl != "" && (d.declares("INT") || !d.declares("BLOB"))
}

// describe returns whether name is a "table" (also a virtual one), a "view" or
// "", not there, and its columns.
func describe(ctx context.Context, conn connection, name string) (kind string, cols []declared, err error) {
	err = conn.QueryRowContext(ctx,
		`SELECT type FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE`, name).Scan(&kind)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	// hidden: 1 is a virtual table's own, 2 and 3 are generated columns.
	rows, err := conn.QueryContext(ctx,
		`SELECT name, type, "notnull", dflt_value IS NOT NULL, hidden <> 0 FROM pragma_table_xinfo(?, 'main') WHERE hidden <> 1`, name)
	if err != nil {
		return "", nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var d declared
		if err := rows.Scan(&d.name, &d.decl, &d.notNull, &d.hasDefault, &d.generated); err != nil {
			return "", nil, err
		}
		cols = append(cols, d)
	}
	return kind, cols, rows.Err()
}

// hasKey tells whether a unique index on exactly these columns, in any order,
// covers all rows of the table.
func hasKey(ctx context.Context, conn *sql.Conn, table string, key []column) (bool, error) {
	names := make([]string, len(key))
	for i, c := range key {
		names[i] = c.name
	}
	slices.Sort(names)
	var n int
	err := conn.QueryRowContext(ctx, `
		SELECT count(*) FROM pragma_index_list(?, 'main') l
		WHERE l."unique" AND NOT l.partial AND ? = (
			SELECT group_concat(lower(name), ',' ORDER BY lower(name)) FROM pragma_index_info(l.name))`,
		table, strings.Join(names, ",")).Scan(&n)
	return n > 0, err
}
