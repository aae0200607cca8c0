package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/inspect"
)

// inputTables are the tables that are read, in the order people meet them.
var inputTables = tables.All[:3]

// validation is one look at the source data, from one state of the database.
type validation struct {
	tx    pgx.Tx
	opts  findings.Options
	found *findings.Findings
	sound map[string]bool // tables all of whose columns are there
	from  sources
	work  *store.Counter // in rows by their columns
}

// Validate implements [store.Source].
func (d *Database) Validate(ctx context.Context, o findings.Options) (*findings.Findings, error) {
	if err := civil.CheckRange("start date", o.StartDate, "end date", o.EndDate); err != nil {
		return nil, err
	}
	work := store.Begin(ctx)
	if work != nil { // somebody listens
		brief, cancel := context.WithTimeout(ctx, time.Second)
		size, _ := d.Size(brief, "", "") // a role may lack the rights: then nobody knows how far it is
		cancel()
		for table, rows := range map[string]int64{tables.SessionSources: size.Sessions, tables.SessionCosts: size.Costs, tables.Conversions: size.Conversions} {
			work.Expect(float64(rows) * float64(len(contract[table])))
		}
	}
	var v *validation
	err := d.reading(ctx, func(tx pgx.Tx) (err error) {
		v = &validation{tx: tx, opts: o, found: &findings.Findings{List: []findings.Finding{}}, sound: map[string]bool{}, work: work}
		if err := v.checkInputs(ctx, d); err != nil {
			return err
		}
		for _, of := range results {
			if err := v.checkOutput(ctx, of); err != nil {
				return err
			}
		}
		if err := v.checkTriggers(ctx); err != nil || o.Alone {
			return err
		}
		return v.compare(ctx)
	})
	if err != nil {
		return nil, err
	}
	v.found.Order()
	return v.found, nil
}

// input is a table whose rows are looked at: a term for each column, and which of
// them are whole, numbers that are integers.
type input struct {
	table string
	terms []string
	whole []bool
	rows  *inspect.Scan
}

// checkInputs looks at the tables that are read: at their columns, and then at each
// row, of the first beside the others.
func (v *validation) checkInputs(ctx context.Context, d *Database) error {
	var all []*input
	for _, table := range inputTables {
		in, err := v.checkColumns(ctx, table)
		if err != nil {
			return err
		}
		if in != nil {
			all = append(all, in)
		}
	}
	if len(all) == 0 {
		return nil
	}
	err := d.beside(ctx, v.tx, func(other pgx.Tx) error {
		both, ctx := errgroup.WithContext(ctx)
		both.Go(func() error { return all[0].scan(ctx, v.tx, v.work) })
		both.Go(func() error {
			for _, in := range all[1:] {
				if err := in.scan(ctx, other, v.work); err != nil {
					return err
				}
			}
			return nil
		})
		return both.Wait()
	})
	scans := map[string]*inspect.Scan{}
	for _, in := range all {
		if err == nil {
			scans[in.table] = in.rows
			v.found.Digest += "/" + in.rows.Conclude(v.found, v.opts)
			err = v.checkDuplicates(ctx, in.table, contract[in.table][0].name, in.terms[0])
		}
	}
	v.found.PerConversion = inspect.PerConversion(scans[tables.SessionSources], scans[tables.Conversions], v.opts)
	return err
}

// checkColumns looks at the columns of a table that is read. It returns nil where
// that cannot be.
func (v *validation) checkColumns(ctx context.Context, table string) (*input, error) {
	want := contract[table]
	columns, err := describe(ctx, v.tx, table)
	if err != nil {
		return nil, err
	}
	if len(columns) == 0 {
		var names []string
		for _, c := range want {
			names = append(names, c.name)
		}
		v.found.Add(findings.MissingTable.With(strings.Join(names, ", ")), table, "", 0, "", "")
		return nil, nil //nolint:nilnil // as the comment says
	}
	v.sound[table] = true
	terms, whole := make([]string, len(want)), make([]bool, len(want))
	for i, c := range want {
		n := slices.IndexFunc(columns, func(d declared) bool { return d.Name == c.name })
		if n < 0 {
			v.found.Add(findings.MissingColumn.With(c.kind()), table, c.name, 0, "", "")
			v.sound[table] = false
			continue
		}
		terms[i] = columns[n].cast(c.content)
		if c.content == aFlag && columns[n].numeric() && !strings.HasSuffix(columns[n].Type, "int") && columns[n].Type != "integer" {
			terms[i], whole[i] = columns[n].cast(aNumber), true // as it is: what is rounded looks right
		}
	}
	for _, d := range columns {
		if !slices.ContainsFunc(want, func(c column) bool { return c.name == d.Name }) {
			v.found.Add(findings.ExtraColumn, table, d.Name, 0, "", "")
		}
	}
	if !v.sound[table] {
		return nil, nil //nolint:nilnil // as the comment says
	}
	return &input{table: table, terms: terms, whole: whole, rows: inspect.New(table)}, nil
}

// kind is what to tell of a column that is missing.
func (c column) kind() string {
	if c.content == aFlag || c.content == aNumber {
		return "a number"
	}
	return "text"
}

// checkedAtOnce is after how many rows it is told how far a check is.
const checkedAtOnce = 4096

// scan reads all rows of the table once.
func (in *input) scan(ctx context.Context, tx pgx.Tx, work *store.Counter) error {
	rows, err := tx.Query(ctx, `SELECT `+strings.Join(in.terms, ", ")+` FROM `+in.table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		if n%checkedAtOnce == checkedAtOnce-1 {
			work.Add(float64(checkedAtOnce * len(in.terms)))
		}
		values, err := rows.Values()
		if err != nil {
			return err
		}
		for i, value := range values {
			if n, is := value.(float64); is && in.whole[i] && n == math.Trunc(n) && math.Abs(n) < 1<<53 {
				values[i] = int64(n)
			}
		}
		in.rows.Row(values)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", in.table, err)
	}
	return nil
}

// checkDuplicates counts ids that occur more than once, unless an index rules that
// out.
func (v *validation) checkDuplicates(ctx context.Context, table, id, term string) error {
	if unique, err := hasKey(ctx, v.tx, table, id); err != nil || unique {
		return err
	}
	var rows int64
	var example *string
	err := v.tx.QueryRow(ctx, `SELECT coalesce(sum(n - 1), 0)::bigint, min(id COLLATE "C") FROM (SELECT `+term+` AS id, count(*) AS n FROM `+table+` GROUP BY 1 HAVING count(*) > 1) d WHERE id IS NOT NULL`).Scan(&rows, &example)
	if err == nil && rows > 0 {
		v.found.Add(findings.DuplicateID, table, id, rows, "rows", human.Quote(*example))
	}
	return err
}

// hasKey tells whether a unique index on exactly these columns, in any order,
// covers all rows of the table.
func hasKey(ctx context.Context, tx pgx.Tx, table string, key ...string) (there bool, err error) {
	slices.Sort(key)
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND $2::text[] = ARRAY(
		SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts-1]) k JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k ORDER BY a.attname::text COLLATE "C"))`, table, key).Scan(&there)
	return there, err
}

// output is a table of results, whose key comes first.
type output struct {
	table   string
	columns []column
}

var results = []output{
	{tables.CustomerJourney, []column{{"conv_id", aText}, {"session_id", aText}, {"ihc", aNumber}}},
	{tables.ChannelReporting, []column{{"channel_name", aText}, {"date", aText}, {"cost", aNumber}, {"ihc", aNumber}, {"ihc_revenue", aNumber}}},
}

// checkOutput looks whether a table of results, if it is there, can take them.
func (v *validation) checkOutput(ctx context.Context, of output) error {
	columns, err := describe(ctx, v.tx, of.table)
	if err != nil || len(columns) == 0 {
		return err
	}
	sound := true
	wrong := func(column, format string, args ...any) {
		v.found.Add(findings.WrongShape.With(fmt.Sprintf(format, args...)), of.table, column, 0, "", "")
		sound = false
	}
	var kind string
	if err := v.tx.QueryRow(ctx, `SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)`, of.table).Scan(&kind); err != nil {
		return err
	}
	if kind != "r" && kind != "p" {
		wrong("", "it is a view")
		return nil
	}
	for _, want := range of.columns {
		i := slices.IndexFunc(columns, func(d declared) bool { return d.Name == want.name })
		switch {
		case i < 0:
			wrong(want.name, "the column is missing")
		case want.content == aText && columns[i].Type != "text" && columns[i].Type != "character varying":
			wrong(want.name, "the column is declared %s, not text", human.Quote(columns[i].Type))
		case want.content == aNumber && columns[i].Type != "double precision":
			wrong(want.name, "the column is declared %s, not double precision", human.Quote(columns[i].Type))
		case !columns[i].Bytes:
			wrong(want.name, "the column's collation takes names that differ for one")
		}
	}
	for _, d := range columns {
		if !slices.ContainsFunc(of.columns, func(c column) bool { return c.name == d.Name }) && d.NotNull && !d.Default {
			wrong(d.Name, "the additional column must not be NULL and has no default")
		}
	}
	if !sound {
		return nil
	}
	unique, err := hasKey(ctx, v.tx, of.table, of.columns[0].name, of.columns[1].name)
	if err != nil || unique {
		return err
	}
	ours := false // which gets its key with its rows: see [addKey]
	err = v.tx.QueryRow(ctx, `SELECT NOT EXISTS (SELECT 1 FROM pg_constraint WHERE contype = 'p' AND conrelid = to_regclass($1)) AND NOT EXISTS (SELECT 1 FROM `+of.table+`)`, of.table).Scan(&ours)
	if err == nil && (!ours || of.table != tables.CustomerJourney) {
		wrong("", "its primary key is not (%s, %s)", of.columns[0].name, of.columns[1].name)
	}
	return err
}

// checkTriggers reports those that would run on what the pipeline writes.
func (v *validation) checkTriggers(ctx context.Context) error {
	rows, err := v.tx.Query(ctx, `SELECT t.tgname::text, c.relname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND (c.oid IN (to_regclass('attribution_customer_journey'), to_regclass('channel_reporting'))
			OR c.relname LIKE 'pipeline\_%' AND pg_table_is_visible(c.oid)) ORDER BY c.relname, t.tgname`)
	if err != nil {
		return err
	}
	var name, table string
	_, err = pgx.ForEachRow(rows, []any{&name, &table}, func() error {
		v.found.Add(findings.HasTrigger.With(human.QuoteText(name)), table, "", 0, "", "")
		return nil
	})
	return err
}

// compare looks at what the tables say of one another.
func (v *validation) compare(ctx context.Context) (err error) {
	if !v.sound[tables.SessionSources] {
		return nil
	}
	if v.from, err = findSources(ctx, v.tx); err != nil {
		return err
	}
	if v.sound[tables.SessionCosts] {
		err := v.count(ctx, findings.UnknownSession, tables.SessionCosts, "session_id", `{session_costs} t WHERE NOT EXISTS (SELECT 1 FROM {session_sources} s WHERE s.session_id = t.session_id)`)
		if err != nil {
			return err
		}
		err = v.count(ctx, findings.SessionsNoCost, tables.SessionSources, "session_id", `{session_sources} t WHERE NOT EXISTS (SELECT 1 FROM {session_costs} c WHERE c.session_id = t.session_id)`)
		if err != nil {
			return err
		}
	}
	if !v.sound[tables.Conversions] {
		return nil
	}
	return v.count(ctx, findings.ConversionsAlone, tables.Conversions, "conv_id", `{conversions} t WHERE NOT EXISTS (SELECT 1 FROM {session_sources} s WHERE s.user_id = t.user_id)`)
}

// count counts the rows of a FROM, and adds a finding if there are any. Its
// example is the least id among them.
func (v *validation) count(ctx context.Context, r findings.Rule, table, id, from string) error {
	var n int64
	var example *string
	err := v.tx.QueryRow(ctx, v.from.in(`SELECT count(*), min(t.`+id+` COLLATE "C") FROM `+from)).Scan(&n, &example)
	if err == nil && n > 0 {
		var shown any
		if example != nil {
			shown = *example
		}
		v.found.Add(r, table, id, n, "rows", human.Quote(shown))
	}
	return err
}
