package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/daily"
)

// incoming is a table and where its rows wait until all were read: in a table of
// the connection's own, which nobody else sees. Its columns are those of the
// contract, and n, which counts the rows.
type incoming struct {
	table, waiting string
	date, clock    string // "" for a table without
}

var (
	incomingSessions    = incoming{tables.SessionSources, "incoming_sessions", "event_date", "event_time"}
	incomingConversions = incoming{tables.Conversions, "incoming_conversions", "conv_date", "conv_time"}
	incomingCosts       = incoming{tables.SessionCosts, "incoming_costs", "", ""}
)

const waiting = `
CREATE TEMP TABLE incoming_sessions (n bigint, session_id text COLLATE "C", user_id text, event_date text, event_time text, channel_name text, holder_engagement integer, closer_engagement integer, impression_interaction integer) ON COMMIT DROP;
CREATE TEMP TABLE incoming_conversions (n bigint, conv_id text COLLATE "C", user_id text, conv_date text, conv_time text, revenue double precision) ON COMMIT DROP;
CREATE TEMP TABLE incoming_costs (n bigint, session_id text COLLATE "C", cost double precision) ON COMMIT DROP;
CREATE TEMP TABLE incoming_daily (n bigint, date text, channel text, begins text, ends text, cost bigint) ON COMMIT DROP;`

// Import takes the rows that fill gives into the source tables of the database at
// an address, which are made if they are not there. All of it is one transaction:
// whatever goes wrong, the database stays as it was. Errors of fill come back as
// they are.
func Import(ctx context.Context, address string, o store.IntakeOptions, fill func(store.Intake) error) (done store.Imported, err error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	d := New(address)
	defer func() { err = errors.Join(err, d.Close()) }()
	err = d.inTransaction(ctx, pgx.TxOptions{}, func(tx pgx.Tx) (err error) {
		if err := script(ctx, tx, waiting); err != nil {
			return err
		}
		i := &intake{ctx: ctx, d: d, tx: tx, o: o, rows: map[string]rowsOf{}, read: map[string]int64{}}
		if err := errors.Join(fill(i), ctx.Err(), i.flush()); err != nil {
			return err
		}
		done, err = i.merge() // not before all is read, so that nobody waits for a slow file
		return err
	})
	var e *pgconn.PgError
	if errors.As(err, &e) && errkind.KindOf(err) == errkind.Run {
		err = errkind.Inputf("database %s does not take the rows: %w; docs/postgres.md says how its tables should be", d.name, err)
	}
	return done, err
}

// script runs statements without parameters.
func script(ctx context.Context, tx pgx.Tx, statements string) error {
	_, err := tx.Conn().PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// intake is one import. It implements [store.Intake].
type intake struct {
	ctx  context.Context //nolint:containedctx // of the import, which the rows have no other way to
	d    *Database
	tx   pgx.Tx
	o    store.IntakeOptions
	rows map[string]rowsOf // that wait to be copied
	read map[string]int64

	currency string // of what was read, "" where nobody said
}

// atOnce is how many rows are copied at a time.
const atOnce = 5000

func (i *intake) add(into string, values ...any) error {
	i.read[into]++
	i.rows[into] = append(i.rows[into], append([]any{i.read[into]}, values...))
	if len(i.rows[into]) < atOnce {
		return nil
	}
	return i.copy(into)
}

func (i *intake) copy(into string) error {
	rows := i.rows[into]
	i.rows[into] = rows[:0]
	if len(rows) == 0 {
		return nil
	}
	// Without columns: all of them.
	columns, err := describe(i.ctx, i.tx, into)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	return rows.into(i.ctx, i.tx, into, names...)
}

func (i *intake) flush() error {
	for into := range i.rows {
		if err := i.copy(into); err != nil {
			return err
		}
	}
	return nil
}

// Session implements [store.Intake].
func (i *intake) Session(id, user, date, clock, channel string, holder, closer, impression bool) error {
	bit := func(b bool) int32 {
		if b {
			return 1
		}
		return 0
	}
	return i.add(incomingSessions.waiting, id, user, date, clock, channel, bit(holder), bit(closer), bit(impression))
}

// Conversion implements [store.Intake].
func (i *intake) Conversion(id, user, date, clock string, revenue float64) error {
	return i.add(incomingConversions.waiting, id, user, date, clock, revenue)
}

// Cost implements [store.Intake].
func (i *intake) Cost(session string, cost float64) error {
	if math.IsNaN(cost) {
		return i.add(incomingCosts.waiting, session, nil)
	}
	return i.add(incomingCosts.waiting, session, cost)
}

// DailyCost implements [store.Intake].
func (i *intake) DailyCost(date, begins, ends, channel string, cost unit.Cost) error {
	return i.add(incomingDaily, date, channel, begins, ends, int64(cost))
}

// Currency implements [store.Intake].
func (i *intake) Currency() (code string, err error) {
	if there, err := hasTables(i.ctx, i.tx, "pipeline_currency"); err != nil || !there {
		return "", err
	}
	err = i.tx.QueryRow(i.ctx, `SELECT code FROM pipeline_currency`).Scan(&code)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return code, err
}

// Denominate implements [store.Intake].
func (i *intake) Denominate(currency string) { i.currency = currency }

// denominate notes what amounts are in.
func (i *intake) denominate() error {
	if i.currency == "" {
		return nil
	}
	if err := i.d.migrate(i.ctx, i.tx); err != nil {
		return err
	}
	has, err := i.Currency()
	if err != nil {
		return err
	}
	if first, err := store.Denominates(has, i.currency); err != nil || !first {
		return err
	}
	_, err = i.exec(`INSERT INTO pipeline_currency VALUES ($1)`, i.currency)
	return err
}

const incomingDaily = "incoming_daily"

// exec runs a statement and returns how many rows it changed.
func (i *intake) exec(statement string, args ...any) (int64, error) {
	done, err := i.tx.Exec(i.ctx, statement, args...)
	return done.RowsAffected(), err
}

// merge brings what was read to the tables.
func (i *intake) merge() (done store.Imported, err error) {
	if err := i.create(); err != nil {
		return done, err
	}
	if err := i.denominate(); err != nil {
		return done, err
	}
	for _, t := range []struct {
		incoming
		into *store.Taken
	}{{incomingSessions, &done.Sessions}, {incomingConversions, &done.Conversions}, {incomingCosts, &done.Costs}} {
		if t.into.Read = i.read[t.waiting]; t.into.Read == 0 {
			continue
		}
		if err := i.take(t.incoming, t.into); err != nil {
			return done, fmt.Errorf("table %s: %w", t.table, err)
		}
	}
	done.DailyCosts, err = i.spread()
	return done, err
}

// create makes those of the source tables that are in no schema of the path.
func (i *intake) create() error {
	for n, table := range inputTables {
		there, err := hasTables(i.ctx, i.tx, table)
		if err == nil && !there {
			err = script(i.ctx, i.tx, strings.Split(InputSchema, "\n")[n])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take brings rows to a table, in the order of its key.
func (i *intake) take(t incoming, done *store.Taken) error {
	of, err := i.target(t)
	if err != nil {
		return err
	}
	// Imports come one after the other. What was just written has no statistics.
	if err := script(i.ctx, i.tx, `LOCK TABLE `+t.table+` IN SHARE ROW EXCLUSIVE MODE; ANALYZE `+t.waiting); err != nil {
		return err
	}
	id := of[0].name
	if done.Repeated, err = i.exec(`DELETE FROM ` + t.waiting + ` a USING ` + t.waiting + ` b WHERE b.` + id + ` = a.` + id + ` AND b.n > a.n`); err != nil {
		return err
	}
	if i.o.ReplaceRange && t.date != "" {
		if err := i.remove(t, of, done); err != nil {
			return err
		}
	}
	count := func() (n int64, err error) {
		err = i.tx.QueryRow(i.ctx, `SELECT count(*) FROM `+t.table).Scan(&n)
		return n, err
	}
	before, err := count()
	if err != nil {
		return err
	}
	written, err := i.exec(upsert(t, of))
	if err != nil {
		return err
	}
	after, err := count()
	if err != nil {
		return err
	}
	done.New = after - before
	done.Changed = written - done.New
	done.Equal = done.Read - done.Repeated - written
	return script(i.ctx, i.tx, `ANALYZE `+t.table)
}

// targetColumn is a column of the contract, and how the table declares it.
type targetColumn struct {
	column
	declared
}

// target returns the columns of a table that takes rows, the first of which is
// its key.
func (i *intake) target(t incoming) (all []targetColumn, err error) {
	columns, err := describe(i.ctx, i.tx, t.table)
	if err != nil {
		return nil, err
	}
	var kind string
	if err := i.tx.QueryRow(i.ctx, `SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)`, t.table).Scan(&kind); err != nil {
		return nil, err
	}
	if kind != "r" && kind != "p" {
		return nil, errkind.Inputf("it is a view, and takes no rows: import into another schema, whose tables are made (search_path in the address), or into the tables below it")
	}
	has := map[string]declared{}
	for _, d := range columns {
		has[d.Name] = d
	}
	for _, c := range contract[t.table] {
		d, there := has[c.name]
		if !there {
			return nil, errkind.Inputf("it has no column %s", c.name)
		}
		all = append(all, targetColumn{c, d})
	}
	unique, err := hasKey(i.ctx, i.tx, t.table, all[0].name)
	if err == nil && !unique {
		err = errkind.Inputf("%s is not unique, so that rows cannot be told by it: ALTER TABLE %s ADD PRIMARY KEY (%s)", all[0].name, t.table, all[0].name)
	}
	return all, err
}

// value returns the term for what a column takes of a row that waits, by its type.
func (c targetColumn) value(t incoming) string {
	name, as := c.name, "::"+c.Type
	switch {
	case strings.HasPrefix(c.Type, "timestamp"):
		return `(` + t.date + `||' '||` + t.clock + `)` + as // the session's time zone is UTC
	case c.content == aTime && c.Type == "time with time zone":
		return `(` + name + `||'+00')` + as
	case c.content == aFlag && c.Type == "boolean":
		return name + ` = 1`
	case c.Type == "text":
		return name
	}
	return name + as
}

// upsert writes rows that are not there yet or differ.
func upsert(t incoming, of []targetColumn) string {
	var names, values, set, here, there []string
	for n, c := range of {
		names, values = append(names, c.name), append(values, c.value(t))
		if n > 0 {
			set = append(set, c.name+` = EXCLUDED.`+c.name)
			here, there = append(here, `t.`+c.name), append(there, `EXCLUDED.`+c.name)
		}
	}
	return `INSERT INTO ` + t.table + ` AS t (` + strings.Join(names, ", ") + `) SELECT ` + strings.Join(values, ", ") + ` FROM ` + t.waiting + ` ORDER BY ` + names[0] +
		` ON CONFLICT (` + names[0] + `) DO UPDATE SET ` + strings.Join(set, ", ") + ` WHERE (` + strings.Join(here, ", ") + `) IS DISTINCT FROM (` + strings.Join(there, ", ") + `)`
}

// remove takes rows away that are on the days given but not among those given.
func (i *intake) remove(t incoming, of []targetColumn, done *store.Taken) error {
	var first, last string
	if err := i.tx.QueryRow(i.ctx, `SELECT min(`+t.date+`||' '||`+t.clock+`), max(`+t.date+`||' '||`+t.clock+`) FROM `+t.waiting).Scan(&first, &last); err != nil {
		return err
	}
	from, until, err := daily.Range(first, last, i.o.Zone)
	if err != nil {
		return err
	}
	read := map[string]string{}
	for _, c := range of {
		read[c.name] = c.cast(c.content)
	}
	id := read[of[0].name]
	gone := `FROM ` + t.table + ` WHERE (` + read[t.date] + `||' '||` + read[t.clock] + `) COLLATE "C" >= $1 AND (` + read[t.date] + `||' '||` + read[t.clock] + `) COLLATE "C" < $2 AND ` +
		id + ` NOT IN (SELECT ` + of[0].name + ` FROM ` + t.waiting + `)`
	if t.table == tables.SessionSources {
		costs, err := describe(i.ctx, i.tx, tables.SessionCosts)
		if err != nil {
			return err
		}
		for _, c := range costs {
			if c.Name != "session_id" {
				continue
			}
			if _, err := i.exec(`DELETE FROM session_costs WHERE `+c.cast(aText)+` IN (SELECT `+id+` `+gone+`)`, from, until); err != nil {
				return err
			}
		}
	}
	done.Removed, err = i.exec(`DELETE `+gone, from, until)
	return err
}
