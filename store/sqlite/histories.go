package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/store"
)

// These are the queries of [Database.Journeys] with the revenue, and with the
// sessions of those who did not buy.
const (
	salesQuery = `SELECT user_id||'', conv_id||'', conv_date||' '||conv_time, revenue + 0.0 FROM conversions
		WHERE conv_date BETWEEN ?1 AND ?2
		ORDER BY user_id COLLATE BINARY, conv_date COLLATE BINARY, conv_time COLLATE BINARY, conv_id COLLATE BINARY`
	visitsQuery = `SELECT user_id||'', session_id||'', event_date||' '||event_time, channel_name||'',
		holder_engagement + 2*closer_engagement + 4*impression_interaction FROM session_sources
		ORDER BY user_id COLLATE BINARY, event_date COLLATE BINARY, event_time COLLATE BINARY`
	// SQLite's own sum of integers ends at 64 bits, so that whole units and the
	// rest are summed apart.
	costsQuery = `SELECT channel||'', date||'', coalesce(sum(units / 1000000), 0), coalesce(sum(units % 1000000), 0) FROM (
			SELECT s.channel_name AS channel, s.event_date AS date, CAST(round(coalesce(c.cost, 0.0) * 1000000) AS integer) AS units
			FROM session_sources s LEFT JOIN session_costs c ON c.session_id = s.session_id
			WHERE s.event_date BETWEEN ?1 AND ?2)
		GROUP BY 1, 2`
)

// Histories implements [store.Source], from one snapshot as Journeys does.
func (d *Database) Histories(ctx context.Context, o journey.Options, yield func(*journey.History) error) error {
	return d.reading(ctx, func(c *sqlite3.SQLiteConn) (err error) {
		sales, err := c.Query(salesQuery, []driver.Value{o.Start, o.End})
		if err != nil {
			return fmt.Errorf("read conversions: %w", err)
		}
		defer func() { err = errors.Join(err, sales.Close()) }()
		visits, err := c.Query(visitsQuery, nil)
		if err != nil {
			return fmt.Errorf("read session_sources: %w", err)
		}
		defer func() { err = errors.Join(err, visits.Close()) }()
		users := 0
		return journey.Histories(o, nextSale(ctx, sales), nextVisit(visits), func(h *journey.History) error {
			if users++; users%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return yield(h)
		})
	})
}

func nextSale(ctx context.Context, rows driver.Rows) func() (journey.Sale, error) {
	row := make([]driver.Value, 4)
	next := nextConversion(ctx, rows, row)
	return func() (s journey.Sale, err error) {
		if s.Conversion, err = next(); err != nil {
			return s, err
		}
		s.Revenue = number(row[3])
		return s, nil
	}
}

// Costs implements [store.Source].
func (d *Database) Costs(ctx context.Context, start, end string) (all []store.Cost, err error) {
	err = d.reading(ctx, func(c *sqlite3.SQLiteConn) error {
		return each(ctx, c, costsQuery, []driver.Value{start, end}, 4, func(row []driver.Value) error {
			whole, _ := row[2].(int64)
			rest, _ := row[3].(int64)
			cost := store.Cost{Channel: text(row[0]), Date: text(row[1])}
			cost.Cost.AddProduct(whole, 1_000_000)
			cost.Cost.Add(rest)
			all = append(all, cost)
			return nil
		})
	})
	return all, err
}

