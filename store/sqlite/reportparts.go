package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// part is what some of the rows add up to.
type part struct {
	store.Totals
	groups []group // by the number the session index gives
	uneven uneven
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
		{&p.Range.Unattributed, &q.Range.Unattributed}, {&p.Range.Refunds, &q.Range.Refunds}, {&p.Range.RefundsAttributed, &q.Range.RefundsAttributed}, {&p.Dates.NeverAttributed, &q.Dates.NeverAttributed},
		{&p.Changes.Came, &q.Changes.Came}, {&p.Changes.CameAttributed, &q.Changes.CameAttributed},
		{&p.Changes.CameTouchpoints, &q.Changes.CameTouchpoints}, {&p.Changes.Went, &q.Changes.Went},
		{&p.Changes.WentAttributed, &q.Changes.WentAttributed}, {&p.Changes.WentTouchpoints, &q.Changes.WentTouchpoints},
		{&p.Changes.Sessions, &q.Changes.Sessions}, {&p.Changes.SessionTouchpoints, &q.Changes.SessionTouchpoints},
		{&p.Orphans, &q.Orphans}, {&p.WithoutCost, &q.WithoutCost}, {&p.WithoutSession, &q.WithoutSession},
	} {
		*n.into += *n.of
	}
	for _, sum := range []struct{ into, of *unit.Sum }{
		{&p.Share, &q.Share}, {&p.Refunded, &q.Refunded}, {&p.Range.Refunded, &q.Range.Refunded}, {&p.Range.RefundRevenue, &q.Range.RefundRevenue},
		{&p.Dates.Refunded, &q.Dates.Refunded}, {&p.Dates.OwnRefunded, &q.Dates.OwnRefunded}, {&p.Credit, &q.Credit}, {&p.Cost, &q.Cost}, {&p.KnownCosts, &q.KnownCosts},
		{&p.Range.Share, &q.Range.Share}, {&p.Range.Credit, &q.Range.Credit}, {&p.Range.Revenue, &q.Range.Revenue},
		{&p.Range.All, &q.Range.All}, {&p.Range.Gross, &q.Range.Gross}, {&p.Range.UnattributedRevenue, &q.Range.UnattributedRevenue},
		{&p.Dates.Share, &q.Dates.Share}, {&p.Dates.Credit, &q.Dates.Credit}, {&p.Dates.OwnShare, &q.Dates.OwnShare}, {&p.Dates.OwnCredit, &q.Dates.OwnCredit},
		{&p.Dates.Cost, &q.Dates.Cost}, {&p.Dates.KnownCosts, &q.Dates.KnownCosts}, {&p.Changes.CameRevenue, &q.Changes.CameRevenue},
		{&p.Changes.SessionShare, &q.Changes.SessionShare}, {&p.Changes.SessionRefunded, &q.Changes.SessionRefunded}, {&p.Changes.SessionCredit, &q.Changes.SessionCredit},
	} {
		*sum.into = sum.into.Plus(*sum.of)
	}
	p.Reasons = append(p.Reasons, q.Reasons...) // only one part has any, as of what follows
	p.Approximations = append(p.Approximations, q.Approximations...)
	p.Unattributed = append(p.Unattributed, q.Unattributed...)
	p.UnattributedRest += q.UnattributedRest
	if q.Daily.Days > 0 {
		p.Daily = q.Daily
	}
	if q.Journeys != nil {
		p.Journeys = q.Journeys
	}
	p.addNoShare(q.NoShare, q.NoShareExample)
	p.addUneven(q.Uneven, q.UnevenExample)
	p.uneven.add(q.uneven)
	for n := range q.groups {
		g, of := p.at(uint32(n)), &q.groups[n]
		g.cost, g.share, g.refunded, g.credit = g.cost.Plus(of.cost), g.share.Plus(of.share), g.refunded.Plus(of.refunded), g.credit.Plus(of.credit)
	}
}

// readSessions enters the sessions into the index. A channel and date that has
// any has a group, whatever they cost or earned.
func (s *summing) readSessions(ctx context.Context, conn *sql.Conn, p *part, in condition) error {
	query, args := s.sessions()
	query += in.where
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		writer := s.x.Writer()
		err := each(ctx, c, query, slices.Concat(args, in.args), 3, func(row []driver.Value) error {
			channel, _ := row[0].(string)
			date, _ := row[1].(string)
			session, _ := row[2].(string)
			mark := s.x.Mark(session)
			if !s.x.Mine(mark) {
				return nil
			}
			n := writer.Group(sessionindex.Key{Channel: channel, Date: date})
			p.at(n)
			p.WithoutCost++ // until its cost is found
			return writer.Enter(mark, n)
		})
		if err != nil {
			return err
		}
		return writer.Flush()
	})
}

// sessions returns the query for the sessions, with its parameters: what they are
// summed by, their date, and their id.
func (s *summing) sessions() (query string, args []driver.Value) {
	name, args := s.dimension()
	return `SELECT ` + name + `, ` + s.date("event_date", "event_time") + `||'', session_id||'' FROM session_sources`, args
}

// readCosts adds what sessions cost, each once and whether they earned
// anything or not.
func (s *summing) readCosts(ctx context.Context, conn *sql.Conn, p *part, in condition) error {
	query := `SELECT session_id||'', coalesce(cost, 0.0) FROM session_costs` + in.where
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		return each(ctx, c, query, in.args, 2, func(row []driver.Value) error {
			session, _ := row[0].(string)
			mark := s.x.Mark(session)
			if !s.x.Mine(mark) {
				return nil
			}
			n, there := s.x.Group(mark)
			if !there {
				return nil
			}
			cost, ok := unit.CostOf(number(row[1]))
			if !ok {
				return errkind.Inputf("session_costs, session_id %s: the cost %s is no amount that can be summed; correct it and run again", human.QuoteText(session), human.Quote(row[1]))
			}
			p.at(n).cost.Add(int64(cost))
			p.Cost.Add(int64(cost))
			p.WithoutCost--
			return nil
		})
	})
}

// readAttributions adds what sessions earned, by the date of the session. A
// row of the query is a conversion with all its attributions in the part: from
// there on, to come from SQLite to here costs more than all else.
func (s *summing) readAttributions(ctx context.Context, conn *sql.Conn, p *part, in condition) error {
	query := `SELECT conv_id||'', count(*), group_concat(session_id, char(31)), group_concat(` + shareText + `, char(31))
		FROM attribution_customer_journey` + in.where + ` GROUP BY ` + in.conversion
	return raw(conn, func(c *sqlite3.SQLiteConn) (err error) {
		sales, err := newLookup(c, `SELECT revenue, `+s.date("conv_date", "conv_time")+`||'' FROM conversions WHERE conv_id = ?1 AND conv_id = ?1 COLLATE BINARY`)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sales.close()) }()
		var found []found
		conversions, rows := 0, 0
		defer func() { s.told.readAttributions(conversions, rows) }()
		return each(ctx, c, query, in.args, 4, func(row []driver.Value) error {
			conv, _ := row[0].(string)
			n, _ := row[1].(int64)
			conversions, rows = conversions+1, rows+int(n)
			sessions, _ := row[2].(string)
			shares, _ := row[3].(string)
			a, err := sales.sold(conv, s.req)
			if err != nil {
				return err
			}
			if int64(strings.Count(sessions, separator)+1) != n {
				return s.addOneByOne(ctx, c, p, a, in)
			}
			found = s.find(sessions, found[:0])
			for _, f := range found {
				var share string
				share, shares, _ = strings.Cut(shares, separator)
				if err := s.addAttribution(p, &a, f, share); err != nil {
					return err
				}
			}
			a.AddTo(&p.Totals)
			s.addWhole(p, &a, in)
			return nil
		})
	})
}

// found is a session and what the index knows of it.
type found struct {
	session     string
	mark        uint64
	group       uint32
	mine, there bool // of this pass; in the index
}

// find looks sessions up, one after the other in a loop that does nothing else:
// each is somewhere else in memory, and a processor fetches several at once.
func (s *summing) find(sessions string, all []found) []found {
	for more := true; more; {
		var f found
		f.session, sessions, more = strings.Cut(sessions, separator)
		f.mark = s.x.Mark(f.session)
		f.mine = s.x.Mine(f.mark)
		all = append(all, f)
	}
	for i := range all {
		if f := &all[i]; f.mine {
			f.group, f.there = s.x.Group(f.mark)
		}
	}
	return all
}

const separator = "\x1f" // char(31)

// shareText writes a share as the whole number of its [store.ShareDecimals]. What
// is none, since another program wrote it, comes as noShare: the same number,
// where it is one that can be summed.
const shareText = `CASE WHEN ihc BETWEEN 0.0 AND 1.0 THEN CAST(ihc*1000000000000000+0.5 AS integer)
	WHEN typeof(ihc) IN ('integer', 'real') AND ihc BETWEEN -100 AND 100 THEN '` + noShare + `'||CAST(round(ihc*1000000000000000) AS integer) ELSE '` + noShare + `' END`

const noShare = "?"

// addOneByOne adds the attributions of a conversion one of whose sessions has
// the separator in its id.
func (s *summing) addOneByOne(ctx context.Context, c *sqlite3.SQLiteConn, p *part, a conversionSums, in condition) error {
	where := in.and(`conv_id = ?`, a.conv) // of a table that compares ids by their bytes, or validation refuses it
	err := each(ctx, c, `SELECT session_id||'', `+shareText+`||'' FROM attribution_customer_journey`+where.where, where.args, 2, func(row []driver.Value) error {
		session, _ := row[0].(string)
		share, _ := row[1].(string)
		f := found{session: session, mark: s.x.Mark(session)}
		if f.mine = s.x.Mine(f.mark); f.mine {
			f.group, f.there = s.x.Group(f.mark)
		}
		return s.addAttribution(p, &a, f, share)
	})
	a.AddTo(&p.Totals)
	s.addWhole(p, &a, in)
	return err
}

// conversionSums is a conversion and what some of its attributions add up to.
type conversionSums struct {
	conv  string
	known bool // it is there
	books.Earned
	all int64 // of all rows in the part, also of sessions that are not there
}

// addAttribution adds one attribution to the group of its session.
func (s *summing) addAttribution(p *part, a *conversionSums, f found, text string) error {
	first := s.x.First()
	if !f.mine && !first {
		return nil
	}
	share, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		if f.mine {
			p.addNoShare(1, "conv_id "+human.QuoteText(a.conv)+", session_id "+human.QuoteText(f.session))
		}
		if text != noShare {
			if share, err = strconv.ParseInt(strings.TrimPrefix(text, noShare), 10, 64); err != nil {
				return err
			}
		}
	}
	if first {
		a.all = books.Bounded(a.all, share)
	}
	if !f.mine {
		return nil
	}
	if !f.there || !a.known {
		p.Orphans++
		return nil
	}
	g := p.at(f.group)
	g.share.Add(share)
	if a.Revenue < 0 {
		g.refunded.Add(share)
	}
	g.credit.AddProduct(share, int64(a.Revenue))
	a.Share += share
	if int(f.group) < len(s.inDates) && s.inDates[f.group] {
		a.Dates += share
	}
	a.Rows++
	if a.Full() {
		a.AddTo(&p.Totals)
	}
	return nil
}

// addNoShare counts attributions that are no share. Of examples the first in
// the order of text is kept, so that it does not depend on the parts.
func (p *part) addNoShare(n int64, example string) {
	if n > 0 && (p.NoShare == 0 || example < p.NoShareExample) {
		p.NoShareExample = example
	}
	p.NoShare += n
}

// sold looks a conversion up.
func (l *lookup) sold(conv string, req *ihcv1.RunRequest) (a conversionSums, err error) {
	a.conv = conv
	found, err := l.get(conv)
	if err != nil || found == nil {
		return a, err
	}
	date, _ := found[1].(string)
	a.known, a.InRange = true, run.InRange(req, date)
	a.Revenue, err = moneyOf(conv, found[0])
	return a, err
}

// moneyOf returns a conversion's revenue. Validation has seen that it is an
// amount; it may have been changed since.
func moneyOf(conv string, revenue driver.Value) (unit.Money, error) {
	m, ok := unit.MoneyOf(number(revenue))
	if !ok {
		return 0, errkind.Inputf("conversions, conv_id %q: the revenue %s is no amount that can be summed; correct it and run again", conv, human.Quote(revenue))
	}
	return m, nil
}

// number returns a numeric column, and no number for anything else: validation
// has seen that there is nothing else, but it may have been changed since.
func number(v driver.Value) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int64:
		return float64(v)
	default:
		return math.NaN()
	}
}
