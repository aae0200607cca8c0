package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"maps"
	"slices"

	"github.com/mattn/go-sqlite3"
	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// record writes down what channels come to and by how much that differs from
// the last report, by cause. A run that has a report already is not told as
// another: what changed since the last report is added to that one.
func (h *history) record(ctx context.Context, x *sessionIndex, groups []group) error {
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
	changes := h.causes(before, now)
	if h.again {
		same, err := readChanges(ctx, h.conn, h.report-1, h.report)
		if err != nil {
			return err
		}
		changes.add(same)
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
func (h *history) pair(ctx context.Context) error {
	settings, err := readSettings(ctx, h.conn)
	if err != nil {
		return err
	}
	err = raw(h.conn, func(c *sqlite3.SQLiteConn) error {
		return each(ctx, c, `SELECT o.journey, o.conv_id, o.run, o.fingerprint, o.sessions, o.revenue, o.credit,
				n.journey, n.conv_id, n.run, n.fingerprint, n.sessions, n.revenue, n.credit
			FROM pipeline_untold u CROSS JOIN pipeline_told o ON o.journey = u.journey LEFT JOIN pipeline_latest l ON l.conv_id = o.conv_id
			LEFT JOIN pipeline_told n ON n.journey = l.journey AND n.journey NOT IN (SELECT journey FROM pipeline_untold)`, nil, 14, func(row []driver.Value) error {
			was := readTold(row[:7])
			if row[7] == nil {
				return h.add(removedConversion, &was, -1, was.revenue)
			}
			now := readTold(row[7:])
			return errors.Join(h.add(newConversion, &now, -1, now.revenue), h.change(settings.cause(&was, &now), &was, &now))
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
	return nil
}

// scoredWith is what decided, beside the sessions, which attribution a run gave.
type scoredWith struct {
	scoring []byte // what scored it
	shape   string // how journeys were cut
}

type runSettings map[int64]scoredWith

func readSettings(ctx context.Context, conn *sql.Conn) (runSettings, error) {
	found, err := conn.QueryContext(ctx, `SELECT run, scoring, request FROM pipeline_runs`)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	all := runSettings{}
	for found.Next() {
		var n int64
		var s scoredWith
		var request string
		if err := found.Scan(&n, &s.scoring, &request); err != nil {
			return nil, err
		}
		s.shape = run.Shape([]byte(request))
		all[n] = s
	}
	return all, found.Err()
}

// cause tells why a conversion's attribution is another one. Where its sessions
// are the same, what scored them decides; where nothing else is different at all,
// they were scored anew.
func (s runSettings) cause(was, now *told) int {
	before, after := s[was.run], s[now.run]
	sameScoring := bytes.Equal(before.scoring, after.scoring)
	switch {
	case was.sessions != now.sessions && before.shape != after.shape,
		was.sessions == now.sessions && !sameScoring,
		was.sessions == now.sessions && bytes.Equal(was.fingerprint, now.fingerprint):
		return otherSettings
	default:
		return changedJourney
	}
}

// amounts are sums by channel.
type amounts map[string]store.Amounts

// changes are amounts by cause and channel.
type changes map[store.Cause]amounts

func (c changes) put(cause store.Cause, channel string, a store.Amounts) {
	if c[cause] == nil {
		c[cause] = amounts{}
	}
	c[cause][channel] = c[cause][channel].Plus(a)
}

func (c changes) add(other changes) {
	for cause, of := range other {
		for channel, a := range of {
			c.put(cause, channel, a)
		}
	}
}

// totalsOf adds up what channel_reporting has, exactly.
func totalsOf(x *sessionIndex, groups []group) amounts {
	all := amounts{}
	sums := map[string]*group{}
	for n := range groups {
		k, g := x.keys[n], &groups[n]
		if sums[k.channel] == nil {
			sums[k.channel] = &group{}
		}
		s := sums[k.channel]
		s.share, s.credit, s.cost = s.share.Plus(g.share), s.credit.Plus(g.credit), s.cost.Plus(g.cost)
	}
	for channel, s := range sums {
		all[channel] = store.Amounts{IHC: s.share.Decimal(store.ShareDecimals), Revenue: s.credit.Decimal(store.CreditDecimals), Cost: s.cost.Decimal(unit.CostDecimals)}
	}
	return all
}

// causes returns what led from the totals before to those of now. What the
// journal does not explain was written by hand, and costs have one cause.
func (h *history) causes(before, now amounts) changes {
	found := changes{}
	explained := amounts{}
	for i, cause := range earned {
		for channel, d := range h.deltas[i] {
			a := store.Amounts{IHC: decimal.New(d.share, -unit.ShareDecimals), Revenue: d.credit.Decimal(unit.ShareDecimals + unit.MoneyDecimals)}
			found.put(cause, h.names[channel], a)
			explained[h.names[channel]] = explained[h.names[channel]].Plus(a)
		}
	}
	channels := maps.Clone(before)
	maps.Copy(channels, now)
	maps.Copy(channels, explained)
	for channel := range channels {
		rest := now[channel].Minus(before[channel]).Minus(explained[channel])
		found.put(store.ChangedCost, channel, store.Amounts{Cost: rest.Cost})
		rest.Cost = decimal.Decimal{}
		found.put(store.ByHand, channel, rest)
	}
	return found
}

// store writes the report's totals and changes.
func (h *history) store(ctx context.Context, now amounts, why changes) error {
	exec := func(statement string, args ...any) error {
		_, err := h.conn.ExecContext(ctx, statement, args...)
		return err
	}
	for n := h.known; n < len(h.names); n++ {
		if err := exec(`INSERT INTO pipeline_channels (channel, name) VALUES (?, ?)`, n, h.names[n]); err != nil {
			return err
		}
	}
	err := errors.Join(exec(`DELETE FROM pipeline_totals WHERE report = ?`, h.report), exec(`DELETE FROM pipeline_changes WHERE report = ?`, h.report))
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
func readTotals(ctx context.Context, conn *sql.Conn, report int64) (amounts, error) {
	all := amounts{}
	err := readAmounts(ctx, conn, `SELECT channel, '', ihc, ihc_revenue, cost FROM pipeline_totals WHERE report = ?`, []any{report},
		func(channel, _ string, a store.Amounts) { all[channel] = a })
	return all, err
}

// readChanges adds up the changes of the reports after the first up to the last.
func readChanges(ctx context.Context, conn *sql.Conn, first, last int64) (changes, error) {
	all := changes{}
	err := readAmounts(ctx, conn, `SELECT channel, cause, ihc, ihc_revenue, cost FROM pipeline_changes WHERE report > ? AND report <= ?`, []any{first, last},
		func(channel, cause string, a store.Amounts) { all.put(store.Cause(cause), channel, a) })
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
