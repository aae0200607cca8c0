package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/daily"
)

// spread takes the daily costs that were read in the place of those of the same
// days and channels, and spreads all of them anew: sessions may have changed.
func (i *intake) spread() (store.Spread, error) {
	read := i.read[incomingDaily]
	there, err := hasTables(i.ctx, i.tx, "pipeline_daily_costs")
	if err != nil || !there && read == 0 {
		return store.Spread{}, err
	}
	if err := i.d.migrate(i.ctx, i.tx); err != nil {
		return store.Spread{}, err
	}
	statements := []string{`LOCK TABLE pipeline_daily_costs IN SHARE ROW EXCLUSIVE MODE`}
	if i.o.ReplaceRange && read > 0 {
		statements = append(statements, `DELETE FROM pipeline_daily_costs WHERE date BETWEEN (SELECT min(date COLLATE "C") FROM incoming_daily) AND (SELECT max(date COLLATE "C") FROM incoming_daily)`)
	}
	statements = append(statements, `INSERT INTO pipeline_daily_costs (date, channel, begins, ends, cost) SELECT date, channel, (array_agg(begins ORDER BY n))[1], (array_agg(ends ORDER BY n))[1], sum(cost)::bigint
		FROM incoming_daily GROUP BY date, channel ON CONFLICT (date, channel) DO UPDATE SET begins = EXCLUDED.begins, ends = EXCLUDED.ends, cost = EXCLUDED.cost, sessions = NULL`)
	if err := exec(i.ctx, i.tx, statements); err != nil {
		return store.Spread{}, err
	}
	rows, err := i.tx.Query(i.ctx, `SELECT date, channel, begins, ends, cost FROM pipeline_daily_costs ORDER BY date, channel`)
	if err != nil {
		return store.Spread{}, err
	}
	var all []*daily.Cost
	var c daily.Cost
	_, err = pgx.ForEachRow(rows, []any{&c.Date, &c.Channel, &c.Begins, &c.Ends, &c.Cost}, func() error {
		one := c
		all = append(all, &one)
		return nil
	})
	if err != nil || len(all) == 0 {
		return store.Spread{Read: read}, err
	}
	err = i.spreadOver(all)
	return daily.Told(read, all), err
}

// spreadOver writes what sessions cost on the days.
func (i *intake) spreadOver(all []*daily.Cost) error {
	from, err := findSources(i.ctx, i.tx)
	if err != nil {
		return err
	}
	of, err := i.target(incomingCosts)
	if err != nil {
		return err
	}
	err = exec(i.ctx, i.tx, []string{
		`DELETE FROM session_costs WHERE ` + of[0].cast(aText) + ` IN (SELECT session_id FROM pipeline_spread_costs)`,
		`DELETE FROM pipeline_spread_costs`,
	})
	if err != nil {
		return err
	}
	by := daily.By(all)
	var id, at, channel string
	sessions := from.in(`SELECT session_id, event_date||' '||event_time, channel_name FROM {sessions} s ORDER BY session_id COLLATE "C"`)
	each := func(do func(*daily.Cost) error, after func() error) error {
		return fetched(i.ctx, i.tx, sessions, func(row pgx.CollectableRow) error {
			if err := row.Scan(&id, &at, &channel); err != nil {
				return err
			}
			if day := by.At(channel, at); day != nil {
				return do(day)
			}
			return nil
		}, after)
	}
	if err := each(func(c *daily.Cost) error { c.Sessions++; return nil }, func() error { return nil }); err != nil {
		return err
	}
	var ids []string
	var costs []float64
	err = each(func(c *daily.Cost) error {
		ids, costs = append(ids, id), append(costs, c.Share().Float())
		return nil
	}, func() error {
		_, err := i.exec(`WITH costs AS (SELECT * FROM unnest($1::text[], $2::double precision[]) AS c(session_id, cost)), marked AS (INSERT INTO pipeline_spread_costs SELECT session_id FROM costs)
			INSERT INTO session_costs (session_id, cost) SELECT `+of[0].value(incomingCosts)+`, `+of[1].value(incomingCosts)+` FROM costs ON CONFLICT (session_id) DO UPDATE SET cost = EXCLUDED.cost`, ids, costs)
		ids, costs = ids[:0], costs[:0]
		return err
	})
	if err != nil {
		return err
	}
	var dates, channels []string
	var counts []int64
	for _, c := range all {
		dates, channels, counts = append(dates, c.Date), append(channels, c.Channel), append(counts, c.Sessions)
	}
	_, err = i.exec(`UPDATE pipeline_daily_costs d SET sessions = c.sessions FROM unnest($1::text[], $2::text[], $3::bigint[]) AS c(date, channel, sessions)
		WHERE d.date = c.date AND d.channel = c.channel`, dates, channels, counts)
	return err
}

// readDailyCosts reads what costs by day became. They are few: one row for each
// day of a channel.
func (s *summing) readDailyCosts(ctx context.Context) error {
	if there, err := hasTables(ctx, s.tx, "pipeline_daily_costs", "pipeline_spread_costs"); err != nil || !there {
		return err
	}
	var c store.DailyCost
	var cost int64
	var alone bool
	d := &s.Daily
	err := s.each(ctx, `SELECT date, channel, cost, coalesce(sessions = 0, false) FROM pipeline_daily_costs ORDER BY date, channel`, nil, []any{&c.Date, &c.Channel, &cost, &alone}, func() error {
		c.Cost = unit.Cost(cost)
		d.Days++
		d.Cost.Add(cost)
		if !alone {
			return nil
		}
		d.AloneCost.Add(cost)
		if run.InRange(s.req, c.Date) {
			d.Alone = append(d.Alone, c)
		}
		return nil
	})
	if err != nil || d.Days == 0 {
		return err
	}
	spread := make(sums, 1)
	if err := s.tx.QueryRow(ctx, s.in(`SELECT coalesce(sum(units), 0)::text FROM {costs} c WHERE session_id IN (SELECT session_id FROM pipeline_spread_costs)`)).Scan(&spread[0]); err != nil {
		return err
	}
	return spread.parse(&d.Spread)
}
