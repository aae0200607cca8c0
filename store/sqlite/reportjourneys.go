package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/cespare/xxhash/v2"
	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
	"github.com/ihc-pipeline/ihc/store/journeysum"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// journeySums adds up the journal's journeys, whose sessions are in an index.
type journeySums struct {
	*journeysum.Sums
	query   string // see [summing.journeys]
	x       *sessionindex.Index
	journey journeysum.Journey // at hand
	marks   []uint64           // of its sessions
	history *comparing         // nil where none is kept
	told    *reporting
	// How many were read since it was told.
	journeys, sessions int
}

// toldAtOnce is after how many rows it is told how far a report is.
const toldAtOnce = 1024

func newJourneySums(s *summing) *journeySums {
	return &journeySums{Sums: journeysum.New(s.req, s.size.paths), query: s.journeys(), x: s.x, history: s.history.anew(), told: s.told}
}

// readJourneys reads the journal in the order it lies, by one connection: the
// channel and date of each session are in the session index. Where that has no
// room for all sessions at once, see [summing.readInPasses].
func (s *summing) readJourneys(ctx context.Context, conn *sql.Conn, p *part) error {
	there, err := hasTables(ctx, conn, "pipeline_journeys", "pipeline_latest", "pipeline_runs")
	if err != nil || !there {
		return err
	}
	var sums *journeySums
	err = s.recording(func() error {
		if s.x.Passes() > 1 {
			sums, err = s.readInPasses(ctx, conn)
			return err
		}
		sums = newJourneySums(s)
		sums.Groups(s.x.Keys())
		return sums.read(ctx, conn, everyOne)
	})
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
	for passes := s.x.Passes(); ; passes *= 2 {
		sums = newJourneySums(s)
		for pass := range passes {
			mine := func(conv string) bool { return maphash.String(seed, conv)%passes == pass }
			if err = s.readPass(ctx, conn, sums, mine); err != nil {
				break
			}
		}
		if !errors.Is(err, sessionindex.ErrCrowded) || passes > mostPasses {
			return sums, err
		}
	}
}

// mostPasses is more than any journal takes.
const mostPasses = 1 << 20

func (s *summing) readPass(ctx context.Context, conn *sql.Conn, sums *journeySums, mine func(conv string) bool) error {
	s.x.Clear(0)
	if err := sums.note(ctx, conn, mine); err != nil {
		return err
	}
	query, args := s.sessions()
	err := raw(conn, func(c *sqlite3.SQLiteConn) error {
		writer := s.x.Writer()
		return each(ctx, c, query, args, 3, func(row []driver.Value) error {
			writer.Fill(s.x.Mark(text(row[2])), sessionindex.Key{Channel: text(row[0]), Date: text(row[1])})
			return nil
		})
	})
	if err != nil {
		return err
	}
	sums.Groups(s.x.Keys())
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
			if err := a.x.Note(a.x.Mark(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// everyOne is every conversion.
func everyOne(string) bool { return true }

// journeys returns a query that goes through the journal in its own order; what
// it looks up in the other tables it finds by their keys, and then by their bytes.
func (s *summing) journeys() string {
	return `SELECT j.run, ` + s.date("v.conv_date", "v.conv_time") + `||'', v.revenue, v.conv_id||'', j.sessions, j.shares, j.journey, j.fingerprint
	FROM pipeline_journeys j CROSS JOIN pipeline_latest l CROSS JOIN conversions v
	WHERE l.conv_id = j.conv_id AND l.journey = j.journey AND v.conv_id = j.conv_id AND v.conv_id = j.conv_id COLLATE BINARY ORDER BY j.journey`
}

// each calls do with the rows of the query of some conversions.
func (a *journeySums) each(ctx context.Context, conn *sql.Conn, mine func(conv string) bool, do func([]driver.Value) error) error {
	return raw(conn, func(c *sqlite3.SQLiteConn) error { return a.eachJourney(ctx, c, mine, do) })
}

func (a *journeySums) eachJourney(ctx context.Context, c *sqlite3.SQLiteConn, mine func(conv string) bool, do func([]driver.Value) error) error {
	return each(ctx, c, a.query, nil, 8, func(row []driver.Value) error {
		if !mine(text(row[3])) {
			return nil
		}
		return do(row)
	})
}

// read adds the journeys of some conversions.
func (a *journeySums) read(ctx context.Context, conn *sql.Conn, mine func(conv string) bool) error {
	if a.history == nil {
		return a.each(ctx, conn, mine, a.add)
	}
	return raw(conn, func(c *sqlite3.SQLiteConn) (err error) {
		if err := a.history.begin(ctx, c, mine); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.history.end(err == nil)) }()
		return a.eachJourney(ctx, c, mine, a.add)
	})
}

// add adds one row of the query.
func (a *journeySums) add(row []driver.Value) error {
	j := &a.journey
	j.Date = text(row[1])
	var ok bool
	if j.Day, ok = civil.ParseDate(j.Date); !ok {
		return nil // a date that validation would have refused
	}
	if j.Revenue, ok = unit.MoneyOf(number(row[2])); !ok {
		return nil // as the sums say, with the conversion's name
	}
	conv := text(row[3])
	packed, _ := row[4].([]byte)
	shares, _ := row[5].([]byte)
	sessions, err := decodeSessions(packed)
	if err == nil {
		shares, err = unseal(conv, packed, shares)
	}
	if err == nil {
		j.Shares, j.Phased, err = decodeShares(shares, j.Shares[:0])
	}
	if err == nil && len(j.Shares) != len(sessions) {
		err = errJournal
	}
	if err != nil {
		return fmt.Errorf("conversion %q: %w", conv, err)
	}
	a.find(sessions)
	a.journeys, a.sessions = a.journeys+1, a.sessions+len(sessions)
	if a.journeys == toldAtOnce {
		a.told.readJourneys(a.journeys, a.sessions)
		a.journeys, a.sessions = 0, 0
	}
	j.Run, _ = row[0].(int64)
	a.Add(j)
	if a.history == nil {
		return nil
	}
	now := history.Told{Conv: conv, Run: j.Run, Sessions: int64(xxhash.Sum64(packed)), Revenue: j.Revenue, Credit: a.history.channels.Credit(a.Sums, j)}
	now.Journey, _ = row[6].(int64)
	now.Fingerprint, _ = row[7].([]byte)
	return a.history.tell(&now)
}

// find looks the sessions up.
func (a *journeySums) find(sessions []string) {
	a.marks = a.marks[:0]
	for _, id := range sessions {
		a.marks = append(a.marks, a.x.Mark(id))
	}
	a.journey.Groups = a.x.Groups(a.marks, a.journey.Groups[:0])
}

// result makes the result, with what the ledger has of the runs.
func (a *journeySums) result(ctx context.Context, conn *sql.Conn) (*store.Journeys, error) {
	out := a.Result()
	if out == nil {
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
		if r.Conversions = a.Of(n); r.Conversions > 0 {
			out.Runs = append(out.Runs, r)
		}
	}
	return out, rows.Err()
}
