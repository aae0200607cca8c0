package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// readJourneys reads the journal in the order it lies, by one connection: the
// channel and date of each session are in the session index. Where that has no
// room for all sessions at once, see [summing.readInPasses].
func (s *summing) readJourneys(ctx context.Context, conn *sql.Conn, p *part) error {
	there, err := hasTables(ctx, conn, "pipeline_journeys", "pipeline_latest", "pipeline_runs")
	if err != nil || !there {
		return err
	}
	sums := newJourneySums(s)
	if s.x.passes == 1 {
		sums.see(s.x)
		err = sums.read(ctx, conn, everyOne)
	} else {
		sums, err = s.readInPasses(ctx, conn)
	}
	if err != nil {
		return fmt.Errorf("read pipeline_journeys: %w", err)
	}
	p.Journeys, err = sums.result(ctx, conn)
	return err
}

// readInPasses reads the journal in as many passes as it takes to hold the
// sessions of some conversions at a time, in the memory of the index of the
// sums, which are made: those that the journal names are noted first, then
// found in the source, and then added up.
func (s *summing) readInPasses(ctx context.Context, conn *sql.Conn) (sums *journeySums, err error) {
	seed := maphash.MakeSeed()
	for passes := s.x.passes; ; passes *= 2 {
		sums = newJourneySums(s)
		for pass := range passes {
			mine := func(conv string) bool { return maphash.String(seed, conv)%passes == pass }
			if err = s.readPass(ctx, conn, sums, mine); err != nil {
				break
			}
		}
		if !errors.Is(err, errCrowded) || passes > mostPasses {
			return sums, err
		}
	}
}

// mostPasses is more than any journal takes.
const mostPasses = 1 << 20

func (s *summing) readPass(ctx context.Context, conn *sql.Conn, sums *journeySums, mine func(conv string) bool) error {
	clear(s.x.slots)
	x := &sessionIndex{hash: s.x.hash, passes: 1, number: map[key]uint32{}, slots: s.x.slots, free: len(s.x.slots)}
	sums.x = x
	if err := sums.note(ctx, conn, mine); err != nil {
		return err
	}
	query, args := s.sessions()
	err := raw(conn, func(c *sqlite3.SQLiteConn) error {
		writer := x.writer()
		return each(ctx, c, query, args, 3, func(row []driver.Value) error {
			mark, _ := x.mark(text(row[2]))
			if slot := x.slot(mark); slot.mark() == mark {
				slot.group = writer.group(key{text(row[0]), text(row[1])})
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	sums.see(x)
	return sums.read(ctx, conn, mine)
}

// note enters the sessions that the journal names into the index, without their
// groups.
func (a *journeySums) note(ctx context.Context, conn *sql.Conn, mine func(conv string) bool) error {
	return a.each(ctx, conn, mine, func(row []driver.Value) error {
		packed, _ := row[4].([]byte)
		sessions, err := decodeSessions(packed)
		if err != nil {
			return err
		}
		for _, id := range sessions {
			mark, _ := a.x.mark(id)
			s := a.x.slot(mark)
			if s.mark() != 0 {
				continue
			}
			if a.x.free == 1 {
				return errCrowded
			}
			a.x.free--
			*s = slot{high: uint32(mark >> 32), low: uint32(mark), group: noGroup}
		}
		return nil
	})
}

// everyOne is every conversion.
func everyOne(string) bool { return true }

// journeys returns a query that goes through the journal in its own order; what
// it looks up in the other tables it finds by their keys, and then by their bytes.
func (s *summing) journeys() string {
	return `SELECT j.run, ` + s.date("v.conv_date", "v.conv_time") + `||'', v.revenue, v.conv_id||'', j.sessions, j.shares
	FROM pipeline_journeys j CROSS JOIN pipeline_latest l CROSS JOIN conversions v
	WHERE l.conv_id = j.conv_id AND l.journey = j.journey AND v.conv_id = j.conv_id AND v.conv_id = j.conv_id COLLATE BINARY ORDER BY j.journey`
}

// each calls do with the rows of the query of some conversions.
func (a *journeySums) each(ctx context.Context, conn *sql.Conn, mine func(conv string) bool, do func([]driver.Value) error) error {
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		return each(ctx, c, a.query, nil, 6, func(row []driver.Value) error {
			if !mine(text(row[3])) {
				return nil
			}
			return do(row)
		})
	})
}

// read adds the journeys of some conversions.
func (a *journeySums) read(ctx context.Context, conn *sql.Conn, mine func(conv string) bool) error {
	return a.each(ctx, conn, mine, a.add)
}

// add adds one row of the query.
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
