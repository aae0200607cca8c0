package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/daily"
)

// spread takes the daily costs that were read in the place of those of the same
// days and channels, and spreads all of them anew: sessions may have changed.
func (i *intake) spread(ctx context.Context) (done store.Spread, err error) {
	done.Read = i.read.days
	if i.o.ReplaceRange && i.read.days > 0 {
		if _, err := i.exec(ctx, `DELETE FROM pipeline_daily_costs WHERE date BETWEEN (SELECT min(date) FROM incoming_daily) AND (SELECT max(date) FROM incoming_daily)`); err != nil {
			return done, err
		}
	}
	if _, err := i.exec(ctx, `INSERT OR REPLACE INTO pipeline_daily_costs (date, channel, begins, ends, cost) SELECT date, channel, begins, ends, cost FROM incoming_daily ORDER BY date, channel`); err != nil {
		return done, err
	}
	all, err := i.dailyCosts(ctx)
	if err != nil || len(all) == 0 {
		return done, err
	}
	if _, err := i.exec(ctx, `DELETE FROM session_costs WHERE session_id IN (SELECT session_id FROM pipeline_spread_costs)`); err != nil {
		return done, err
	}
	if _, err := i.exec(ctx, `DELETE FROM pipeline_spread_costs`); err != nil {
		return done, err
	}
	if err := i.eachSession(ctx, all, func(d *daily.Cost, _ string) error { d.Sessions++; return nil }); err != nil {
		return done, err
	}
	costs := newRows(i.c, "INSERT INTO session_costs (session_id, cost) VALUES ", "(?,?)", " ON CONFLICT (session_id) DO UPDATE SET cost = excluded.cost", 2, 50)
	marks := newRows(i.c, "INSERT INTO pipeline_spread_costs VALUES ", "(?)", "", 1, 50)
	days := newRows(i.c, "INSERT INTO pipeline_daily_costs (date, channel, begins, ends, cost, sessions) VALUES ", "(?,?,?,?,?,?)", " ON CONFLICT (date, channel) DO UPDATE SET sessions = excluded.sessions", 6, 50)
	err = i.eachSession(ctx, all, func(d *daily.Cost, id string) error {
		return errors.Join(costs.add(id, d.Share().Float()), marks.add(id))
	})
	for _, d := range all {
		err = errors.Join(err, days.add(d.Date, d.Channel, d.Begins, d.Ends, d.Cost, d.Sessions))
	}
	for _, r := range []*rows{costs, marks, days} {
		err = errors.Join(err, r.flush(), r.close())
	}
	return daily.Told(i.read.days, all), err
}

func (i *intake) dailyCosts(ctx context.Context) (all []*daily.Cost, err error) {
	err = i.query(ctx, `SELECT date, channel, begins, ends, cost FROM pipeline_daily_costs ORDER BY date, channel`, func(v []driver.Value) error {
		d := &daily.Cost{}
		d.Date, _ = v[0].(string)
		d.Channel, _ = v[1].(string)
		d.Begins, _ = v[2].(string)
		d.Ends, _ = v[3].(string)
		d.Cost, _ = v[4].(int64)
		all = append(all, d)
		return nil
	})
	return all, err
}

// eachSession calls yield with the sessions, in the order of their ids, of which
// the day and channel have a cost.
func (i *intake) eachSession(ctx context.Context, all []*daily.Cost, yield func(*daily.Cost, string) error) error {
	by := daily.By(all)
	return i.query(ctx, `SELECT session_id, event_date || ' ' || event_time, channel_name FROM session_sources ORDER BY session_id COLLATE BINARY`, func(v []driver.Value) error {
		id, _ := v[0].(string)
		at, _ := v[1].(string)
		channel, _ := v[2].(string)
		if day := by.At(channel, at); day != nil {
			return yield(day, id)
		}
		return nil
	})
}

// query calls yield with every row.
func (i *intake) query(ctx context.Context, query string, yield func([]driver.Value) error) error {
	rows, err := ask(ctx, i.c, query, nil)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // only read
	values := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		for n, v := range values {
			if b, isBytes := v.([]byte); isBytes {
				values[n] = string(b)
			}
		}
		if err := yield(values); err != nil {
			return err
		}
	}
}

func (i *intake) one(ctx context.Context, query string, take func(any)) error {
	return i.query(ctx, query, func(v []driver.Value) error { take(v[0]); return nil })
}
