package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/journey"
)

// Ids are compared by their bytes, in whatever encoding the database has,
// whatever order the users gave their columns: both readings have users in the
// same order, which is what [journey.Walk] asks for.
//
// Times compare as text because validation has made sure of their form; ties
// between forms of the same time (12:00:00 and 12:00:00.0) are put right by
// [journey.Walk]. Concatenation hides declared column types like DATE from the
// driver, which would convert them.
const (
	conversionsQuery = `SELECT user_id||'', conv_id||'', conv_date||' '||conv_time FROM conversions
		WHERE conv_date COLLATE BINARY BETWEEN ?1 AND ?2
		ORDER BY user_id COLLATE BINARY, conv_date COLLATE BINARY, conv_time COLLATE BINARY, conv_id COLLATE BINARY`
	sessionsQuery = `SELECT user_id||'', session_id||'', event_date||' '||event_time, channel_name||'',
		holder_engagement + 2*closer_engagement + 4*impression_interaction FROM session_sources
		WHERE user_id COLLATE BINARY IN buyers
		ORDER BY user_id COLLATE BINARY, event_date COLLATE BINARY, event_time COLLATE BINARY`
)

// Journeys implements [store.Source]. It reads from one snapshot of the
// database (invariant 10) and makes no index: to sort the sessions of those who bought takes
// less time than to store an index of all, once; and no room in the file.
func (d *Database) Journeys(ctx context.Context, o journey.Options, yield func(journey.Journey) error) error {
	return d.reading(ctx, visitsSales, func(c *sqlite3.SQLiteConn) error { return readJourneys(ctx, c, o, yield) })
}

// inSnapshot calls do with a connection that sees one state of the database, and
// what is read of the sources as tables: see [withSources].
func (d *Database) inSnapshot(ctx context.Context, what reading, do func(*sql.Conn) error) error {
	d.use.RLock()
	defer d.use.RUnlock()
	reads, _, err := d.reads.DB(ctx)
	if err != nil {
		return err
	}
	return d.snapshot(ctx, reads, what, do)
}

// snapshot is inSnapshot of a database that is open.
func (d *Database) snapshot(ctx context.Context, db *sql.DB, what reading, do func(*sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return Explain(d.path, err)
	}
	defer conn.Close()
	return Explain(d.path, withSources(ctx, conn, what, func() error { return do(conn) }))
}

// reading is inSnapshot for the driver's own connection.
func (d *Database) reading(ctx context.Context, what reading, do func(*sqlite3.SQLiteConn) error) error {
	return d.inSnapshot(ctx, what, func(conn *sql.Conn) error { return raw(conn, do) })
}

func readJourneys(ctx context.Context, conn *sqlite3.SQLiteConn, o journey.Options, yield func(journey.Journey) error) (err error) {
	dates := []driver.Value{o.Start, o.End}
	conversions, err := ask(ctx, conn, conversionsQuery, dates)
	if err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	defer func() { err = errors.Join(err, conversions.Close()) }()
	if err := listBuyers(conn, dates); err != nil {
		return fmt.Errorf("list the users who bought: %w", err)
	}
	if _, err := conn.Exec(`PRAGMA threads = 1`, nil); err != nil { // which sorts what is read while more is read
		return err
	}
	defer conn.Exec(`PRAGMA threads = 0`, nil) //nolint:errcheck // to go on with it does no harm
	sessions, err := ask(ctx, conn, sessionsQuery, nil)
	if err != nil {
		return fmt.Errorf("read session_sources: %w", err)
	}
	defer func() { err = errors.Join(err, sessions.Close()) }()
	return journey.Walk(o, nextConversion(conversions), nextVisit(sessions), yield)
}

// listBuyers makes the temporary table buyers. SQLite would make one of its own
// for a list in the query, but with more than some ten thousand users that one
// is not kept in memory, and each session read it from the disk's cache.
func listBuyers(conn *sqlite3.SQLiteConn, dates []driver.Value) error {
	for _, statement := range []string{`PRAGMA query_only = 0`, `PRAGMA temp.cache_size = -16384`,
		`CREATE TEMP TABLE buyers (user_id text PRIMARY KEY) WITHOUT ROWID`} {
		if _, err := conn.Exec(statement, nil); err != nil {
			return err
		}
	}
	_, err := conn.Exec(`INSERT INTO buyers SELECT DISTINCT user_id||'' COLLATE BINARY FROM conversions WHERE conv_date COLLATE BINARY BETWEEN ?1 AND ?2 ORDER BY 1`, dates)
	if err != nil {
		return err
	}
	_, err = conn.Exec(`PRAGMA query_only = 1`, nil)
	return err
}

func nextConversion(rows driver.Rows) func() (journey.Conversion, error) {
	row := make([]driver.Value, 3)
	return func() (c journey.Conversion, err error) {
		if err := rows.Next(row); err != nil {
			return c, err
		}
		c.User, c.ID = text(row[0]), text(row[1])
		if c.Time, err = civil.ParseTime(text(row[2])); err != nil {
			return c, fmt.Errorf("conversions, conv_id %q: %w", c.ID, err)
		}
		return c, nil
	}
}

func nextVisit(rows driver.Rows) func() (journey.Visit, error) {
	row := make([]driver.Value, 5)
	return func() (v journey.Visit, err error) {
		if err := rows.Next(row); err != nil {
			return v, err
		}
		v.User, v.ID, v.Channel = text(row[0]), text(row[1]), text(row[3])
		if v.Time, err = civil.ParseTime(text(row[2])); err != nil {
			return v, fmt.Errorf("session_sources, session_id %q: %w", v.ID, err)
		}
		flags, ok := row[4].(int64)
		if !ok || flags < 0 || flags > 7 {
			return v, fmt.Errorf("session_sources, session_id %q: engagement flags other than 0 and 1", v.ID)
		}
		v.Flags = byte(flags)
		return v, nil
	}
}

// text returns a column's text, also where the schema's author stored bytes.
func text(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// RequestTime implements [store.Source]. The tables may not be there, or be of an
// earlier version.
func (d *Database) RequestTime(ctx context.Context) (time.Duration, error) {
	d.use.RLock()
	defer d.use.RUnlock()
	db, _, err := d.reads.DB(ctx)
	if err != nil {
		return 0, err
	}
	var known bool
	err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pragma_table_info('pipeline_runs') WHERE name = 'request_seconds')`).Scan(&known)
	if err != nil || !known {
		return 0, Explain(d.path, err)
	}
	var seconds float64
	err = db.QueryRowContext(ctx, `SELECT request_seconds / requests FROM pipeline_runs WHERE requests > 0 AND request_seconds > 0 ORDER BY run DESC LIMIT 1`).Scan(&seconds)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return time.Duration(seconds * float64(time.Second)), Explain(d.path, err)
}

// UnknownChannels implements [store.Source].
func (d *Database) UnknownChannels(ctx context.Context, labels []string) ([]string, error) {
	d.use.RLock()
	defer d.use.RUnlock()
	db, _, err := d.reads.DB(ctx)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, label := range labels {
		var there bool
		err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM session_sources WHERE channel_name = ? COLLATE BINARY)`, label).Scan(&there)
		if err != nil {
			return nil, Explain(d.path, fmt.Errorf("look for channel %q: %w", label, err))
		}
		if !there {
			unknown = append(unknown, label)
		}
	}
	return unknown, nil
}

// Sold implements [store.Source].
func (d *Database) Sold(ctx context.Context, conversions []string) (there int, err error) {
	err = d.reading(ctx, salesByID, func(c *sqlite3.SQLiteConn) error {
		for part := range slices.Chunk(conversions, 500) {
			args := make([]driver.Value, len(part))
			for i, id := range part {
				args[i] = id
			}
			// The left side's collation counts, which is by bytes.
			query := `WITH asked (id) AS (VALUES (?)` + strings.Repeat(`,(?)`, len(part)-1) + `) SELECT count(*) FROM asked WHERE id IN (SELECT conv_id FROM conversions)`
			err := each(ctx, c, query, args, 1, func(row []driver.Value) error {
				n, _ := row[0].(int64)
				there += int(n)
				return nil
			})
			if err != nil {
				return fmt.Errorf("look for conversions: %w", err)
			}
		}
		return nil
	})
	return there, err
}
