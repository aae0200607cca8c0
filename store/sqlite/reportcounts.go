package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/books"
)

// readCounts reads by other ways what the sums are to be held against.
func (s *summing) readCounts(ctx context.Context, conn *sql.Conn, p *part) error {
	if err := s.readConversions(ctx, conn, p); err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	if err := s.readOutcomes(ctx, conn, p); err != nil {
		return fmt.Errorf("read the outcomes of the run: %w", err)
	}
	if err := s.readApproximations(ctx, conn, p); err != nil {
		return fmt.Errorf("read the journal of the run: %w", err)
	}
	if err := s.readUnattributed(ctx, conn, p); err != nil {
		return fmt.Errorf("read the outcomes of conversions: %w", err)
	}
	if err := s.readDailyCosts(ctx, conn, p); err != nil {
		return fmt.Errorf("read daily costs: %w", err)
	}
	return nil
}

// readConversions counts the conversions in range and adds up their revenue.
func (s *summing) readConversions(ctx context.Context, conn *sql.Conn, p *part) error {
	start, end := run.Range(s.req)
	query := `SELECT v.conv_id||'', v.revenue, EXISTS (SELECT 1 FROM attribution_customer_journey a WHERE a.conv_id = v.conv_id)
		FROM conversions v WHERE ` + s.inRange()
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		return each(ctx, c, query, []driver.Value{start, end}, 3, func(row []driver.Value) error {
			revenue, err := moneyOf(text(row[0]), row[1])
			if err != nil {
				return err
			}
			attributed := row[2] == int64(1)
			if p.Range.Conversions++; p.Range.Conversions%toldAtOnce == 0 {
				s.told.read(toldAtOnce * tookConversion)
			}
			p.Range.All.Add(int64(revenue))
			if revenue < 0 {
				p.Range.Refunds++
				p.Range.RefundRevenue.Add(int64(revenue))
				if attributed {
					p.Range.RefundsAttributed++
				}
			}
			if attributed {
				p.Range.Attributed++
				p.Range.Revenue.Add(int64(revenue))
				p.Range.Gross = p.Range.Gross.Plus(unit.SumOf(int64(revenue)).Abs())
			}
			return nil
		})
	})
}

// inRange is the condition by which a conversion v is in a range of two dates.
func (s *summing) inRange() string { return s.date("v.conv_date", "v.conv_time") + ` BETWEEN ? AND ?` }

// mostReasons is how many reasons a report has.
const mostReasons = 100

// inMoney is a revenue in the unit of [unit.Money], for sums in SQL. They end
// at 64 bits, so that whole units and the rest are summed apart.
const inMoney = `CAST(round(v.revenue * 10000) AS integer)`

func addMoney(sum *unit.Sum, whole, rest int64) {
	sum.AddProduct(whole, 10_000)
	sum.Add(rest)
}

// ledger is what the ledger has of a run.
type ledger struct {
	run                      int64 // its number, 0 for a run that the ledger does not know
	conversions, touchpoints int64 // that have an outcome; of those attributed
}

// findLedger returns what the ledger has of the run.
func (s *summing) findLedger(ctx context.Context, conn *sql.Conn) (l ledger, err error) {
	var tables int
	err = conn.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'pipeline_journeys'`).Scan(&tables)
	if err != nil || tables == 0 {
		return l, err
	}
	err = conn.QueryRowContext(ctx, `SELECT r.run, coalesce(sum(c.conversions), 0), coalesce(sum(c.touchpoints), 0)
		FROM pipeline_runs r LEFT JOIN pipeline_counts c ON c.run = r.run AND c.outcome <> 'reused' WHERE r.run_id = ? GROUP BY r.run`, s.req.GetRunId()).
		Scan(&l.run, &l.conversions, &l.touchpoints)
	if errors.Is(err, sql.ErrNoRows) {
		return ledger{}, nil
	}
	return l, err
}

// readChanges finds the conversions that came or went since the run read them,
// and the sessions that went.
// It is done after all else, and only where the counts differ, since it looks
// at every conversion of the run.
func (s *summing) readChanges(ctx context.Context, conn *sql.Conn, p *part) error {
	l, err := s.findLedger(ctx, conn)
	if err != nil || l.run == 0 {
		return err
	}
	if p.Range.Conversions != p.Range.Attributed+p.Range.Unattributed {
		if err := s.readCame(ctx, conn, p, l.run); err != nil {
			return err
		}
	}
	more := func() int64 { return p.Range.Conversions - p.Changes.Came + p.Changes.Went - l.conversions }
	if more() != 0 || p.Range.Touchpoints+p.Changes.WentTouchpoints != l.touchpoints {
		if err := s.readWent(ctx, conn, p, l.run); err != nil {
			return err
		}
	}
	if n := more(); n > 0 {
		if err := s.readOthers(ctx, conn, p, l.run, n); err != nil {
			return err
		}
	}
	if p.Range.Touchpoints-p.Changes.CameTouchpoints+p.Changes.WentTouchpoints != l.touchpoints {
		return s.readGone(ctx, conn, p)
	}
	return nil
}

// readOutcomes counts the outcomes of the run by reason, with the revenue of
// those conversions that are in range and have no attribution.
func (s *summing) readOutcomes(ctx context.Context, conn *sql.Conn, p *part) error {
	l, err := s.findLedger(ctx, conn)
	if err != nil || l.run == 0 {
		return err
	}
	start, end := run.Range(s.req)
	rows, err := conn.QueryContext(ctx, `SELECT outcome, reason, count(*), min(conv_id), count(there), count(units),
			coalesce(sum(units / 10000), 0), coalesce(sum(units % 10000), 0), sum(sessions)
		FROM (SELECT o.outcome, o.reason, o.conv_id, o.sessions, v.conv_id AS there,
				CASE WHEN v.conv_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM attribution_customer_journey a WHERE a.conv_id = v.conv_id) THEN `+inMoney+` END AS units
			FROM pipeline_outcomes o LEFT JOIN conversions v ON v.conv_id = o.conv_id COLLATE BINARY AND v.conv_date BETWEEN ? AND ? WHERE o.run = ?)
		GROUP BY outcome, reason ORDER BY outcome, count(*) DESC, reason`, start, end, l.run)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		c := &ihcv1.ReasonCount{}
		var outcome string
		var there, without, whole, rest, sessions int64
		if err := rows.Scan(&outcome, &c.Reason, &c.Conversions, &c.ExampleConvId, &there, &without, &whole, &rest, &sessions); err != nil {
			return err
		}
		if outcome == books.Gone {
			p.Changes.Went += int64(c.GetConversions())
			p.Changes.WentAttributed += int64(c.GetConversions())
			p.Changes.WentTouchpoints += sessions
			continue
		}
		p.Changes.Went += int64(c.GetConversions()) - there
		var revenue unit.Sum
		addMoney(&revenue, whole, rest)
		p.Range.Unattributed += without
		p.Range.UnattributedRevenue = p.Range.UnattributedRevenue.Plus(revenue)
		c.Kind, c.Revenue = run.OutcomeKind(outcome), revenue.Decimal(unit.MoneyDecimals).String()
		if len(p.Reasons) < mostReasons {
			p.Reasons = append(p.Reasons, c)
		}
	}
	return rows.Err()
}

// readApproximations counts the run's conversions that were not scored whole and
// by its model.
func (s *summing) readApproximations(ctx context.Context, conn *sql.Conn, p *part) error {
	l, err := s.findLedger(ctx, conn)
	if err != nil || l.run == 0 {
		return err
	}
	rows, err := conn.QueryContext(ctx, `SELECT strategy, coalesce(model, ''), count(*), sum(left_out) FROM (
			SELECT strategy, model, left_out FROM pipeline_journeys WHERE run = ?1 AND chunk > 0 AND strategy IS NOT NULL
			UNION ALL SELECT strategy, model, left_out FROM pipeline_reused u CROSS JOIN pipeline_journeys j USING (journey) WHERE u.run = ?1 AND strategy IS NOT NULL)
		GROUP BY 1, 2 ORDER BY 1, 2`, l.run)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		a := &ihcv1.ApproximationCount{}
		if err := rows.Scan(&a.Strategy, &a.Model, &a.Conversions, &a.SessionsLeftOut); err != nil {
			return err
		}
		p.Approximations = append(p.Approximations, a)
	}
	return rows.Err()
}

// readCame finds the conversions in range that the run knows nothing of.
func (s *summing) readCame(ctx context.Context, conn *sql.Conn, p *part, number int64) error {
	start, end := run.Range(s.req)
	var whole, rest int64
	err := conn.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(units / 10000), 0), coalesce(sum(units % 10000), 0) FROM (
		SELECT `+inMoney+` AS units FROM conversions v WHERE v.conv_date BETWEEN ?1 AND ?2
			AND NOT EXISTS (SELECT 1 FROM attribution_customer_journey a WHERE a.conv_id = v.conv_id)
			AND v.conv_id COLLATE BINARY NOT IN (SELECT conv_id FROM pipeline_outcomes WHERE run = ?3 AND outcome <> ?4)
			AND v.conv_id COLLATE BINARY NOT IN (SELECT conv_id FROM pipeline_journeys WHERE run = ?3 AND chunk > 0)
			AND v.conv_id COLLATE BINARY NOT IN (SELECT conv_id FROM pipeline_reused u CROSS JOIN pipeline_journeys USING (journey) WHERE u.run = ?3))`, start, end, number, books.Gone).
		Scan(&p.Changes.Came, &whole, &rest)
	addMoney(&p.Changes.CameRevenue, whole, rest)
	return err
}

// readWent finds the conversions that the run attributed and wrote, and that
// are not in range any more.
func (s *summing) readWent(ctx context.Context, conn *sql.Conn, p *part, number int64) error {
	start, end := run.Range(s.req)
	rows, err := conn.QueryContext(ctx, `SELECT sessions FROM (
			SELECT conv_id, sessions FROM pipeline_journeys WHERE run = ?1 AND chunk > 0
			UNION ALL SELECT conv_id, sessions FROM pipeline_reused u CROSS JOIN pipeline_journeys USING (journey) WHERE u.run = ?1)
		WHERE conv_id NOT IN (SELECT conv_id FROM conversions WHERE conv_date BETWEEN ?2 AND ?3)`, number, start, end)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var packed []byte
		if err := rows.Scan(&packed); err != nil {
			return err
		}
		sessions, err := decodeSessions(packed)
		if err != nil {
			return err
		}
		p.Changes.Went++
		p.Changes.WentAttributed++
		p.Changes.WentTouchpoints += int64(len(sessions))
	}
	return rows.Err()
}

// readOthers finds the conversions in range that the run knows nothing of and
// that another run or program attributed. Where there are not just as many as
// are to be explained, that other run has taken the run's own ones over, and
// nothing can be said.
func (s *summing) readOthers(ctx context.Context, conn *sql.Conn, p *part, number, want int64) error {
	start, end := run.Range(s.req)
	var conversions, touchpoints int64
	err := conn.QueryRowContext(ctx, `SELECT count(DISTINCT a.conv_id), count(s.session_id)
		FROM conversions v JOIN attribution_customer_journey a ON a.conv_id = v.conv_id LEFT JOIN session_sources s ON s.session_id = a.session_id COLLATE BINARY
		WHERE v.conv_date BETWEEN ?1 AND ?2
			AND v.conv_id COLLATE BINARY NOT IN (SELECT conv_id FROM pipeline_outcomes WHERE run = ?3 AND outcome <> ?4)
			AND v.conv_id COLLATE BINARY NOT IN (SELECT conv_id FROM pipeline_journeys WHERE run = ?3 AND chunk > 0)
			AND v.conv_id COLLATE BINARY NOT IN (SELECT conv_id FROM pipeline_reused u CROSS JOIN pipeline_journeys USING (journey) WHERE u.run = ?3)`, start, end, number, books.Gone).
		Scan(&conversions, &touchpoints)
	if err == nil && conversions == want {
		p.Changes.CameAttributed, p.Changes.CameTouchpoints = conversions, touchpoints
	}
	return err
}

// readGone adds up what the run gave to sessions that are not there any more.
func (s *summing) readGone(ctx context.Context, conn *sql.Conn, p *part) error {
	start, end := run.Range(s.req)
	rows, err := conn.QueryContext(ctx, `SELECT a.conv_id||'', a.session_id||'', `+shareText+`||'', v.revenue
		FROM attribution_customer_journey a CROSS JOIN conversions v ON v.conv_id = a.conv_id AND v.conv_date BETWEEN ? AND ?
		WHERE a.session_id COLLATE BINARY NOT IN (SELECT session_id FROM session_sources) ORDER BY a.session_id COLLATE BINARY`, start, end)
	if err != nil {
		return err
	}
	defer rows.Close()
	for last := ""; rows.Next(); {
		var conv, session, text string
		var amount any
		if err := rows.Scan(&conv, &session, &text, &amount); err != nil {
			return err
		}
		share, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			continue // no share, which is told
		}
		revenue, err := moneyOf(conv, amount)
		if err != nil {
			return err
		}
		if c := &p.Changes; c.SessionTouchpoints == 0 || session != last {
			c.Sessions++
		}
		last = session
		p.Changes.SessionTouchpoints++
		p.Changes.SessionShare.Add(share)
		if revenue < 0 {
			p.Changes.SessionRefunded.Add(share)
		}
		p.Changes.SessionCredit.AddProduct(share, int64(revenue))
	}
	return rows.Err()
}

// readKnownCosts sums a part of session_costs by a join. SQLite's own sum of integers
// ends at 64 bits, so that whole units and the rest are summed apart.
func (s *summing) readKnownCosts(ctx context.Context, conn *sql.Conn, p *part, in condition) error {
	start, end := run.Range(s.req)
	args := []any{start, end}
	for _, arg := range in.args {
		args = append(args, arg)
	}
	var whole, rest, without, wholeDates, restDates int64
	err := conn.QueryRowContext(ctx, `SELECT coalesce(sum(units / 1000000), 0), coalesce(sum(units % 1000000), 0), count(*) - count(date),
			coalesce(sum(units / 1000000) FILTER (WHERE date BETWEEN ?1 AND ?2), 0), coalesce(sum(units % 1000000) FILTER (WHERE date BETWEEN ?1 AND ?2), 0) FROM (
		SELECT `+s.date("s.event_date", "s.event_time")+` AS date, CASE WHEN s.session_id IS NOT NULL THEN CAST(round(coalesce(c.cost, 0.0) * 1000000) AS integer) END AS units
		FROM (SELECT session_id, cost FROM session_costs`+in.where+`) c LEFT JOIN session_sources s ON s.session_id = c.session_id COLLATE BINARY)`, args...).
		Scan(&whole, &rest, &without, &wholeDates, &restDates)
	if err != nil {
		return fmt.Errorf("read session_costs: %w", err)
	}
	p.WithoutSession += without
	p.KnownCosts.AddProduct(whole, 1_000_000)
	p.KnownCosts.Add(rest)
	if ranged(s.req) {
		p.Dates.KnownCosts.AddProduct(wholeDates, 1_000_000)
		p.Dates.KnownCosts.Add(restDates)
	}
	return nil
}

// readDates counts the conversions after the range that have sessions in it and
// no attribution. Journeys end before their conversion, so that none before the
// range has any.
func (s *summing) readDates(ctx context.Context, conn *sql.Conn, p *part) error {
	if s.req.GetEndDate() == "" {
		return nil
	}
	start, end := run.Range(s.req)
	err := conn.QueryRowContext(ctx, `SELECT count(DISTINCT v.conv_id) FROM session_sources s CROSS JOIN
			(SELECT conv_id, user_id, CASE WHEN ?3 > 0 THEN datetime(conv_date||' '||conv_time, '-'||?3||' days')||substr(`+micros("conv_time")+`, 9) END AS earliest FROM conversions c WHERE `+s.date("conv_date", "conv_time")+` > ?2
				AND NOT EXISTS (SELECT 1 FROM attribution_customer_journey a WHERE a.conv_id = c.conv_id)) v ON v.user_id = s.user_id COLLATE BINARY
		WHERE `+s.date("s.event_date", "s.event_time")+` BETWEEN ?1 AND ?2 AND s.event_date||' '||`+micros("s.event_time")+` >= coalesce(v.earliest, '')`, start, end, s.req.GetLookbackDays()).
		Scan(&p.Dates.NeverAttributed)
	if err != nil {
		return fmt.Errorf("read the conversions after the range: %w", err)
	}
	return nil
}

// micros spells a time of day with six decimals, so that times compare as text.
func micros(column string) string {
	return "(substr(" + column + ", 1, 8)||'.'||substr(substr(" + column + ", 10)||'000000', 1, 6))"
}
