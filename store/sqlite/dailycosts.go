package sqlite

import (
	"context"
	"database/sql"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// readDailyCosts reads what costs by day became. They are few: one row for each
// day of a channel.
func (s *summing) readDailyCosts(ctx context.Context, conn *sql.Conn, p *part) error {
	if there, err := hasTables(ctx, conn, "pipeline_daily_costs", "pipeline_spread_costs"); err != nil || !there {
		return err
	}
	rows, err := conn.QueryContext(ctx, `SELECT date, channel, cost, coalesce(sessions = 0, 0) FROM pipeline_daily_costs ORDER BY date, channel`)
	if err != nil {
		return err
	}
	defer rows.Close()
	d := &p.Daily
	for rows.Next() {
		var c store.DailyCost
		var alone bool
		if err := rows.Scan(&c.Date, &c.Channel, &c.Cost, &alone); err != nil {
			return err
		}
		d.Days++
		d.Cost.Add(int64(c.Cost))
		if !alone {
			continue
		}
		d.AloneCost.Add(int64(c.Cost))
		if run.InRange(s.req, c.Date) {
			d.Alone = append(d.Alone, c)
		}
	}
	if err := rows.Err(); err != nil || d.Days == 0 {
		return err
	}
	return s.readSpread(ctx, conn, &d.Spread)
}

// readSpread sums the rows of session_costs that daily costs became.
func (s *summing) readSpread(ctx context.Context, conn *sql.Conn, sum *unit.Sum) error {
	var whole, rest int64
	err := conn.QueryRowContext(ctx, `SELECT coalesce(sum(units / 1000000), 0), coalesce(sum(units % 1000000), 0) FROM (
		SELECT CAST(round(coalesce(cost, 0.0) * 1000000) AS integer) AS units FROM session_costs WHERE session_id COLLATE BINARY IN (SELECT session_id FROM pipeline_spread_costs))`).
		Scan(&whole, &rest)
	sum.AddProduct(whole, 1_000_000)
	sum.Add(rest)
	return err
}
