package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// part is what some of the rows add up to.
type part struct {
	store.Totals
	groups []group // by the number the session index gives
}

// at returns the sums of a group.
func (p *part) at(number uint32) *group {
	if n := int(number) + 1; n > len(p.groups) {
		p.groups = append(p.groups, make([]group, n-len(p.groups))...)
	}
	return &p.groups[number]
}

func (p *part) add(q *part) {
	for _, n := range []struct{ into, of *int64 }{
		{&p.Range.Conversions, &q.Range.Conversions}, {&p.Range.Attributed, &q.Range.Attributed}, {&p.Range.Touchpoints, &q.Range.Touchpoints},
		{&p.Orphans, &q.Orphans}, {&p.WithoutCost, &q.WithoutCost}, {&p.WithoutSession, &q.WithoutSession},
	} {
		*n.into += *n.of
	}
	for _, sum := range []struct{ into, of *unit.Sum }{
		{&p.Share, &q.Share}, {&p.Credit, &q.Credit}, {&p.Cost, &q.Cost}, {&p.KnownCosts, &q.KnownCosts},
		{&p.Range.Share, &q.Range.Share}, {&p.Range.Credit, &q.Range.Credit}, {&p.Range.Revenue, &q.Range.Revenue},
	} {
		*sum.into = sum.into.Plus(*sum.of)
	}
	for n := range q.groups {
		g, of := p.at(uint32(n)), &q.groups[n]
		g.cost, g.share, g.credit = g.cost.Plus(of.cost), g.share.Plus(of.share), g.credit.Plus(of.credit)
	}
}

// readSessions enters the sessions into the index. A channel and date that has
// any has a group, whatever they cost or earned.
func (p *part) readSessions(ctx context.Context, conn *sql.Conn, in condition, x *sessionIndex) error {
	query := `SELECT channel_name||'', event_date||'', session_id||'' FROM session_sources` + in.where
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		writer := x.writer()
		defer writer.flush()
		return each(ctx, c, query, in.args, 3, func(row []driver.Value) error {
			channel, _ := row[0].(string)
			date, _ := row[1].(string)
			session, _ := row[2].(string)
			p.at(writer.enter(session, key{channel, date}))
			p.WithoutCost++ // until its cost is found
			return nil
		})
	})
}

// readCosts adds what sessions cost, each once and whether they earned
// anything or not.
func (p *part) readCosts(ctx context.Context, conn *sql.Conn, in condition, x *sessionIndex) error {
	query := `SELECT session_id||'', coalesce(cost, 0.0) FROM session_costs` + in.where
	return raw(conn, func(c *sqlite3.SQLiteConn) (err error) {
		sessions, err := x.reader(c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sessions.close()) }()
		return each(ctx, c, query, in.args, 2, func(row []driver.Value) error {
			session, _ := row[0].(string)
			n, there, err := sessions.group(session)
			if err != nil || !there {
				return err
			}
			cost, ok := unit.CostOf(number(row[1]))
			if !ok {
				return errkind.Inputf("session_costs, session_id %q: the cost %v is no amount that can be summed; correct it and run again", session, row[1])
			}
			p.at(n).cost.Add(int64(cost))
			p.Cost.Add(int64(cost))
			p.WithoutCost--
			return nil
		})
	})
}

// soldFor is what readAttributions has to know of a conversion.
type soldFor struct {
	known, inRange bool
	revenue        unit.Money
}

// readAttributions adds what sessions earned, by the date of the session. The
// attributions of one conversion lie together.
func (p *part) readAttributions(ctx context.Context, conn *sql.Conn, in condition, x *sessionIndex, req *ihcv1.RunRequest) error {
	return raw(conn, func(c *sqlite3.SQLiteConn) (err error) {
		sessions, err := x.reader(c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sessions.close()) }()
		conversions, err := newLookup(c, `SELECT revenue, conv_date||'' FROM conversions WHERE conv_id = ?`)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conversions.close()) }()
		var conv string
		var sold soldFor
		query := `SELECT conv_id||'', session_id||'', ihc FROM attribution_customer_journey` + in.where
		return each(ctx, c, query, in.args, 3, func(row []driver.Value) error {
			id, _ := row[0].(string)
			session, _ := row[1].(string)
			if id != conv || conv == "" {
				conv = id
				if sold, err = conversions.sold(id, req); err != nil {
					return err
				}
			}
			n, there, err := sessions.group(session)
			if err != nil {
				return err
			}
			if !there || !sold.known {
				p.Orphans++
				return nil
			}
			share, ok := unit.ShareOf(number(row[2]))
			if !ok {
				return errkind.Inputf("attribution_customer_journey, conv_id %q, session_id %q: ihc %v is no share; delete the conversion's rows and run again", id, session, row[2])
			}
			p.credit(n, share, sold)
			return nil
		})
	})
}

// credit adds a share of a conversion to a group.
func (p *part) credit(n uint32, share unit.Share, sold soldFor) {
	g := p.at(n)
	g.share.Add(int64(share))
	g.credit.AddProduct(int64(share), int64(sold.revenue))
	p.Share.Add(int64(share))
	p.Credit.AddProduct(int64(share), int64(sold.revenue))
	if sold.inRange {
		p.Range.Share.Add(int64(share))
		p.Range.Credit.AddProduct(int64(share), int64(sold.revenue))
		p.Range.Touchpoints++
	}
}

// sold looks a conversion up.
func (l *lookup) sold(conv string, req *ihcv1.RunRequest) (soldFor, error) {
	found, err := l.get(conv)
	if err != nil || found == nil {
		return soldFor{}, err
	}
	date, _ := found[1].(string)
	revenue, err := moneyOf(conv, found[0])
	return soldFor{known: true, inRange: run.InRange(req, date), revenue: revenue}, err
}

// moneyOf returns a conversion's revenue. Validation has seen that it is an
// amount; it may have been changed since.
func moneyOf(conv string, revenue driver.Value) (unit.Money, error) {
	m, ok := unit.MoneyOf(number(revenue))
	if !ok {
		return 0, errkind.Inputf("conversions, conv_id %q: the revenue %v is no amount that can be summed; correct it and run again", conv, revenue)
	}
	return m, nil
}

// readCounts reads by other ways what the sums are to be held against.
func (p *part) readCounts(ctx context.Context, conn *sql.Conn, req *ihcv1.RunRequest) error {
	start, end := run.Range(req)
	rows, err := conn.QueryContext(ctx, `SELECT v.conv_id||'', v.revenue, EXISTS (SELECT 1 FROM attribution_customer_journey a WHERE a.conv_id = v.conv_id)
		FROM conversions v WHERE v.conv_date BETWEEN ? AND ?`, start, end)
	if err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var conv string
		var amount any
		var attributed bool
		if err := rows.Scan(&conv, &amount, &attributed); err != nil {
			return fmt.Errorf("read conversions: %w", err)
		}
		p.Range.Conversions++
		if attributed {
			revenue, err := moneyOf(conv, amount)
			if err != nil {
				return err
			}
			p.Range.Attributed++
			p.Range.Revenue.Add(int64(revenue))
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	return p.readKnownCosts(ctx, conn)
}

// readKnownCosts sums session_costs by a join. SQLite's own sum of integers
// ends at 64 bits, so that whole units and the rest are summed apart.
func (p *part) readKnownCosts(ctx context.Context, conn *sql.Conn) error {
	var whole, rest int64
	err := conn.QueryRowContext(ctx, `SELECT coalesce(sum(units / 1000000), 0), coalesce(sum(units % 1000000), 0), count(*) - count(known) FROM (
		SELECT s.session_id AS known, CASE WHEN s.session_id IS NOT NULL THEN CAST(round(coalesce(c.cost, 0.0) * 1000000) AS integer) END AS units
		FROM session_costs c LEFT JOIN session_sources s ON s.session_id = c.session_id)`).
		Scan(&whole, &rest, &p.WithoutSession)
	if err != nil {
		return fmt.Errorf("read session_costs: %w", err)
	}
	p.KnownCosts.AddProduct(whole, 1_000_000)
	p.KnownCosts.Add(rest)
	return nil
}

// number returns a numeric column; validation has seen that it is one.
func number(v driver.Value) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int64:
		return float64(v)
	default:
		return 0
	}
}
