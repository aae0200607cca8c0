package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/store"
)

const (
	// historiesQuery reads the sessions of all users and the conversions in range
	// as one list, so that both have the users in the same order, whatever the
	// encoding of the database. Times are as in [conversionsQuery].
	historiesQuery = `SELECT user_id||'', 0, event_date||'', event_time||'', session_id||'', channel_name||'',
			holder_engagement + 2*closer_engagement + 4*impression_interaction FROM session_sources
		UNION ALL SELECT user_id||'', 1, conv_date||'', conv_time||'', conv_id||'', '', revenue + 0.0 FROM conversions
			WHERE conv_date COLLATE BINARY BETWEEN ?1 AND ?2
		ORDER BY 1, 2, 3, 4, 5`
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
	return d.reading(ctx, visitsSales, func(c *sqlite3.SQLiteConn) (err error) {
		rows, err := ask(ctx, c, historiesQuery, []driver.Value{o.Start, o.End})
		if err != nil {
			return fmt.Errorf("read session_sources and conversions: %w", err)
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		return journey.Histories(o, nextEntry(ctx, rows), yield)
	})
}

func nextEntry(ctx context.Context, rows driver.Rows) func() (journey.Entry, error) {
	row := make([]driver.Value, 7)
	n := 0
	return func() (e journey.Entry, err error) {
		if n++; n%4096 == 1 && ctx.Err() != nil {
			return e, ctx.Err()
		}
		if err := rows.Next(row); err != nil {
			return e, err
		}
		e.User, e.ID, e.Sale = text(row[0]), text(row[4]), row[1] == int64(1)
		table := `session_sources, session_id`
		if e.Sale {
			table = `conversions, conv_id`
		}
		if e.Time, err = civil.ParseTime(text(row[2]) + " " + text(row[3])); err != nil {
			return e, errkind.Inputf("%s %q: %w", table, e.ID, err)
		}
		if e.Sale {
			e.Revenue = number(row[6])
			_, err := moneyOf(e.ID, row[6])
			return e, err
		}
		flags, ok := row[6].(int64)
		if !ok || flags < 0 || flags > 7 {
			return e, errkind.Inputf("%s %q: engagement flags other than 0 and 1", table, e.ID)
		}
		e.Channel, e.Flags = text(row[5]), byte(flags)
		return e, nil
	}
}

// Costs implements [store.Source].
func (d *Database) Costs(ctx context.Context, start, end string) (all []store.Cost, err error) {
	err = d.reading(ctx, visitsCosts, func(c *sqlite3.SQLiteConn) error {
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
