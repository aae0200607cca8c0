package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/daily"
)

// incoming is a table and where its rows wait until all were read.
type incoming struct {
	table, waiting, id string
	values             []string // its other columns
	date, clock        string   // "" for a table without
}

var (
	incomingSessions = incoming{tables.SessionSources, "incoming_sessions", "session_id",
		[]string{"user_id", "event_date", "event_time", "channel_name", "holder_engagement", "closer_engagement", "impression_interaction"}, "event_date", "event_time"}
	incomingConversions = incoming{tables.Conversions, "incoming_conversions", "conv_id", []string{"user_id", "conv_date", "conv_time", "revenue"}, "conv_date", "conv_time"}
	incomingCosts       = incoming{tables.SessionCosts, "incoming_costs", "session_id", []string{"cost"}, "", ""}
)

const waiting = `
	CREATE TEMP TABLE incoming_sessions (session_id text, user_id text, event_date text, event_time text, channel_name text, holder_engagement integer, closer_engagement integer, impression_interaction integer);
	CREATE TEMP TABLE incoming_conversions (conv_id text, user_id text, conv_date text, conv_time text, revenue real);
	CREATE TEMP TABLE incoming_costs (session_id text, cost real);
	CREATE TEMP TABLE incoming_daily (date text, channel text, begins text, ends text, cost integer, PRIMARY KEY (date, channel))`

// Import takes the rows that fill gives into the database at path, which is made
// if it is not there. All of it is one transaction: whatever goes wrong, the
// database stays as it was. Errors of fill come back as they are.
func Import(ctx context.Context, path string, o store.IntakeOptions, fill func(store.Intake) error) (done store.Imported, err error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		err = Place(path, false, func(temp string) error {
			db, err := create(temp)
			if err != nil {
				return err
			}
			done, err = importInto(ctx, db, path, o, fill)
			return errors.Join(err, db.Close())
		})
		return done, Explain(path, err)
	}
	db, err := Open(ctx, path, Write)
	if err != nil {
		return done, err
	}
	if err := checkSchema(ctx, db, path); err != nil {
		return done, errors.Join(err, db.Close())
	}
	done, err = importInto(ctx, db, path, o, fill)
	return done, errors.Join(Explain(path, err), db.Close())
}

// create opens a new file, without a journal: it is thrown away if it is not finished.
func create(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "_journal_mode=OFF&_synchronous=OFF&_locking_mode=EXCLUSIVE&_txlock=immediate&_cache_size=-32768"}
	db, err := sql.Open("sqlite3", dsn.String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// intake takes rows into tables of the connection's own, which nobody else sees.
type intake struct {
	c                           *sqlite3.SQLiteConn
	sessions, convs, costs, day *rows
	read                        struct{ sessions, convs, costs, days int64 }
	o                           store.IntakeOptions
	currency                    string // of what was read, "" where nobody said
}

func importInto(ctx context.Context, db *sql.DB, path string, o store.IntakeOptions, fill func(store.Intake) error) (done store.Imported, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return done, err
	}
	defer conn.Close()
	var i *intake
	err = raw(conn, func(c *sqlite3.SQLiteConn) error {
		if _, err := c.Exec(`PRAGMA temp.journal_mode = OFF; PRAGMA temp.cache_size = -16384; `+waiting, nil); err != nil {
			return err
		}
		i = newIntake(c, o)
		return errors.Join(fill(i), ctx.Err(), i.flush())
	})
	if err == nil { // not before all is read, so that nobody waits for a slow file
		done, err = i.write(ctx, conn, path)
	}
	var e sqlite3.Error
	if errors.As(err, &e) && errkind.KindOf(Explain(path, err)) == errkind.Run {
		err = errkind.Inputf("database %q does not take the rows: %w; see `ihc schema` for its tables as they should be", path, err)
	}
	return done, err
}

// write brings what was read to the database, in one transaction.
func (i *intake) write(ctx context.Context, conn *sql.Conn, path string) (done store.Imported, err error) {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return done, err
	}
	defer tx.Rollback()
	if err := (&Database{path: path}).migrate(ctx, tx); err != nil {
		return done, err
	}
	err = raw(conn, func(*sqlite3.SQLiteConn) error {
		done, err = i.merge(ctx)
		return err
	})
	if err != nil {
		return done, err
	}
	return done, tx.Commit()
}

func newIntake(c *sqlite3.SQLiteConn, o store.IntakeOptions) *intake {
	into := func(table, row string, width int, tail string) *rows {
		return newRows(c, "INSERT INTO "+table+" VALUES ", row, tail, width, 50)
	}
	return &intake{c: c, o: o, sessions: into(incomingSessions.waiting, "(?,?,?,?,?,?,?,?)", 8, ""), convs: into(incomingConversions.waiting, "(?,?,?,?,?)", 5, ""),
		costs: into(incomingCosts.waiting, "(?,?)", 2, ""), day: into("incoming_daily", "(?,?,?,?,?)", 5, " ON CONFLICT DO UPDATE SET cost = cost + excluded.cost")}
}

func (i *intake) Session(id, user, date, clock, channel string, holder, closer, impression bool) error {
	i.read.sessions++
	return i.sessions.add(id, user, date, clock, channel, bit(holder), bit(closer), bit(impression))
}

func (i *intake) Conversion(id, user, date, clock string, revenue float64) error {
	i.read.convs++
	return i.convs.add(id, user, date, clock, revenue)
}

func (i *intake) Cost(session string, cost float64) error {
	i.read.costs++
	return i.costs.add(session, cost)
}

func (i *intake) DailyCost(date, begins, ends, channel string, cost unit.Cost) error {
	i.read.days++
	return i.day.add(date, channel, begins, ends, int64(cost))
}

// Currency implements [store.Intake].
func (i *intake) Currency() (code string, err error) {
	ctx := context.Background() // it is one row
	if there, err := i.number(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'pipeline_currency'"); err != nil || there == 0 {
		return "", err
	}
	return i.text(ctx, "SELECT code FROM pipeline_currency")
}

// Denominate implements [store.Intake].
func (i *intake) Denominate(currency string) { i.currency = currency }

// denominate notes what amounts are in.
func (i *intake) denominate(ctx context.Context) error {
	has, err := i.Currency()
	if err != nil {
		return err
	}
	if first, err := store.Denominates(has, i.currency); err != nil || !first {
		return err
	}
	_, err = i.exec(ctx, "INSERT INTO pipeline_currency VALUES ("+literal(i.currency)+")")
	return err
}

func (i *intake) flush() (err error) {
	for _, r := range []*rows{i.sessions, i.convs, i.costs, i.day} {
		err = errors.Join(err, r.flush(), r.close())
	}
	return err
}

// merge brings what was read to the tables.
func (i *intake) merge(ctx context.Context) (done store.Imported, err error) {
	if _, err := i.exec(ctx, InputSchema); err != nil {
		return done, err
	}
	if err := i.denominate(ctx); err != nil {
		return done, err
	}
	for _, t := range []struct {
		incoming
		read int64
		into *store.Taken
	}{{incomingSessions, i.read.sessions, &done.Sessions}, {incomingConversions, i.read.convs, &done.Conversions}, {incomingCosts, i.read.costs, &done.Costs}} {
		if t.into.Read = t.read; t.read == 0 {
			continue
		}
		if err := i.take(ctx, t.incoming, t.into); err != nil {
			return done, fmt.Errorf("table %s: %w", t.table, err)
		}
	}
	done.DailyCosts, err = i.spread(ctx)
	return done, err
}

// take brings rows to a table, in the order of its key.
func (i *intake) take(ctx context.Context, t incoming, done *store.Taken) error {
	if _, err := i.exec(ctx, "CREATE INDEX temp."+t.waiting+"_id ON "+t.waiting+" ("+t.id+")"); err != nil {
		return err
	}
	distinct, err := i.number(ctx, "SELECT count(DISTINCT "+t.id+") FROM "+t.waiting)
	if err != nil {
		return err
	}
	if done.Repeated = done.Read - distinct; done.Repeated > 0 {
		if _, err := i.exec(ctx, fmt.Sprintf("DELETE FROM %[1]s AS a WHERE EXISTS (SELECT 1 FROM %[1]s AS b WHERE b.%[2]s = a.%[2]s AND b.rowid > a.rowid)", t.waiting, t.id)); err != nil {
			return err
		}
	}
	if i.o.ReplaceRange && t.date != "" {
		if err := i.remove(ctx, t, done); err != nil {
			return err
		}
	}
	before, err := i.number(ctx, "SELECT count(*) FROM "+t.table)
	if err != nil {
		return err
	}
	written, err := i.exec(ctx, upsert(t))
	if err != nil {
		return err
	}
	after, err := i.number(ctx, "SELECT count(*) FROM "+t.table)
	done.New = after - before
	done.Changed = written - done.New
	done.Equal = distinct - written
	return err
}

// upsert writes rows that are not there yet or differ.
func upsert(t incoming) string {
	var set, here, there []string
	for _, v := range t.values {
		set = append(set, v+" = excluded."+v)
		here = append(here, t.table+"."+v)
		there = append(there, "excluded."+v)
	}
	differ := "(" + strings.Join(here, ", ") + ") IS NOT (" + strings.Join(there, ", ") + ")"
	if len(t.values) == 1 {
		differ = here[0] + " IS NOT " + there[0]
	}
	all := t.id + ", " + strings.Join(t.values, ", ")
	return "INSERT INTO " + t.table + " (" + all + ") SELECT " + all + " FROM " + t.waiting + " WHERE true ORDER BY " + t.id +
		" ON CONFLICT (" + t.id + ") DO UPDATE SET " + strings.Join(set, ", ") + " WHERE " + differ
}

// remove takes rows away that are on the days given but not among those given.
func (i *intake) remove(ctx context.Context, t incoming, done *store.Taken) error {
	at := t.date + " || ' ' || " + t.clock
	first, err := i.text(ctx, "SELECT min("+at+") FROM "+t.waiting)
	if err != nil {
		return err
	}
	last, err := i.text(ctx, "SELECT max("+at+") FROM "+t.waiting)
	if err != nil {
		return err
	}
	from, until, err := daily.Range(first, last, i.o.Zone)
	if err != nil {
		return err
	}
	gone := fmt.Sprintf("FROM %s WHERE %s >= %s AND %s < %s AND %s NOT IN (SELECT %s FROM %s)", t.table, at, literal(from), at, literal(until), t.id, t.id, t.waiting)
	if t.table == tables.SessionSources {
		if _, err := i.exec(ctx, "DELETE FROM session_costs WHERE session_id IN (SELECT session_id "+gone+")"); err != nil {
			return err
		}
	}
	done.Removed, err = i.exec(ctx, "DELETE "+gone)
	return err
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (i *intake) exec(ctx context.Context, statement string) (int64, error) {
	done, err := i.c.ExecContext(ctx, statement, nil)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

func (i *intake) number(ctx context.Context, query string) (n int64, err error) {
	err = i.one(ctx, query, func(v any) { n, _ = v.(int64) })
	return n, err
}

func (i *intake) text(ctx context.Context, query string) (s string, err error) {
	err = i.one(ctx, query, func(v any) { s, _ = v.(string) })
	return s, err
}
