package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// group is what a channel and date add up to.
type group struct{ cost, share, refunded, credit unit.Sum }

// Rebuild implements [store.Reports]. The tables are read by two connections
// side by side.
func (d *Database) Rebuild(ctx context.Context, req *ihcv1.RunRequest) (*store.Totals, error) {
	d.use.RLock()
	defer d.use.RUnlock()
	db, reads, err := d.both(ctx)
	if err != nil {
		return nil, err
	}
	t, err := rebuild(ctx, d.path, db, reads, req, usual)
	if err != nil {
		return nil, Explain(d.path, fmt.Errorf("rebuild channel_reporting: %w", err))
	}
	return t, nil
}

// both returns the database to write and to read: one file, even if it is
// replaced at the same time.
func (d *Database) both(ctx context.Context) (db, reads *sql.DB, err error) {
	for fresh := true; fresh; {
		if _, _, err = d.writes.DB(ctx); err != nil {
			return nil, nil, err
		}
		if reads, _, err = d.reads.DB(ctx); err != nil {
			return nil, nil, err
		}
		if db, fresh, err = d.writes.DB(ctx); err != nil {
			return nil, nil, err
		}
	}
	return db, reads, nil
}

// rebuild replaces channel_reporting in one transaction on db. The tables are
// read by the connections of readers or, where that is nil, by db alone. The
// path is for messages.
func rebuild(ctx context.Context, path string, db, readers *sql.DB, req *ihcv1.RunRequest, size sizes) (*store.Totals, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Before the transaction, since the readers see only what is committed.
	for _, table := range []string{CreateCustomerJourney, CreateChannelReporting} {
		if _, err := conn.ExecContext(ctx, table); err != nil {
			return nil, err
		}
	}
	// The writer's transactions wait for this one, so that all of it is read
	// from one state of the database and written before there is another
	// (invariants 9 and 10).
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return nil, err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`) //nolint:errcheck // after a commit there is nothing to undo
	if err := checkSchema(ctx, conn, path); err != nil {
		return nil, err
	}
	stood, err := standIns(ctx, conn, allByID)
	if err != nil {
		return nil, err
	}
	if stood && readers != nil {
		if readers, err = readerOfCopies(ctx, path); err != nil {
			return nil, err
		}
		defer readers.Close() //nolint:errcheck // only read
	}
	of := &summing{conn: conn, readers: readers, req: req, size: size}
	of.told = newReporting(ctx, readers)
	if of.history, err = openHistory(ctx, of); err != nil {
		return nil, err
	}
	t, x, groups, err := sumTables(ctx, of)
	if err != nil {
		return nil, err
	}
	if err := of.history.record(ctx, x, groups); err != nil {
		return nil, fmt.Errorf("record what changed: %w", err)
	}
	if err := replaceReport(ctx, conn, x, groups); err != nil {
		return nil, err
	}
	if t.Rows, err = readBack(ctx, conn); err != nil {
		return nil, err
	}
	for i, r := range t.Rows {
		t.Rows[i].Refunded = store.Shares(groups[x.Number(sessionindex.Key{Channel: r.Channel, Date: r.Date})].refunded).InexactFloat64()
	}
	t.Subtract, t.Replay = run.SubtractsRefunds(req), req.GetReplayOf() != ""
	t.Ranged, t.Covered = ranged(req), covered(t.Rows, req)
	if err := dropStandIns(ctx, conn); err != nil {
		return nil, err
	}
	_, err = conn.ExecContext(ctx, `COMMIT`)
	return t, err
}

// readerOfCopies opens one connection that has copies of the sources that cannot
// be read as they are, of the state that is committed.
func readerOfCopies(ctx context.Context, path string) (*sql.DB, error) {
	db, err := Open(ctx, path, Read, Readers(1))
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	err = inOne(ctx, conn, func() error {
		_, err := standIns(ctx, conn, allByID)
		return err
	})
	if err = errors.Join(err, conn.Close()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// sizes are how much is read and held at a time.
type sizes struct {
	rows      int64 // of a table in a part
	paths     int   // counted at a time, 0 for as many as usual
	few, most int   // slots of the session index
	hash      func() sessionindex.Hash
}

// The session index has 32 MiB, room for two million sessions, and for a larger
// shop up to 128 MiB. One that is larger still is read in several passes (invariant
// 8).
var usual = sizes{rows: RangeRows, few: (32 << 20) / sessionindex.SlotBytes, most: (128 << 20) / sessionindex.SlotBytes, hash: sessionindex.NewHash}

// sumTables makes sums of the four tables, in parts that do not depend on one
// another: sums of integers come to the same in any order. Where two sessions
// are not told apart it begins anew, with other hashes.
func sumTables(ctx context.Context, of *summing) (t *store.Totals, x *sessionindex.Index, groups []group, err error) {
	var sessions int64
	if err := of.conn.QueryRowContext(ctx, `SELECT count(*) FROM session_sources`).Scan(&sessions); err != nil {
		return nil, nil, nil, err
	}
	for tries := range 8 {
		s := *of
		s.sessionRows = sessions
		s.x, s.whole = sessionindex.InPasses(sessions, s.size.few, s.size.most, tries, s.size.hash()), &part{}
		err = s.passes(ctx)
		s.x.Close()
		if err == nil {
			s.sumDates()
			return &s.whole.Totals, s.x, s.whole.groups, nil
		}
		if !errors.Is(err, sessionindex.ErrCollision) && !errors.Is(err, sessionindex.ErrCrowded) {
			return nil, nil, nil, err
		}
	}
	return nil, nil, nil, errkind.Inputf("two sessions of session_sources have the same id: %w", err)
}

// summing is one reading of the four tables.
type summing struct {
	conn    *sql.Conn
	readers *sql.DB
	req     *ihcv1.RunRequest
	size    sizes
	// What sessions are summed by and where days begin. See [store.View].
	column, channel, zone string
	x                     *sessionindex.Index
	whole                 *part
	history               *comparing // nil where none is kept
	told                  *reporting
	sessionRows           int64 // of session_sources
	// inDates says of each group, by number, whether its date is in range; nil
	// where all are.
	inDates []bool
}

// passes reads the tables once for as many sessions as the index has room for.
// Sessions come first, since what they cost and earned is summed by their
// channel and date.
func (s *summing) passes(ctx context.Context) error {
	takes, err := s.told.expect(ctx, s)
	if err != nil {
		return fmt.Errorf("count the rows: %w", err)
	}
	sessions, err := s.inParts(ctx, tables.SessionSources, takes.sessions, s.readSessions)
	if err != nil {
		return err
	}
	costs, err := s.inParts(ctx, tables.SessionCosts, takes.costs, s.readCosts)
	if err != nil {
		return err
	}
	attributions, err := s.inParts(ctx, tables.CustomerJourney, 0, s.readAttributions) // which tells itself
	if err != nil {
		return err
	}
	known, err := s.inParts(ctx, tables.SessionCosts, takes.known, s.readKnownCosts)
	if err != nil {
		return err
	}
	once := append([]task{s.readCounts, s.readDates}, known...)
	if s.x.Passes() == 1 {
		once = append([]task{s.readJourneys}, once...) // first, since nothing takes longer
	}
	for again := true; again; again = s.x.Next() {
		if err := sideBySide(ctx, s.conn, s.readers, s.whole, sessions); err != nil {
			return err
		}
		s.markDates()
		if err := sideBySide(ctx, s.conn, s.readers, s.whole, slices.Concat(once, attributions, costs)); err != nil {
			return err
		}
		once = nil
	}
	if s.x.Passes() > 1 { // in the memory of the index, which is done with
		if err := s.readJourneys(ctx, s.conn, s.whole); err != nil {
			return err
		}
	}
	if err := s.checkPartial(ctx); err != nil {
		return fmt.Errorf("add up the shares of each conversion: %w", err)
	}
	if err := s.readChanges(ctx, s.conn, s.whole); err != nil {
		return fmt.Errorf("find what came and went: %w", err)
	}
	return nil
}

// markDates notes which of the groups met so far have a date in range.
func (s *summing) markDates() {
	if !ranged(s.req) {
		return
	}
	for _, k := range s.x.Keys()[len(s.inDates):] {
		s.inDates = append(s.inDates, run.InRange(s.req, k.Date))
	}
}

// ranged says whether a request names any date.
func ranged(req *ihcv1.RunRequest) bool { return req.GetStartDate() != "" || req.GetEndDate() != "" }

// covered returns the rows, which are in the order of their dates, that are in
// the range of the request.
func covered(rows []store.Row, req *ihcv1.RunRequest) []store.Row {
	start, end := run.Range(req)
	from := sort.Search(len(rows), func(i int) bool { return rows[i].Date >= start })
	to := sort.Search(len(rows), func(i int) bool { return rows[i].Date > end })
	return rows[from:to]
}

// sumDates adds up what the sessions of dates in range cost.
func (s *summing) sumDates() {
	for n, in := range s.inDates {
		if in {
			s.whole.Dates.Cost = s.whole.Dates.Cost.Plus(s.whole.at(uint32(n)).cost)
		}
	}
}

// inParts returns what reads a table in parts; see [reporting] for how long it takes.
func (s *summing) inParts(ctx context.Context, table string, takes float64, read func(context.Context, *sql.Conn, *part, condition) error) (tasks []task, err error) {
	parts, err := partition(ctx, s.conn, table, s.size.rows)
	for _, in := range parts {
		tasks = append(tasks, func(ctx context.Context, conn *sql.Conn, p *part) error {
			err := read(ctx, conn, p, in)
			s.told.read(takes / float64(len(parts)))
			return err
		})
	}
	return tasks, err
}

// task reads something into a part.
type task func(context.Context, *sql.Conn, *part) error

// sideBySide does tasks on the connections of readers or, where that is nil,
// one after the other on conn, and adds their parts to the whole.
func sideBySide(ctx context.Context, conn *sql.Conn, readers *sql.DB, whole *part, tasks []task) error {
	if readers == nil {
		for _, do := range tasks {
			if err := do(ctx, conn, whole); err != nil {
				return err
			}
		}
		return nil
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(readers.Stats().MaxOpenConnections, 1))
	for _, do := range tasks {
		g.Go(func() error {
			c, err := readers.Conn(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			p := &part{}
			if err := do(ctx, c, p); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			whole.add(p)
			return nil
		})
	}
	return g.Wait()
}

// replaceReport writes the groups to channel_reporting: those that have
// sessions.
func replaceReport(ctx context.Context, conn *sql.Conn, x *sessionindex.Index, groups []group) error {
	if _, err := conn.ExecContext(ctx, `DELETE FROM channel_reporting`); err != nil {
		return fmt.Errorf("empty channel_reporting: %w", err)
	}
	insert, err := conn.PrepareContext(ctx, `INSERT INTO channel_reporting (channel_name, date, cost, ihc, ihc_revenue) VALUES (?,?,?,?,?)`)
	if err != nil {
		return fmt.Errorf("write channel_reporting: %w", err)
	}
	defer insert.Close()
	keys, order := x.Keys(), make([]int, len(groups))
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(n, m int) int {
		return cmp.Or(cmp.Compare(keys[n].Channel, keys[m].Channel), cmp.Compare(keys[n].Date, keys[m].Date))
	})
	for _, n := range order {
		k, g := keys[n], &groups[n]
		_, err := insert.ExecContext(ctx, k.Channel, k.Date, g.cost.Float(unit.CostDecimals), store.Shares(g.share).InexactFloat64(), store.Credit(g.credit).InexactFloat64())
		if err != nil {
			return fmt.Errorf("write channel_reporting: %w", err)
		}
	}
	return nil
}

func readBack(ctx context.Context, conn *sql.Conn) ([]store.Row, error) {
	rows, err := conn.QueryContext(ctx, `SELECT channel_name, date||'', cost, ihc, ihc_revenue FROM channel_reporting`)
	if err != nil {
		return nil, fmt.Errorf("read channel_reporting: %w", err)
	}
	defer rows.Close()
	var all []store.Row
	for rows.Next() {
		var r store.Row
		if err := rows.Scan(&r.Channel, &r.Date, &r.Cost, &r.IHC, &r.IHCRevenue); err != nil {
			return nil, fmt.Errorf("read channel_reporting: %w", err)
		}
		all = append(all, r)
	}
	// Here, so that the order is the same whatever encoding the database has.
	slices.SortFunc(all, store.Row.Compare)
	return all, rows.Err()
}
