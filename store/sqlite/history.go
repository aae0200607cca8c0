package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/journeysum"
)

// A report is compared with the one before, conversion by conversion, while the
// journal is read for it: what each conversion gave to which channel is then at
// hand, and what the last report told of it is in pipeline_told, in the same
// order. Only what differs is written. See ADR 0022.

// told is what a report tells of one conversion.
type told struct {
	journey     int64 // the row of the journal
	conv        string
	run         int64 // that scored it
	fingerprint []byte
	sessions    int64 // hash of its sessions
	revenue     unit.Money
	credit      []byte
}

// delta is a change of what a channel earned.
type delta struct {
	share  int64    // in ten-thousandths
	credit unit.Sum // in hundred-millionths
}

// earned are the causes that concern a channel's earnings by the journal.
var earned = [...]store.Cause{store.NewConversions, store.ChangedJourneys, store.RemovedConversions, store.ChangedRevenue, store.OtherSettings}

// Their places in earned.
const (
	newConversion = iota
	changedJourney
	removedConversion
	changedRevenue
	otherSettings
)

// history compares the report under way with the last one.
type history struct {
	conn   *sql.Conn // of the report's transaction
	run    int64
	again  bool  // the run has a report already
	report int64 // number of the last one, 0 for none

	channels map[string]int64 // what pipeline_told calls them
	names    []string         // by number
	known    int              // of names, in the database

	deltas [len(earned)][]delta // by channel

	write, untold *rows
	before        driver.Rows // of pipeline_told, those from next on
	next          told        // its row, revenue and credit
	more          bool
	row           []driver.Value
	mine          func(conv string) bool
}

// openHistory returns nil where no history is kept: the ledger does not know the
// run, or one connection alone does everything.
func openHistory(ctx context.Context, s *summing) (*history, error) {
	there, err := hasTables(ctx, s.conn, "pipeline_runs", "pipeline_told", "pipeline_channels")
	if err != nil || !there || s.readers == nil {
		return nil, err
	}
	h := &history{conn: s.conn, channels: map[string]int64{}, row: make([]driver.Value, 4)}
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
		if n != int64(len(h.names)) {
			return nil, fmt.Errorf("pipeline_channels has no channel %d", len(h.names))
		}
		h.channels[name], h.names = n, append(h.names, name)
	}
	h.known = len(h.names)
	return h, found.Err()
}

// anew forgets what was compared so far.
func (h *history) anew() *history {
	if h != nil {
		h.deltas = [len(earned)][]delta{}
	}
	return h
}

// channel returns what pipeline_told calls a channel.
func (h *history) channel(name string) int64 {
	n, known := h.channels[name]
	if !known {
		n = int64(len(h.names))
		h.channels[name], h.names = n, append(h.names, name)
	}
	return n
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
func (h *history) begin(ctx context.Context, c *sqlite3.SQLiteConn, mine func(conv string) bool) (err error) {
	h.mine = mine
	h.before, err = ask(ctx, c, `SELECT journey, revenue, credit, conv_id FROM pipeline_told ORDER BY journey`, nil)
	if err != nil {
		return err
	}
	return h.advance()
}

// advance goes to the next.
func (h *history) advance() error {
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
	h.next.journey, _ = h.row[0].(int64)
	revenue, _ := h.row[1].(int64)
	h.next.revenue = unit.Money(revenue)
	h.next.credit, _ = h.row[2].([]byte)
	return nil
}

// readTold reads a row of pipeline_told.
func readTold(row []driver.Value) (t told) {
	t.journey, _ = row[0].(int64)
	t.conv = text(row[1])
	t.run, _ = row[2].(int64)
	t.fingerprint, _ = row[3].([]byte)
	t.sessions, _ = row[4].(int64)
	revenue, _ := row[5].(int64)
	t.revenue = unit.Money(revenue)
	t.credit, _ = row[6].([]byte)
	return t
}

// skip notes what was told and is not told now, up to a row of the journal.
func (h *history) skip(upTo int64) error {
	for h.more && h.next.journey < upTo {
		if err := errors.Join(h.untold.add(h.next.journey), h.advance()); err != nil {
			return err
		}
	}
	return nil
}

// tell compares a conversion, in the order of the journal, with what was told of
// it. One of which nothing was is taken for a new one; see [history.pair].
func (h *history) tell(now *told) error {
	if err := h.skip(now.journey); err != nil {
		return err
	}
	if !h.more || h.next.journey != now.journey {
		return errors.Join(h.add(newConversion, now, 1, now.revenue), h.keep(now))
	}
	was := h.next
	if err := h.advance(); err != nil {
		return err
	}
	if was.revenue == now.revenue && bytes.Equal(was.credit, now.credit) {
		return nil
	}
	return errors.Join(h.change(changedJourney, &was, now), h.keep(now))
}

// end notes the rest, where all went well.
func (h *history) end(well bool) (err error) {
	if well {
		err = h.skip(1<<63 - 1)
	}
	return errors.Join(err, h.before.Close())
}

func (h *history) keep(t *told) error {
	return h.write.add(t.journey, t.conv, t.run, t.fingerprint, t.sessions, int64(t.revenue), append([]byte{}, t.credit...)) // none is empty, and not NULL
}

// add adds what a conversion gives, or with a sign of -1 gave, to its channels,
// at some revenue.
func (h *history) add(cause int, t *told, sign int64, revenue unit.Money) error {
	for credit := t.credit; len(credit) > 0; {
		channel, share, rest, ok := nextCredit(credit)
		if !ok {
			return errors.New("a row of pipeline_told is damaged")
		}
		credit = rest
		for int64(len(h.deltas[cause])) <= channel {
			h.deltas[cause] = append(h.deltas[cause], delta{})
		}
		d := &h.deltas[cause][channel]
		d.share += sign * share
		d.credit.AddProduct(sign*share, int64(revenue))
	}
	return nil
}

// change adds what is different of a conversion that has an attribution before
// and now: the shares, at today's revenue, by their cause, and the revenue at the
// shares before.
func (h *history) change(cause int, was, now *told) error {
	err := errors.Join(h.add(cause, now, 1, now.revenue), h.add(cause, was, -1, now.revenue))
	if err != nil || was.revenue == now.revenue {
		return err
	}
	// Twice the same shares, so that conversions come to nothing.
	return errors.Join(h.add(changedRevenue, was, 1, now.revenue), h.add(changedRevenue, was, -1, was.revenue))
}

// mostChannels is more than any shop has; a number beyond it is damage.
const mostChannels = 1 << 24

// nextCredit takes one channel's share off.
func nextCredit(credit []byte) (channel, share int64, rest []byte, ok bool) {
	c, n := binary.Uvarint(credit)
	if n <= 0 || c > mostChannels {
		return 0, 0, nil, false
	}
	s, m := binary.Uvarint(credit[n:])
	if m <= 0 || s > 1<<40 {
		return 0, 0, nil, false
	}
	return int64(c), int64(s), credit[n+m:], true
}

// credit returns the shares of the journey at hand by channel, in the order of
// their numbers: the number and the share, in ten-thousandths, of each that has
// any. It is used again.
func (a *journeySums) credit() []byte {
	for _, name := range a.Channels()[len(a.numbers):] {
		a.numbers = append(a.numbers, a.history.channel(name))
	}
	a.byChannel = append(a.byChannel, make([]int64, len(a.history.names)-len(a.byChannel))...)
	a.earned = a.earned[:0]
	for i, g := range a.journey.Groups {
		share := a.journey.Shares[i].IHC
		if g == journeysum.NoGroup || share == 0 {
			continue
		}
		n := a.numbers[a.Channel(g)]
		if a.byChannel[n] == 0 {
			a.earned = append(a.earned, n)
		}
		a.byChannel[n] += share
	}
	slices.Sort(a.earned)
	a.blob = a.blob[:0]
	for _, n := range a.earned {
		a.blob = binary.AppendUvarint(binary.AppendUvarint(a.blob, uint64(n)), uint64(a.byChannel[n]))
		a.byChannel[n] = 0
	}
	return a.blob
}
