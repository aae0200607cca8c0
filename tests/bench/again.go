package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/shop"
)

// again measures runs over a database that an earlier run has left.
func (b *bench) again() error {
	if err := b.againBuiltin(); err != nil {
		return err
	}
	return b.againByAPI()
}

// againBuiltin runs what the last round left once more, with nothing changed.
func (b *bench) againBuiltin() error {
	rs, err := b.rounds()
	if err != nil {
		return err
	}
	before, err := ourTotals(b.ctx, rs.db)
	if err != nil {
		return err
	}
	r, err := b.embedded(rs.db)
	if err != nil {
		return err
	}
	after, err := ourTotals(b.ctx, rs.db)
	if err == nil {
		err = before.differs(after)
	}
	if err != nil {
		return err
	}
	first := median(rs.ours.seconds)
	b.add("second run ÷ first run, built-in model", r.seconds/first, "ratio", 0, "%.1f s and %.1f s; nothing changed between them", r.seconds, first)
	return nil
}

// againByAPI runs a shop over the API, again with nothing changed, and again
// with the sessions of every hundredth user in another channel.
func (b *bench) againByAPI() error {
	const atOnce = "64"
	a, err := b.sandbox("free", 200*time.Millisecond)
	if err != nil {
		return err
	}
	path, err := b.freshShop(shop.Config{Sessions: 200_000, Touchpoints: 1_000_000})
	if err != nil {
		return err
	}
	ask := func() (result, int, error) { return a.askOver(path, ihcapi.FreeLimits, "--concurrency", atOnce) }
	first, n, err := ask()
	if err != nil {
		return err
	}
	second, none, err := ask()
	if err == nil && none > 0 {
		err = fmt.Errorf("a second run over the same data sent %d requests", none)
	}
	if err != nil {
		return err
	}
	b.add("second run ÷ first run, API", second.seconds/first.seconds, "ratio", 0.5, "%.1f s for no request and %.1f s for %d, %s of 200 ms at a time", second.seconds, first.seconds, n, atOnce)
	journeys, touchpoints, err := correct(b.ctx, path)
	if err != nil {
		return err
	}
	_, some, err := ask()
	if err != nil {
		return err
	}
	least := fewest(touchpoints, journeys, ihcapi.FreeLimits)
	b.add("1 % of users changed", float64(some)/float64(least), "ratio", 1.05, "%d requests, at least %d, for %d changed journeys with %d touchpoints", some, least, journeys, touchpoints)
	_, err = a.stop()
	return err
}

// correct gives the sessions of every hundredth user with conversions another
// channel, and returns how many journeys that changed and their touchpoints.
func correct(ctx context.Context, path string) (journeys, touchpoints int, err error) {
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	const some = `(SELECT user_id FROM (SELECT user_id, row_number() OVER (ORDER BY user_id) AS place FROM (SELECT DISTINCT user_id FROM conversions)) WHERE place % 100 = 0)`
	if _, err := db.ExecContext(ctx, `UPDATE session_sources SET channel_name = channel_name || ' (corrected)' WHERE user_id IN `+some); err != nil {
		return 0, 0, err
	}
	// As many as a request holds: longer journeys are scored by their latest.
	err = db.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*), sum(min(sessions, %d)) FROM (SELECT count(*) AS sessions
		FROM conversions v JOIN session_sources s ON s.user_id = v.user_id AND s.event_date || s.event_time < v.conv_date || v.conv_time
		WHERE v.user_id IN %s GROUP BY v.conv_id)`, ihcapi.FreeLimits.Sessions, some)).Scan(&journeys, &touchpoints)
	return journeys, touchpoints, err
}
