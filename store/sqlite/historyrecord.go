package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"maps"
	"slices"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// record writes down what channels come to and by how much that differs from
// the last report, by cause. A run that has a report already is not told as
// another: what changed since the last report is added to that one.
func (h *comparing) record(ctx context.Context, x *sessionindex.Index, groups []group) error {
	if h == nil {
		return nil
	}
	if err := h.pair(ctx); err != nil {
		return err
	}
	before, err := readTotals(ctx, h.conn, h.report)
	if err != nil {
		return err
	}
	now := totalsOf(x, groups)
	changes := h.Causes(before, now)
	if h.again {
		same, err := readChanges(ctx, h.conn, h.report-1, h.report)
		if err != nil {
			return err
		}
		changes.Add(same)
	} else {
		h.report++
		if _, err := h.conn.ExecContext(ctx, `UPDATE pipeline_runs SET report = ?2 WHERE run = ?1`, h.run, h.report); err != nil {
			return err
		}
	}
	return h.store(ctx, now, changes)
}

// pair finds, for what was told and is not told now, the conversion's new
// attribution. Where there is one, that was taken for a new conversion's.
func (h *comparing) pair(ctx context.Context) error {
	settings, err := readSettings(ctx, h.conn)
	if err != nil {
		return err
	}
	pairs := 0
	err = raw(h.conn, func(c *sqlite3.SQLiteConn) error {
		return each(ctx, c, `SELECT o.journey, o.conv_id, o.run, o.fingerprint, o.sessions, o.revenue, o.credit,
				n.journey, n.conv_id, n.run, n.fingerprint, n.sessions, n.revenue, n.credit
			FROM pipeline_untold u CROSS JOIN pipeline_told o ON o.journey = u.journey LEFT JOIN pipeline_latest l ON l.conv_id = o.conv_id
			LEFT JOIN pipeline_told n ON n.journey = l.journey AND n.journey NOT IN (SELECT journey FROM pipeline_untold)`, nil, 14, func(row []driver.Value) error {
			if pairs++; pairs%toldAtOnce == 0 {
				h.told.pair(toldAtOnce)
			}
			was := readTold(row[:7])
			if row[7] == nil {
				return h.Removed(&was)
			}
			now := readTold(row[7:])
			return errors.Join(h.NotNew(&now), h.Changed(settings.Cause(&was, &now), &was, &now))
		})
	})
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM pipeline_told WHERE journey IN (SELECT journey FROM pipeline_untold)`,
		`DELETE FROM pipeline_untold`,
	} {
		if _, err := h.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	h.told.untell(pairs)
	return nil
}

func readSettings(ctx context.Context, conn *sql.Conn) (history.Settings, error) {
	found, err := conn.QueryContext(ctx, `SELECT run, scoring, request FROM pipeline_runs`)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	all := history.Settings{}
	for found.Next() {
		var n int64
		var scoring []byte
		var request string
		if err := found.Scan(&n, &scoring, &request); err != nil {
			return nil, err
		}
		all.Enter(n, scoring, request)
	}
	return all, found.Err()
}

// totalsOf adds up what channel_reporting has, exactly.
func totalsOf(x *sessionindex.Index, groups []group) history.Amounts {
	sums := map[string]history.Sums{}
	for n := range groups {
		channel, g := x.Keys()[n].Channel, &groups[n]
		sums[channel] = sums[channel].Plus(history.Sums{Share: g.share, Credit: g.credit, Cost: g.cost})
	}
	return history.Totals(sums)
}

// store writes the report's totals and changes.
func (h *comparing) store(ctx context.Context, now history.Amounts, why history.Changes) error {
	exec := func(statement string, args ...any) error {
		_, err := h.conn.ExecContext(ctx, statement, args...)
		return err
	}
	err := h.channels.New(func(n int64, name string) error {
		return exec(`INSERT INTO pipeline_channels (channel, name) VALUES (?, ?)`, n, name)
	})
	if err != nil {
		return err
	}
	err = errors.Join(exec(`DELETE FROM pipeline_totals WHERE report = ?`, h.report), exec(`DELETE FROM pipeline_changes WHERE report = ?`, h.report))
	if err != nil {
		return err
	}
	for _, channel := range slices.Sorted(maps.Keys(now)) {
		a := now[channel]
		if err := exec(`INSERT INTO pipeline_totals (report, channel, ihc, ihc_revenue, cost) VALUES (?, ?, ?, ?, ?)`,
			h.report, channel, a.IHC.String(), a.Revenue.String(), a.Cost.String()); err != nil {
			return err
		}
	}
	for _, cause := range store.Causes {
		for _, channel := range slices.Sorted(maps.Keys(why[cause])) {
			a := why[cause][channel]
			if a.IsZero() {
				continue
			}
			if err := exec(`INSERT INTO pipeline_changes (report, channel, cause, ihc, ihc_revenue, cost) VALUES (?, ?, ?, ?, ?, ?)`,
				h.report, channel, string(cause), a.IHC.String(), a.Revenue.String(), a.Cost.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// readTotals returns what a report came to; nothing for the report 0.
func readTotals(ctx context.Context, conn *sql.Conn, report int64) (history.Amounts, error) {
	all := history.Amounts{}
	err := readAmounts(ctx, conn, `SELECT channel, '', ihc, ihc_revenue, cost FROM pipeline_totals WHERE report = ?`, []any{report},
		func(channel, _ string, a store.Amounts) { all[channel] = a })
	return all, err
}

// readChanges adds up the changes of the reports after the first up to the last.
func readChanges(ctx context.Context, conn *sql.Conn, first, last int64) (history.Changes, error) {
	all := history.Changes{}
	err := readAmounts(ctx, conn, `SELECT channel, cause, ihc, ihc_revenue, cost FROM pipeline_changes WHERE report > ? AND report <= ?`, []any{first, last},
		func(channel, cause string, a store.Amounts) { all.Put(store.Cause(cause), channel, a) })
	return all, err
}

func readAmounts(ctx context.Context, conn *sql.Conn, query string, args []any, do func(channel, cause string, a store.Amounts)) error {
	found, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var channel, cause string
		var a store.Amounts
		if err := found.Scan(&channel, &cause, &a.IHC, &a.Revenue, &a.Cost); err != nil {
			return err
		}
		do(channel, cause, a)
	}
	return found.Err()
}
