package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"hash/maphash"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// readJourneys reads the journal in the order it lies, by one connection: the
// channel and date of each session are in the session index. Where that has no
// room for all sessions at once, it is read by users, see readByUsers.
func (s *summing) readJourneys(ctx context.Context, conn *sql.Conn, p *part) error {
	there, err := hasJournal(ctx, conn)
	if err != nil || !there {
		return err
	}
	sums := newJourneySums(s)
	if s.x.passes == 1 {
		sums.see(s.x)
		err = sums.read(ctx, conn, nil)
	} else {
		err = s.readByUsers(ctx, conn, sums)
	}
	if err != nil {
		return fmt.Errorf("read pipeline_journeys: %w", err)
	}
	p.Journeys, err = sums.result(ctx, conn)
	return err
}

func hasJournal(ctx context.Context, conn *sql.Conn) (there bool, err error) {
	err = conn.QueryRowContext(ctx, `SELECT count(*) = 2 FROM sqlite_schema WHERE name IN ('pipeline_journeys', 'pipeline_latest')`).Scan(&there)
	return there, err
}

// readByUsers reads the journal in as many passes as it takes to hold the
// sessions of some users at a time: all of a journey are of one user.
func (s *summing) readByUsers(ctx context.Context, conn *sql.Conn, sums *journeySums) error {
	seed := maphash.MakeSeed()
	passes := s.x.passes
	for pass := range passes {
		mine := func(user string) bool { return maphash.String(seed, user)%passes == pass }
		x := &sessionIndex{hash: s.x.hash, passes: 1, number: map[key]uint32{}, slots: make([]slot, len(s.x.slots)), free: len(s.x.slots)}
		parts, err := partition(ctx, conn, tables.SessionSources, s.size.rows)
		if err != nil {
			return err
		}
		for _, in := range parts {
			if err := enterUsers(ctx, conn, x, in, mine); err != nil {
				return err
			}
		}
		sums.see(x)
		if err := sums.read(ctx, conn, mine); err != nil {
			return err
		}
	}
	return nil
}

// enterUsers enters the sessions of some users into an index.
func enterUsers(ctx context.Context, conn *sql.Conn, x *sessionIndex, in condition, mine func(user string) bool) error {
	query := `SELECT channel_name||'', event_date||'', session_id||'', user_id||'' FROM session_sources` + in.where
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		writer := x.writer()
		err := each(ctx, c, query, in.args, 4, func(row []driver.Value) error {
			if !mine(text(row[3])) {
				return nil
			}
			mark, _ := x.mark(text(row[2]))
			return writer.enter(mark, writer.group(key{text(row[0]), text(row[1])}))
		})
		if err != nil {
			return err
		}
		return writer.flush()
	})
}

// journeysQuery goes through the journal in its own order; what it looks up in
// the other tables it finds by their keys.
const journeysQuery = `SELECT j.run, v.conv_date||'', v.revenue, v.user_id||'', j.sessions, j.shares
	FROM pipeline_journeys j CROSS JOIN pipeline_latest l CROSS JOIN conversions v
	WHERE l.conv_id = j.conv_id AND l.journey = j.journey AND v.conv_id = j.conv_id ORDER BY j.journey`

// read adds the journeys of some users, nil for all.
func (a *journeySums) read(ctx context.Context, conn *sql.Conn, mine func(user string) bool) error {
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		return each(ctx, c, journeysQuery, nil, 6, func(row []driver.Value) error {
			if mine != nil && !mine(text(row[3])) {
				return nil
			}
			return a.add(row)
		})
	})
}

// add adds one row of journeysQuery.
func (a *journeySums) add(row []driver.Value) error {
	date := text(row[1])
	day, ok := civil.ParseDate(date)
	if !ok {
		return nil // a date that validation would have refused
	}
	revenue, ok := unit.MoneyOf(number(row[2]))
	if !ok {
		return nil // as the sums say, with the conversion's name
	}
	packed, _ := row[4].([]byte)
	sessions, err := decodeSessions(packed)
	if err != nil {
		return err
	}
	packed, _ = row[5].([]byte)
	if a.shares, a.phased, err = decodeShares(packed, a.shares[:0]); err != nil {
		return err
	}
	if len(a.shares) != len(sessions) {
		return errJournal
	}
	a.find(sessions)
	run, _ := row[0].(int64)
	a.journey(run, date, day, revenue)
	return nil
}

// find looks the sessions up in a loop that does nothing else, as
// [summing.find] does.
func (a *journeySums) find(sessions []string) {
	a.groups = a.groups[:0]
	for _, id := range sessions {
		mark, _ := a.x.mark(id)
		n, there := a.x.group(mark)
		if !there {
			n = noGroup
		}
		a.groups = append(a.groups, n)
	}
}

// result makes the result, with what the ledger has of the runs.
func (a *journeySums) result(ctx context.Context, conn *sql.Conn) (*store.Journeys, error) {
	if a.out.Last == "" {
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	rows, err := conn.QueryContext(ctx, `SELECT run, run_id, model, request FROM pipeline_runs ORDER BY run`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var r store.RunJourneys
		if err := rows.Scan(&n, &r.RunID, &r.Model, &r.Request); err != nil {
			return nil, err
		}
		if r.Conversions = a.runs[n]; r.Conversions > 0 {
			a.out.Runs = append(a.out.Runs, r)
		}
	}
	a.finish()
	return a.out, rows.Err()
}
