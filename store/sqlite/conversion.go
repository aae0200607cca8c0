package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// hasTables says whether the database has all of these tables.
func hasTables(ctx context.Context, conn *sql.Conn, names ...string) (there bool, err error) {
	n := 0
	for _, name := range names {
		if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE lower(name) = ?`, name).Scan(&n); err != nil || n == 0 {
			return false, err
		}
	}
	return true, nil
}

// Conversion implements [store.Reports].
func (d *Database) Conversion(ctx context.Context, id string) (c *store.Conversion, err error) {
	err = d.inSnapshot(ctx, allByID, func(conn *sql.Conn) (err error) {
		c, err = readConversion(ctx, conn, id)
		return err
	})
	return c, err
}

func readConversion(ctx context.Context, conn *sql.Conn, id string) (*store.Conversion, error) {
	c := &store.Conversion{}
	var revenue any
	err := conn.QueryRowContext(ctx, `SELECT conv_id||'', user_id||'', conv_date||' '||conv_time, revenue FROM conversions WHERE conv_id = ?1 AND conv_id = ?1 COLLATE BINARY`, id).Scan(&c.ID, &c.User, &c.Time, &revenue)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errkind.WithCode(errkind.CodeUnknownConversion, errkind.Inputf("there is no conversion %s in conversions", human.QuoteText(id)))
	}
	if err != nil {
		return nil, fmt.Errorf("read conversions: %w", err)
	}
	if c.Revenue, err = moneyOf(c.ID, revenue); err != nil {
		return nil, err
	}
	if err := readShares(ctx, conn, c); err != nil {
		return nil, fmt.Errorf("read attribution_customer_journey: %w", err)
	}
	if err := readScored(ctx, conn, c); err != nil {
		return nil, fmt.Errorf("read pipeline_journeys: %w", err)
	}
	if err := readVisits(ctx, conn, c); err != nil {
		return nil, fmt.Errorf("read session_sources: %w", err)
	}
	if len(c.Sessions) == 0 {
		if err := readOutcome(ctx, conn, c); err != nil {
			return nil, fmt.Errorf("read pipeline_outcomes: %w", err)
		}
	}
	return c, nil
}

// readShares reads what the users' table has of the conversion.
func readShares(ctx context.Context, conn *sql.Conn, c *store.Conversion) error {
	if there, err := hasTables(ctx, conn, "attribution_customer_journey"); err != nil || !there {
		return err
	}
	rows, err := conn.QueryContext(ctx, `SELECT session_id||'', `+shareText+`||'' FROM attribution_customer_journey WHERE conv_id = ?`, c.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t store.Touchpoint
		var share string
		if err := rows.Scan(&t.Session, &share); err != nil {
			return err
		}
		t.IHC, _ = strconv.ParseInt(strings.TrimPrefix(share, noShare), 10, 64) // text that is no number counts as 0, as in the sums
		c.Sessions = append(c.Sessions, t)
	}
	return rows.Err()
}

// readScored reads what the journal has of what is shown, and puts the sessions
// into its order.
func readScored(ctx context.Context, conn *sql.Conn, c *store.Conversion) error {
	if there, err := hasTables(ctx, conn, "pipeline_journeys", "pipeline_latest", "pipeline_runs"); err != nil || !there {
		return err
	}
	var sessions, shares []byte
	r := &store.RunJourneys{Conversions: 1}
	err := conn.QueryRowContext(ctx, `SELECT r.run_id, r.model, r.request, j.chunk, j.sessions, j.shares FROM pipeline_latest l
		JOIN pipeline_journeys j ON j.journey = l.journey JOIN pipeline_runs r ON r.run = j.run WHERE l.conv_id = ?`, c.ID).
		Scan(&r.RunID, &r.Model, &r.Request, &c.Chunk, &sessions, &shares)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	ids, err := decodeSessions(sessions)
	if err == nil {
		shares, err = unseal(c.ID, sessions, shares)
	}
	if err != nil {
		return err
	}
	scored, phased, err := decodeShares(shares, nil)
	if err != nil || len(scored) != len(ids) {
		return errors.Join(err, errJournal)
	}
	place := map[string]int{}
	for i, id := range ids {
		place[id] = i + 1
	}
	for i := range c.Sessions {
		t := &c.Sessions[i]
		if n := place[t.Session]; n > 0 {
			s := scored[n-1]
			t.Scored, t.Phased, t.Share, t.Initializer, t.Holder, t.Closer = true, phased, s.IHC, s.Initializer, s.Holder, s.Closer
		}
	}
	slices.SortStableFunc(c.Sessions, func(a, b store.Touchpoint) int { return cmp.Compare(place[a.Session], place[b.Session]) })
	c.Run = r
	return nil
}

// readVisits reads what the source has of the sessions; where the journal does
// not tell their order they come by time.
func readVisits(ctx context.Context, conn *sql.Conn, c *store.Conversion) error {
	for i := range c.Sessions {
		t := &c.Sessions[i]
		var flags int64
		var cost any
		err := conn.QueryRowContext(ctx, `SELECT s.channel_name||'', s.event_date||' '||s.event_time, holder_engagement + 2*closer_engagement + 4*impression_interaction,
			(SELECT cost FROM session_costs c WHERE c.session_id = s.session_id) FROM session_sources s WHERE s.session_id = ?1 AND s.session_id = ?1 COLLATE BINARY`, t.Session).
			Scan(&t.Channel, &t.Time, &flags, &cost)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		t.Known, t.Engagement = true, unit.Engagement(flags)
		t.Cost, _ = unit.CostOf(number(cost))
	}
	if c.Run == nil {
		slices.SortStableFunc(c.Sessions, func(a, b store.Touchpoint) int {
			return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Session, b.Session))
		})
	}
	return nil
}

// readOutcome reads why the conversion has no attribution.
func readOutcome(ctx context.Context, conn *sql.Conn, c *store.Conversion) error {
	if there, err := hasTables(ctx, conn, "pipeline_outcomes", "pipeline_runs", "pipeline_journeys"); err != nil || !there {
		return err
	}
	r := &store.RunJourneys{Conversions: 1}
	err := conn.QueryRowContext(ctx, `SELECT r.run_id, r.model, r.request, o.chunk, o.outcome, o.reason FROM pipeline_outcomes o JOIN pipeline_runs r ON r.run = o.run
		WHERE o.conv_id = ? AND o.outcome <> '`+books.Gone+`' ORDER BY o.run DESC LIMIT 1`, c.ID).Scan(&r.RunID, &r.Model, &r.Request, &c.Chunk, &c.Outcome, &c.Reason)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		c.Run = r
	}
	return err
}

// Cell implements [store.Reports].
func (d *Database) Cell(ctx context.Context, channel, date string) (cell *store.Cell, err error) {
	err = d.inSnapshot(ctx, allByID, func(conn *sql.Conn) (err error) {
		cell, err = readCell(ctx, conn, channel, date)
		return err
	})
	return cell, err
}

func readCell(ctx context.Context, conn *sql.Conn, channel, date string) (*store.Cell, error) {
	c := &store.Cell{Channel: channel, Date: date}
	sessions := map[string]string{} // id → time: those of one channel and day
	rows, err := conn.QueryContext(ctx, `SELECT s.session_id||'', s.event_date||' '||s.event_time, (SELECT cost FROM session_costs c WHERE c.session_id = s.session_id)
		FROM session_sources s WHERE s.event_date = ? AND s.channel_name = ? COLLATE BINARY`, date, channel)
	if err != nil {
		return nil, fmt.Errorf("read session_sources: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, at string
		var cost any
		if err := rows.Scan(&id, &at, &cost); err != nil {
			return nil, err
		}
		sessions[id] = at
		units, _ := unit.CostOf(number(cost))
		c.Sessions++
		c.Cost.Add(int64(units))
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(sessions) == 0 {
		return nil, errkind.Inputf("channel %s has no sessions on %.40s", human.QuoteText(channel), date)
	}
	if there, err := hasTables(ctx, conn, "attribution_customer_journey"); err != nil || !there {
		return c, err
	}
	return c, readCredits(ctx, conn, c, sessions)
}

// readCredits reads what the sessions of a cell earned: the table has no index
// by session, so that all of it is gone through.
func readCredits(ctx context.Context, conn *sql.Conn, c *store.Cell, sessions map[string]string) error {
	rows, err := conn.QueryContext(ctx, `SELECT a.conv_id||'', a.session_id||'', `+shareText+`||'', v.conv_date||' '||v.conv_time, v.revenue
		FROM attribution_customer_journey a CROSS JOIN conversions v
		WHERE +a.session_id IN (SELECT session_id FROM session_sources WHERE event_date = ? AND channel_name = ? COLLATE BINARY) AND v.conv_id = a.conv_id AND v.conv_id = a.conv_id COLLATE BINARY`, c.Date, c.Channel)
	if err != nil {
		return fmt.Errorf("read attribution_customer_journey: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one store.CellCredit
		var share string
		var revenue any
		if err := rows.Scan(&one.Conversion, &one.Session, &share, &one.ConversionTime, &revenue); err != nil {
			return err
		}
		one.SessionTime = sessions[one.Session]
		one.Share, _ = strconv.ParseInt(strings.TrimPrefix(share, noShare), 10, 64)
		if one.Revenue, err = moneyOf(one.Conversion, revenue); err != nil {
			return err
		}
		c.Count++
		c.Share.Add(one.Share)
		c.Credit.AddProduct(one.Share, int64(one.Revenue))
		c.Credits = append(c.Credits, one)
		if len(c.Credits) >= 2*store.MostCredits {
			c.Credits = largest(c.Credits)
		}
	}
	c.Credits = largest(c.Credits)
	return rows.Err()
}

// largest returns the credits of the most revenue, at most [store.MostCredits].
func largest(all []store.CellCredit) []store.CellCredit {
	credit := func(c store.CellCredit) unit.Sum {
		var s unit.Sum
		s.AddProduct(c.Share, int64(c.Revenue))
		return s
	}
	slices.SortFunc(all, func(a, b store.CellCredit) int {
		return cmp.Or(credit(b).Cmp(credit(a)), cmp.Compare(a.Conversion, b.Conversion), cmp.Compare(a.Session, b.Session))
	})
	return all[:min(len(all), store.MostCredits)]
}
