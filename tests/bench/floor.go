package main

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// The floor is the pipeline's result without the pipeline: one loop that reads
// journeys, scores them and writes the same rows to the same tables in the best
// way SQLite allows. It checks nothing, cannot go on after a crash, and holds
// all sessions in memory, which lets it write the rows in the order of the
// table's key, so that every page is written once, and all of them in one
// transaction, which in an empty table needs no copy of anything.
//
// It was chosen among: rows in the order of reading or of the key; a rollback
// journal or a write-ahead log; indices for reading or sorting in memory.
func floor(ctx context.Context, path string) error {
	f, err := openFloor(ctx, path)
	if err != nil {
		return err
	}
	for _, step := range []func() error{f.begin, f.read, f.write, f.report, f.commit, f.conn.Close} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func openFloor(ctx context.Context, path string) (*floorRun, error) {
	db, err := (&sqlite3.SQLiteDriver{}).Open("file:" + path + "?_journal_mode=DELETE&_synchronous=FULL&_cache_size=-262144&_locking_mode=EXCLUSIVE")
	if err != nil {
		return nil, err
	}
	f := &floorRun{ctx: ctx, conn: db.(*sqlite3.SQLiteConn), users: map[string][]floorSession{}}
	err = f.exec("PRAGMA temp_store = MEMORY")
	return f, err
}

type floorSession struct {
	id string
	ihcmodel.Session
}

type floorConversion struct {
	id, user string
	at       int64
}

type floorRun struct {
	ctx         context.Context //nolint:containedctx // of the process
	conn        *sqlite3.SQLiteConn
	users       map[string][]floorSession
	conversions []floorConversion
}

func (f *floorRun) exec(statement string) error {
	_, err := f.conn.ExecContext(f.ctx, statement, nil)
	return err
}

// floorResults is the table of results as the first release made it, so that
// the floor stays what it was.
const floorResults = `CREATE TABLE IF NOT EXISTS attribution_customer_journey (conv_id text NOT NULL, session_id text NOT NULL, ihc real NOT NULL, PRIMARY KEY(conv_id, session_id))`

func (f *floorRun) begin() error {
	return f.exec("BEGIN IMMEDIATE;" + floorResults + ";" + sqlite.CreateChannelReporting +
		";DELETE FROM attribution_customer_journey; DELETE FROM channel_reporting")
}

func (f *floorRun) commit() error { return f.exec("COMMIT") }

func (f *floorRun) each(query string, columns int, do func([]driver.Value)) error {
	rows, err := f.conn.QueryContext(f.ctx, query, nil)
	if err != nil {
		return err
	}
	row := make([]driver.Value, columns)
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return rows.Close()
		case err != nil:
			return errors.Join(err, rows.Close())
		}
		do(row)
	}
}

func (f *floorRun) read() error {
	channels := map[string]string{}
	err := f.each(`SELECT user_id, session_id, unixepoch(event_date||' '||event_time), channel_name, holder_engagement + 2*closer_engagement
		FROM session_sources WHERE user_id IN (SELECT user_id FROM conversions)`, 5, func(row []driver.Value) {
		channel, ok := channels[row[3].(string)]
		if !ok {
			channel = row[3].(string)
			channels[channel] = channel
		}
		flags := row[4].(int64)
		user := row[0].(string)
		f.users[user] = append(f.users[user], floorSession{row[1].(string), ihcmodel.Session{
			TimeMicros: row[2].(int64) * 1_000_000, Channel: channel, Holder: flags&1 != 0, Closer: flags&2 != 0}})
	})
	if err != nil {
		return err
	}
	for _, sessions := range f.users {
		slices.SortFunc(sessions, func(a, b floorSession) int {
			return cmp.Or(cmp.Compare(a.TimeMicros, b.TimeMicros), cmp.Compare(a.id, b.id))
		})
	}
	return f.each(`SELECT conv_id, user_id, unixepoch(conv_date||' '||conv_time) FROM conversions ORDER BY conv_id`, 3, func(row []driver.Value) {
		f.conversions = append(f.conversions, floorConversion{row[0].(string), row[1].(string), row[2].(int64) * 1_000_000})
	})
}

func (f *floorRun) write() error {
	model, err := ihcmodel.New(ihcmodel.DefaultParams())
	if err != nil {
		return err
	}
	scorer := model.Scorer(nil)
	const perStatement = 256
	statement, err := f.conn.Prepare(`INSERT INTO attribution_customer_journey (conv_id, session_id, ihc) VALUES ` +
		strings.Repeat("(?,?,?),", perStatement-1) + "(?,?,?)")
	if err != nil {
		return err
	}
	var values []driver.Value
	var sessions []ihcmodel.Session
	var scores []ihcmodel.Score
	for _, c := range f.conversions {
		all := f.users[c.user]
		n, _ := slices.BinarySearchFunc(all, c.at, func(s floorSession, at int64) int { return cmp.Compare(s.TimeMicros, at) })
		if n == 0 {
			continue
		}
		sessions = sessions[:0]
		for _, s := range all[:n] {
			sessions = append(sessions, s.Session)
		}
		scores = scorer.Score(sessions, scores)
		for i := range all[:n] {
			values = append(values, c.id, all[i].id, float64(scores[i].IHC)/10_000)
			if len(values) == perStatement*3 {
				if _, err := statement.Exec(values); err != nil { //nolint:staticcheck // the driver's own interface costs least
					return err
				}
				values = values[:0]
			}
		}
	}
	if len(values) > 0 {
		last := `INSERT INTO attribution_customer_journey (conv_id, session_id, ihc) VALUES ` + strings.Repeat("(?,?,?),", len(values)/3-1) + "(?,?,?)"
		if _, err := f.conn.Exec(last, values); err != nil {
			return err
		}
	}
	return statement.Close()
}

// aggregate is channel_reporting by SQL alone. Of the ways to write it this one
// was the fastest by far: a plain join with GROUP BY looks every session up in
// two trees and sorts every touchpoint, and takes three times as long.
const aggregate = `DELETE FROM channel_reporting;
	CREATE TEMP TABLE groups AS
		SELECT channel_name, event_date, sum(coalesce(cost, 0)) AS cost FROM session_sources LEFT JOIN session_costs USING (session_id) GROUP BY 1, 2;
	CREATE TEMP TABLE members (session_id text PRIMARY KEY, grp integer) WITHOUT ROWID;
	INSERT INTO members SELECT session_id, groups.rowid FROM session_sources JOIN groups USING (channel_name, event_date);
	CREATE TEMP TABLE earned (grp integer PRIMARY KEY, ihc real, revenue real);
	INSERT INTO earned SELECT grp, ihc, ihc * revenue
		FROM conversions CROSS JOIN attribution_customer_journey USING (conv_id) CROSS JOIN members USING (session_id) WHERE true
		ON CONFLICT (grp) DO UPDATE SET ihc = ihc + excluded.ihc, revenue = revenue + excluded.revenue;
	INSERT INTO channel_reporting SELECT channel_name, event_date, cost, coalesce(ihc, 0), coalesce(revenue, 0)
		FROM groups LEFT JOIN earned ON grp = groups.rowid`

func (f *floorRun) report() error { return f.exec(aggregate) }

// bareAggregate fills channel_reporting of a database that has attributions.
func bareAggregate(ctx context.Context, path string) error {
	f, err := openFloor(ctx, path)
	if err != nil {
		return err
	}
	return errors.Join(f.exec("BEGIN IMMEDIATE;"+aggregate+";COMMIT"), f.conn.Close())
}
