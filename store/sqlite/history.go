package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
)

// A report is compared with the one before, conversion by conversion, while the
// journal is read for it: what each conversion gave to which channel is then at
// hand, and what the last report told of it is in pipeline_told, in the same
// order. Only what differs is written. See ADR 0022.

// comparing compares the report under way with the last one.
type comparing struct {
	*history.Comparison
	channels history.Channels

	conn   *sql.Conn // of the report's transaction
	run    int64
	again  bool  // the run has a report already
	report int64 // number of the last one, 0 for none
	told   *reporting

	write, untold *rows
	before        driver.Rows  // of pipeline_told, those from next on
	next          history.Told // its row, revenue and credit
	more          bool
	row           []driver.Value
	mine          func(conv string) bool
}

// openHistory returns nil where no history is kept: the ledger does not know the
// run, or one connection alone does everything.
func openHistory(ctx context.Context, s *summing) (*comparing, error) {
	there, err := hasTables(ctx, s.conn, "pipeline_runs", "pipeline_told", "pipeline_channels")
	if err != nil || !there || s.readers == nil {
		return nil, err
	}
	h := (&comparing{conn: s.conn, told: s.told, row: make([]driver.Value, 4)}).anew()
	err = s.conn.QueryRowContext(ctx, `SELECT run, report IS NOT NULL, (SELECT coalesce(max(report), 0) FROM pipeline_runs) FROM pipeline_runs WHERE run_id = ?`,
		s.req.GetRunId()).Scan(&h.run, &h.again, &h.report)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := s.conn.QueryContext(ctx, `SELECT channel, name FROM pipeline_channels ORDER BY channel`)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var n int64
		var name string
		if err := found.Scan(&n, &name); err != nil {
			return nil, err
		}
		if err := h.channels.Enter(n, name); err != nil {
			return nil, err
		}
	}
	return h, found.Err()
}

// anew forgets what was compared so far.
func (h *comparing) anew() *comparing {
	if h != nil {
		h.Comparison = history.Compare(&h.channels)
		h.channels.Restart()
	}
	return h
}

// recording calls do, which reads the journal by another connection than the one
// that the history writes to meanwhile.
func (s *summing) recording(do func() error) error {
	h := s.history
	if h == nil {
		return do()
	}
	return raw(s.conn, func(c *sqlite3.SQLiteConn) (err error) {
		h.write = newRows(c, `INSERT OR REPLACE INTO pipeline_told (journey, conv_id, run, fingerprint, sessions, revenue, credit) VALUES `, "(?,?,?,?,?,?,?)", ``, 7, 128)
		h.untold = newRows(c, `INSERT OR IGNORE INTO pipeline_untold (journey) VALUES `, "(?)", ``, 1, 128)
		defer func() { err = errors.Join(err, h.write.close(), h.untold.close()) }()
		if err := do(); err != nil {
			return err
		}
		return errors.Join(h.write.flush(), h.untold.flush())
	})
}

// begin goes to the first of what the last report told of some conversions.
func (h *comparing) begin(ctx context.Context, c *sqlite3.SQLiteConn, mine func(conv string) bool) (err error) {
	h.mine = mine
	h.before, err = ask(ctx, c, `SELECT journey, revenue, credit, conv_id FROM pipeline_told ORDER BY journey`, nil)
	if err != nil {
		return err
	}
	return h.advance()
}

// advance goes to the next.
func (h *comparing) advance() error {
	for {
		switch err := h.before.Next(h.row); {
		case isEnd(err):
			h.more = false
			return nil
		case err != nil:
			return err
		}
		if h.mine(text(h.row[3])) {
			break
		}
	}
	h.more = true
	h.next.Journey, _ = h.row[0].(int64)
	revenue, _ := h.row[1].(int64)
	h.next.Revenue = unit.Money(revenue)
	h.next.Credit, _ = h.row[2].([]byte)
	return nil
}

// readTold reads a row of pipeline_told.
func readTold(row []driver.Value) (t history.Told) {
	t.Journey, _ = row[0].(int64)
	t.Conv = text(row[1])
	t.Run, _ = row[2].(int64)
	t.Fingerprint, _ = row[3].([]byte)
	t.Sessions, _ = row[4].(int64)
	revenue, _ := row[5].(int64)
	t.Revenue = unit.Money(revenue)
	t.Credit, _ = row[6].([]byte)
	return t
}

// skip notes what was told and is not told now, up to a row of the journal.
func (h *comparing) skip(upTo int64) error {
	for h.more && h.next.Journey < upTo {
		if err := errors.Join(h.untold.add(h.next.Journey), h.advance()); err != nil {
			return err
		}
	}
	return nil
}

// tell compares a conversion, in the order of the journal, with what was told of
// it. One of which nothing was is taken for a new one; see [comparing.pair].
func (h *comparing) tell(now *history.Told) error {
	if err := h.skip(now.Journey); err != nil {
		return err
	}
	if !h.more || h.next.Journey != now.Journey {
		return errors.Join(h.New(now), h.keep(now))
	}
	was := h.next
	if err := h.advance(); err != nil {
		return err
	}
	if was.Same(now) {
		return nil
	}
	return errors.Join(h.Changed(store.ChangedJourneys, &was, now), h.keep(now))
}

// end notes the rest, where all went well.
func (h *comparing) end(well bool) (err error) {
	if well {
		err = h.skip(1<<63 - 1)
	}
	return errors.Join(err, h.before.Close())
}

func (h *comparing) keep(t *history.Told) error {
	return h.write.add(t.Journey, t.Conv, t.Run, t.Fingerprint, t.Sessions, int64(t.Revenue), append([]byte{}, t.Credit...)) // none is empty, and not NULL
}
