package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
	"github.com/mattn/go-sqlite3"
	"golang.org/x/sync/errgroup"
)

// sweep brings attribution_customer_journey to the state of the journal for a
// complete run of so many touchpoints: one pass in the order of the table's key, so that every page is
// visited once however many rows there are. It returns about how many bytes that
// put into the write-ahead log. All of it is one transaction: whoever reads sees the state before or
// the state after (invariant 9).
func (d *Database) sweep(ctx context.Context, tx transaction, r runRow, touchpoints uint64) (logged int, err error) {
	s := sweeper{tx: tx, run: r.run, from: r.from, work: store.Begin(ctx)}
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attribution_customer_journey)`).Scan(&s.replaces); err != nil {
		return 0, err
	}
	first, err := s.expect(ctx, float64(touchpoints))
	if err != nil {
		return 0, err
	}
	if err := s.remove(ctx); err != nil {
		return 0, err
	}
	s.work.Add(first)
	mode, err := journalMode(ctx, tx, `PRAGMA journal_mode`)
	if err != nil {
		return 0, err
	}
	log := mode == writeAhead
	reads, done, err := d.beside(ctx, log)
	if err != nil {
		return 0, err
	}
	defer done()
	if file, err := Identity(d.path); err == nil && !log {
		s.out = &outflow{file: file, between: d.checkpoints.between}
		defer s.out.close()
	}
	batches := make(chan []shownJourney, 8)
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(batches)
		conn, err := reads.Conn(both)
		if err != nil {
			return err
		}
		defer conn.Close()
		return withSources(both, conn, salesByID, func() error {
			return raw(conn, func(c *sqlite3.SQLiteConn) error { return readJournal(both, c, s.run, s.from, batches) })
		})
	})
	group.Go(func() error {
		return tx.raw(func(c *sqlite3.SQLiteConn) error { return s.write(both, c, batches) })
	})
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if log {
		logged = s.bytes
	}
	return logged, s.clean(ctx)
}

// leaveLog has the writing connection go without the write-ahead log, which
// SQLite allows where nobody else has the database open. Where somebody has,
// everything stays as it is.
func (d *Database) leaveLog(ctx context.Context) {
	d.use.Lock()
	defer d.use.Unlock()
	if errors.Join(d.checkpoints.close(), d.reads.Close()) != nil {
		return
	}
	if d.log.uprooted(d.path) {
		return // a matter for whoever writes next
	}
	if db, fresh, err := d.writes.DB(ctx); err == nil && !fresh {
		_, _ = db.ExecContext(ctx, `PRAGMA journal_mode = DELETE`)
		d.log.open(d.path)
	}
}

// beside returns a database to read the journal with while the sweep writes, into
// the log or without it: another connection sorts and decodes the rows that the
// writing one stores. What is in the journal was committed before. done gives it
// back.
func (d *Database) beside(ctx context.Context, log bool) (reads *sql.DB, done func(), err error) {
	if log {
		reads, _, err = d.reads.DB(ctx)
		return reads, func() {}, err
	}
	// Without the log, a transaction that outgrows its cache locks others out
	// of the file (https://www.sqlite.org/lockingv3.html, section 5). No page
	// that is read here changes before all of them are read, so no lock is
	// needed: to SQLite, the file is one that does not change.
	s := settings{readers: 1}
	reads, err = connect(ctx, followed(d.path), s, url.Values{"mode": {"ro"}, "immutable": {"1"}, "_cache_size": {readCache}}, 1, probeRead)
	return reads, func() { _ = reads.Close() }, err
}

// sweeper is one sweep of a run.
type sweeper struct {
	tx        transaction
	run, from int64
	replaces  bool           // the table is not empty
	gone      int            // conversions of the run that are not there any more
	bytes     int            // written, about
	out       *outflow       // nil where they go into the log
	work      *store.Counter // in touchpoints
}

// expect notes how much there is to do: the touchpoints and, where there are rows
// already, to find what goes, which comes first and is returned, and to clean up. The
// less of a run is new, the more of it is the first: what is the same is compared alone.
func (s *sweeper) expect(ctx context.Context, touchpoints float64) (first float64, err error) {
	s.work.Expect(touchpoints)
	if s.work == nil || !s.replaces {
		return 0, nil
	}
	var reused float64
	err = s.tx.QueryRowContext(ctx, `SELECT coalesce(sum(conversions) FILTER (WHERE outcome = 'reused') / max(total(conversions) FILTER (WHERE outcome <> 'reused' AND touchpoints > 0), 1), 0)
		FROM pipeline_counts WHERE run = ?`, s.run).Scan(&reused)
	if err != nil {
		return 0, err
	}
	first = touchpoints * (0.17 + 0.33*reused)
	s.work.Expect(first + touchpoints*0.18*(1-reused))
	return first, nil
}

// exec runs statements with the run's number as ?1 and the first row of its
// journal as ?2.
func (s *sweeper) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := s.tx.ExecContext(ctx, statement, s.run, s.from); err != nil {
			return err
		}
	}
	return nil
}

// remove takes out what the run leaves without attribution: conversions that
// ended without one in a chunk that is not shown yet, since of the others a
// later run may know better, and conversions that are in no table any more.
// What the run's own rows replace is noted for clean.
func (s *sweeper) remove(ctx context.Context) error {
	err := s.exec(ctx,
		`INSERT OR IGNORE INTO pipeline_replaced SELECT l.journey FROM pipeline_journeys j JOIN pipeline_latest l ON l.conv_id = j.conv_id
			WHERE j.journey >= ?2 AND j.run = ?1 AND j.chunk > 0 AND l.journey <> j.journey`,
		`INSERT OR IGNORE INTO pipeline_replaced SELECT l.journey FROM pipeline_chunks c CROSS JOIN pipeline_reused u USING (run, chunk)
			CROSS JOIN pipeline_journeys j ON j.journey = u.journey CROSS JOIN pipeline_latest l ON l.conv_id = j.conv_id
			WHERE c.run = ?1 AND NOT c.shown AND l.journey <> j.journey`)
	if err != nil {
		return err
	}
	const ended = `conv_id IN (SELECT conv_id FROM pipeline_outcomes JOIN pipeline_chunks USING (run, chunk) WHERE run = ?1 AND NOT shown)`
	const went = `conv_id NOT IN (SELECT conv_id FROM conversions)`
	for _, without := range []string{ended, went} {
		err := s.exec(ctx, `INSERT OR IGNORE INTO pipeline_replaced SELECT journey FROM pipeline_latest WHERE `+without,
			`DELETE FROM pipeline_latest WHERE `+without)
		if err != nil {
			return err
		}
	}
	if !s.replaces {
		return nil
	}
	return s.exec(ctx, `DELETE FROM attribution_customer_journey WHERE `+ended,
		// By conversion, in the order of the key, and not by row: the limit keeps
		// SQLite from asking before it has made them distinct.
		`DELETE FROM attribution_customer_journey WHERE conv_id IN
			(SELECT conv_id FROM (SELECT DISTINCT conv_id FROM attribution_customer_journey LIMIT -1) WHERE `+went+`)`)
}

// shownJourney is a row of the journal as it is to be shown.
type shownJourney struct {
	journey  int64
	chunk    int64
	conv     string
	gone     bool           // the conversion is not there any more
	sessions []string       // in the order of the key
	ihc      []uint32       // in ten-thousandths
	values   []driver.Value // sessions and shares in turn, as SQLite takes them
}

// batchJourneys is how many journeys are handed over at once.
const batchJourneys = 64

// readJournal hands over what a run has in the journal in the order of
// conversions.
func readJournal(ctx context.Context, c *sqlite3.SQLiteConn, run, from int64, to chan<- []shownJourney) error {
	var batch []shownJourney
	hand := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case to <- batch:
			batch = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	// What is sorted is small, and the rest is fetched row by row meanwhile: so
	// the first journeys come soon. The limit keeps SQLite from leaving the order
	// out; beside the order itself it would have it sort in a tree, which of many
	// conversions is not held in memory.
	err := each(ctx, c, `SELECT j.journey, j.conv_id, j.conv_id IN (SELECT conv_id FROM conversions), j.sessions, j.shares, sorted.chunk
		FROM (SELECT * FROM (SELECT journey, conv_id, chunk FROM pipeline_journeys WHERE journey >= ?2 AND run = ?1 AND chunk > 0
			UNION ALL SELECT journey, conv_id, c.chunk FROM pipeline_chunks c CROSS JOIN pipeline_reused u USING (run, chunk) CROSS JOIN pipeline_journeys USING (journey)
				WHERE c.run = ?1 AND NOT c.shown ORDER BY conv_id) LIMIT -1) AS sorted
		CROSS JOIN pipeline_journeys AS j ON j.journey = sorted.journey`, []driver.Value{run, from}, 6, func(row []driver.Value) error {
		j, err := showJourney(row)
		if err != nil {
			return err
		}
		if batch = append(batch, j); len(batch) == batchJourneys {
			return hand()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return hand()
}

// showJourney decodes a row of the journal.
func showJourney(row []driver.Value) (j shownJourney, err error) {
	j.journey, _ = row[0].(int64)
	j.conv = text(row[1])
	j.gone = row[2] == int64(0)
	sessions, _ := row[3].([]byte)
	shares, _ := row[4].([]byte)
	j.chunk, _ = row[5].(int64)
	if j.sessions, j.ihc, err = decodeJourney(j.conv, sessions, shares); err != nil {
		return j, fmt.Errorf("conversion %q: %w", j.conv, err)
	}
	if !slices.IsSorted(j.sessions) {
		j.sort()
	}
	j.values = make([]driver.Value, 0, 2*len(j.sessions))
	for i, session := range j.sessions {
		j.values = append(j.values, session, shownShare(j.ihc[i]))
	}
	return j, nil
}

// shownShares are the shares from 0 to 1, in ten-thousandths, as SQLite takes them.
var shownShares = func() (all [unit.Whole + 1]driver.Value) {
	for n := range all {
		all[n] = unit.Share(n).Float()
	}
	return all
}()

// shownShare returns one of them; a model's share may be beyond 1.
func shownShare(ihc uint32) driver.Value {
	if int(ihc) < len(shownShares) {
		return shownShares[ihc]
	}
	return unit.Share(ihc).Float()
}

// sort puts the sessions in the order of the key.
func (j *shownJourney) sort() {
	order := make([]int, len(j.sessions))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(j.sessions[a], j.sessions[b]) })
	sessions, ihc := make([]string, len(order)), make([]uint32, len(order))
	for i, k := range order {
		sessions[i], ihc[i] = j.sessions[k], j.ihc[k]
	}
	j.sessions, j.ihc = sessions, ihc
}

// write replaces the rows of the conversions that differ.
func (s *sweeper) write(ctx context.Context, c *sqlite3.SQLiteConn, batches <-chan []shownJourney) (err error) {
	insert := newInserter(c)
	latest := newRows(c, `INSERT INTO pipeline_latest (conv_id, journey) VALUES `, "(?,?)", ` ON CONFLICT (conv_id) DO UPDATE SET journey = excluded.journey WHERE journey <> excluded.journey`, 2, 128)
	left := newRows(c, `INSERT OR REPLACE INTO pipeline_outcomes (run, chunk, conv_id, outcome, reason, sessions) VALUES `, "(?,?,?,?,?,?)", ``, 6, 128)
	there, err := newThere(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, insert.close(), latest.close(), left.close(), there.close()) }()
	for batch := range batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		touchpoints := 0
		for i := range batch {
			j := &batch[i]
			touchpoints += len(j.sessions)
			var err error
			if j.gone {
				// On record, so that the report can tell (see [books.Gone]).
				s.gone++
				err = left.add(s.run, j.chunk, j.conv, books.Gone, "not in conversions any more", int64(len(j.sessions)))
			} else {
				err = s.show(j, insert, latest, there)
			}
			if err != nil {
				return err
			}
		}
		s.work.Add(float64(touchpoints))
	}
	return errors.Join(latest.flush(), left.flush())
}

// show writes one journey, unless the table has its rows already.
func (s *sweeper) show(j *shownJourney, insert *inserter, latest *rows, there *there) error {
	var conv driver.Value = j.conv // boxed once for all its rows
	if err := latest.add(conv, j.journey); err != nil {
		return err
	}
	if s.replaces {
		same, err := there.same(j)
		if err != nil || same {
			return err
		}
		if err := there.remove(conv); err != nil {
			return err
		}
	}
	bytes := 0
	for _, session := range j.sessions {
		bytes += len(j.conv) + len(session) + 12
	}
	if s.bytes += bytes; s.out != nil {
		s.out.written(bytes)
	}
	return insert.add(conv, j)
}

// clean drops from the journal what is shown no more, in the order it lies.
func (s *sweeper) clean(ctx context.Context) error {
	if s.gone > 0 {
		err := s.exec(ctx, `INSERT OR IGNORE INTO pipeline_replaced SELECT journey FROM pipeline_journeys
			WHERE journey >= ?2 AND run = ?1 AND conv_id NOT IN (SELECT conv_id FROM conversions)`)
		if err != nil {
			return err
		}
	}
	return s.exec(ctx, `DELETE FROM pipeline_reusable WHERE run = ?1`,
		`DELETE FROM pipeline_replaced WHERE journey IN (SELECT l.journey FROM pipeline_replaced r CROSS JOIN pipeline_journeys j USING (journey)
			CROSS JOIN pipeline_latest l ON l.conv_id = j.conv_id AND l.journey = j.journey)`,
		`DELETE FROM pipeline_journeys WHERE journey IN (SELECT journey FROM pipeline_replaced) AND journey NOT IN (SELECT journey FROM pipeline_reusable)`,
		`DELETE FROM pipeline_replaced WHERE journey NOT IN (SELECT journey FROM pipeline_journeys)`,
		`DELETE FROM pipeline_journeys WHERE run = ?1 AND chunk = 0 AND (journey >= ?2 OR journey IN (SELECT journey FROM pipeline_adopted WHERE run = ?1))`)
}

// there is what attribution_customer_journey has of a conversion.
type there struct {
	look, delete driver.Stmt
	row          []driver.Value
}

func newThere(c *sqlite3.SQLiteConn) (*there, error) {
	look, err := c.Prepare(`SELECT session_id||'', ihc FROM attribution_customer_journey WHERE conv_id = ?`)
	if err != nil {
		return nil, err
	}
	remove, err := c.Prepare(`DELETE FROM attribution_customer_journey WHERE conv_id = ?`)
	if err != nil {
		return nil, errors.Join(err, look.Close())
	}
	return &there{look: look, delete: remove, row: make([]driver.Value, 2)}, nil
}

// same says whether the table has exactly the rows of the journey.
func (t *there) same(j *shownJourney) (same bool, err error) {
	found, err := t.look.Query([]driver.Value{j.conv}) //nolint:staticcheck // the driver's own interface, without the cost of the one above it
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for i := 0; ; i++ {
		switch err := found.Next(t.row); {
		case isEnd(err):
			return i == len(j.sessions), nil
		case err != nil:
			return false, err
		}
		if i == len(j.sessions) {
			return false, nil
		}
		n := i // where it is, but in a database in UTF-16, which has another order
		if id := text(t.row[0]); j.sessions[n] != id {
			var there bool
			if n, there = slices.BinarySearch(j.sessions, id); !there {
				return false, nil
			}
		}
		if t.row[1] != shownShare(j.ihc[n]) {
			return false, nil
		}
	}
}

func (t *there) remove(conv driver.Value) error {
	_, err := t.delete.Exec([]driver.Value{conv}) //nolint:staticcheck // likewise
	return err
}

func (t *there) close() error { return errors.Join(t.look.Close(), t.delete.Close()) }
