// Package report makes channel_reporting out of the four tables it is a
// function of (invariant 7), the CSV out of channel_reporting, and the proof
// that nothing leaked on the way.
package report

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mattn/go-sqlite3"
	"github.com/shopspring/decimal"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/source"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Row is one row of channel_reporting.
type Row struct {
	Channel, Date string
	// Cost and IHCRevenue are in the shop's currency; IHC is in conversions.
	Cost, IHC, IHCRevenue float64
}

// Totals are what the tables hold, and what of it is the run's.
type Totals struct {
	Rows []Row // of channel_reporting, by date and channel, as read back

	share     int64   // Σ ihc over all attributions
	product   product // Σ ihc × revenue over all attributions
	cost      int64   // Σ cost over all sessions
	costs     int64   // Σ cost by session_costs alone, sessions that are known
	runShare  int64   // the same over conversions in the run's range
	runSum    product
	runRows   int64
	attribbed int64 // conversions in range that have attributions
	revenue   product
	inRange   int64 // conversions in range
	orphans   int64 // attributions whose conversion or session is not there

	withoutCost, withoutSession int64 // sessions without cost, costs without session
}

// group is what a channel and date add up to.
type group struct {
	cost, share int64
	product     product
}

// Rebuild replaces channel_reporting by what the four tables say now, in one
// transaction on db, and returns what is in it and what it was made from. The
// tables are read by the connections of readers, side by side; where that is
// nil, by db alone.
func Rebuild(ctx context.Context, db, readers *sql.DB, req *ihcv1.RunRequest) (*Totals, error) {
	return rebuild(ctx, db, readers, req, usual)
}

func rebuild(ctx context.Context, db, readers *sql.DB, req *ihcv1.RunRequest, size sizes) (*Totals, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Before the transaction, since the readers see only what is committed.
	for _, table := range []string{source.CreateCustomerJourney, source.CreateChannelReporting} {
		if _, err := conn.ExecContext(ctx, table); err != nil {
			return nil, err
		}
	}
	// The writer's transactions wait for this one, so that all of it is read
	// from one state of the database and written before there is another.
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return nil, err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`) //nolint:errcheck // after a commit there is nothing to undo
	t, b, groups, err := read(ctx, conn, readers, req, size)
	if err != nil {
		return nil, err
	}
	if err := replace(ctx, conn, b, groups); err != nil {
		return nil, err
	}
	if t.Rows, err = readBack(ctx, conn); err != nil {
		return nil, err
	}
	_, err = conn.ExecContext(ctx, `COMMIT`)
	return t, err
}

// sizes are how much is read and held at a time.
type sizes struct {
	rows  int64 // of a table in a part
	slots int   // of the book
}

var usual = sizes{rows: source.SpanRows, slots: bookSlots}

// read makes sums of the four tables, in parts that do not depend on one
// another: sums of integers come to the same in any order. Sessions come first,
// since what they cost and earned is summed by their channel and date.
func read(ctx context.Context, conn *sql.Conn, readers *sql.DB, req *ihcv1.RunRequest, size sizes) (*Totals, *book, []group, error) {
	b := newBook(size.slots)
	whole := &part{}
	inSpans := func(table string, read func(*part, context.Context, *sql.Conn, source.Span, *book) error) (tasks []task, err error) {
		spans, err := source.Spans(ctx, conn, table, size.rows)
		for _, s := range spans {
			tasks = append(tasks, func(ctx context.Context, c *sql.Conn, p *part) error { return read(p, ctx, c, s, b) })
		}
		return tasks, err
	}
	sessions, err := inSpans(source.SessionSources, (*part).readSessions)
	if err != nil {
		return nil, nil, nil, err
	}
	costs, err := inSpans(source.SessionCosts, (*part).readCosts)
	if err != nil {
		return nil, nil, nil, err
	}
	attributions, err := inSpans(source.CustomerJourney, func(p *part, ctx context.Context, c *sql.Conn, in source.Span, b *book) error {
		return p.readAttributions(ctx, c, in, b, req)
	})
	if err != nil {
		return nil, nil, nil, err
	}
	counts := func(ctx context.Context, c *sql.Conn, p *part) error { return p.readCounts(ctx, c, req) }
	for _, tasks := range [][]task{sessions, slices.Concat([]task{counts}, attributions, costs)} {
		if err := sideBySide(ctx, conn, readers, whole, tasks); err != nil {
			return nil, nil, nil, err
		}
	}
	return &whole.Totals, b, whole.groups, nil
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

// part is what some of the rows add up to.
type part struct {
	Totals
	groups []group // by the number the book gives
}

// at returns the sums of a group.
func (p *part) at(number uint32) *group {
	if n := int(number) + 1; n > len(p.groups) {
		p.groups = append(p.groups, make([]group, n-len(p.groups))...)
	}
	return &p.groups[number]
}

func (p *part) add(q *part) {
	for _, sum := range []struct{ into, of *int64 }{
		{&p.share, &q.share}, {&p.cost, &q.cost}, {&p.costs, &q.costs}, {&p.runShare, &q.runShare}, {&p.runRows, &q.runRows},
		{&p.attribbed, &q.attribbed}, {&p.inRange, &q.inRange}, {&p.orphans, &q.orphans},
		{&p.withoutCost, &q.withoutCost}, {&p.withoutSession, &q.withoutSession},
	} {
		*sum.into += *sum.of
	}
	p.product.sum(q.product)
	p.runSum.sum(q.runSum)
	p.revenue.sum(q.revenue)
	for n := range q.groups {
		g, of := p.at(uint32(n)), &q.groups[n]
		g.cost += of.cost
		g.share += of.share
		g.product.sum(of.product)
	}
}

// readSessions enters the sessions into the book. A channel and date that has
// any has a group, whatever they cost or earned.
func (p *part) readSessions(ctx context.Context, conn *sql.Conn, in source.Span, b *book) error {
	query := `SELECT channel_name||'', event_date||'', session_id||'' FROM session_sources` + in.Where("rowid")
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		pen := b.pen()
		defer pen.flush()
		return each(ctx, c, query, in.Args(), 3, func(row []driver.Value) error {
			channel, _ := row[0].(string)
			date, _ := row[1].(string)
			session, _ := row[2].(string)
			p.at(pen.enter(session, key{channel, date}))
			p.withoutCost++ // until its cost is found
			return nil
		})
	})
}

// readCosts adds what sessions cost, each once and whether they earned
// anything or not.
func (p *part) readCosts(ctx context.Context, conn *sql.Conn, in source.Span, b *book) error {
	query := `SELECT session_id||'', coalesce(cost, 0.0) FROM session_costs` + in.Where("rowid")
	return raw(conn, func(c *sqlite3.SQLiteConn) (err error) {
		sessions, err := b.reader(c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sessions.close()) }()
		return each(ctx, c, query, in.Args(), 2, func(row []driver.Value) error {
			session, _ := row[0].(string)
			n, there, err := sessions.group(session)
			if err != nil || !there {
				return err
			}
			cost := toCost(number(row[1]))
			p.at(n).cost += cost
			p.cost += cost
			p.withoutCost--
			return nil
		})
	})
}

// readAttributions adds what sessions earned, by the date of the session. The
// attributions of one conversion lie together.
func (p *part) readAttributions(ctx context.Context, conn *sql.Conn, in source.Span, b *book, req *ihcv1.RunRequest) error {
	return raw(conn, func(c *sqlite3.SQLiteConn) (err error) {
		sessions, err := b.reader(c)
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
		var known, inRange bool // of conv
		var revenue int64
		query := `SELECT conv_id||'', session_id||'', ihc FROM attribution_customer_journey` + in.Where("rowid")
		return each(ctx, c, query, in.Args(), 3, func(row []driver.Value) error {
			id, _ := row[0].(string)
			session, _ := row[1].(string)
			if id != conv || conv == "" {
				found, err := conversions.get(id)
				if err != nil {
					return err
				}
				conv, known = id, found != nil
				if known {
					date, _ := found[1].(string)
					revenue, inRange = toRevenue(number(found[0])), run.InRange(req, date)
				}
			}
			n, there, err := sessions.group(session)
			if err != nil {
				return err
			}
			if !there || !known {
				p.orphans++
				return nil
			}
			g := p.at(n)
			share := toShare(number(row[2]))
			g.share += share
			p.share += share
			g.product.add(share, revenue)
			p.product.add(share, revenue)
			if inRange {
				p.runShare += share
				p.runSum.add(share, revenue)
				p.runRows++
			}
			return nil
		})
	})
}

// readCounts reads by other ways what the sums are to be held against.
func (p *part) readCounts(ctx context.Context, conn *sql.Conn, req *ihcv1.RunRequest) error {
	start, end := run.Range(req)
	rows, err := conn.QueryContext(ctx, `SELECT v.revenue, EXISTS (SELECT 1 FROM attribution_customer_journey a WHERE a.conv_id = v.conv_id)
		FROM conversions v WHERE v.conv_date BETWEEN ? AND ?`, start, end)
	if err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var revenue float64
		var attributed bool
		if err := rows.Scan(&revenue, &attributed); err != nil {
			return fmt.Errorf("read conversions: %w", err)
		}
		p.inRange++
		if attributed {
			p.attribbed++
			p.revenue.add(shareUnit, toRevenue(revenue))
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	err = conn.QueryRowContext(ctx, fmt.Sprintf(`SELECT
		coalesce(sum(CASE WHEN s.session_id IS NOT NULL THEN CAST(round(coalesce(c.cost, 0.0) * %d) AS integer) END), 0),
		count(*) - count(s.session_id) FROM session_costs c LEFT JOIN session_sources s ON s.session_id = c.session_id`, costUnit)).
		Scan(&p.costs, &p.withoutSession)
	if err != nil {
		return fmt.Errorf("read session_costs: %w", err)
	}
	return nil
}

// replace writes the groups to channel_reporting: those that have sessions.
func replace(ctx context.Context, conn *sql.Conn, b *book, groups []group) error {
	if _, err := conn.ExecContext(ctx, `DELETE FROM channel_reporting`); err != nil {
		return fmt.Errorf("empty channel_reporting: %w", err)
	}
	insert, err := conn.PrepareContext(ctx, `INSERT INTO channel_reporting (channel_name, date, cost, ihc, ihc_revenue) VALUES (?,?,?,?,?)`)
	if err != nil {
		return fmt.Errorf("write channel_reporting: %w", err)
	}
	defer insert.Close()
	order := make([]int, len(groups))
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(n, m int) int {
		return cmp.Or(cmp.Compare(b.keys[n].channel, b.keys[m].channel), cmp.Compare(b.keys[n].date, b.keys[m].date))
	})
	for _, n := range order {
		k, g := b.keys[n], &groups[n]
		_, err := insert.ExecContext(ctx, k.channel, k.date, costDecimal(g.cost).InexactFloat64(), shareDecimal(g.share).InexactFloat64(), g.product.decimal().InexactFloat64())
		if err != nil {
			return fmt.Errorf("write channel_reporting: %w", err)
		}
	}
	return nil
}

func readBack(ctx context.Context, conn *sql.Conn) ([]Row, error) {
	rows, err := conn.QueryContext(ctx, `SELECT channel_name, date||'', cost, ihc, ihc_revenue FROM channel_reporting ORDER BY date, channel_name`)
	if err != nil {
		return nil, fmt.Errorf("read channel_reporting: %w", err)
	}
	defer rows.Close()
	var all []Row
	for rows.Next() {
		var r Row
		if err := rows.Scan(&r.Channel, &r.Date, &r.Cost, &r.IHC, &r.IHCRevenue); err != nil {
			return nil, fmt.Errorf("read channel_reporting: %w", err)
		}
		all = append(all, r)
	}
	return all, rows.Err()
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

// sums adds up the rows of the table.
func sums(rows []Row) (cost, ihc, revenue decimal.Decimal) {
	for _, r := range rows {
		cost = cost.Add(decimal.NewFromFloat(r.Cost))
		ihc = ihc.Add(decimal.NewFromFloat(r.IHC))
		revenue = revenue.Add(decimal.NewFromFloat(r.IHCRevenue))
	}
	return cost, ihc, revenue
}
