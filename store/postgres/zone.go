package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/civil"
)

// Dates of a time zone are reckoned here and not by the server, whose time zone
// database may be another than that of this program: of each date in the tables
// the parts are made during which clocks in the zone show another date, and the
// queries look it up.

// elsewhen is a part of a date in UTC during which clocks in a zone show another
// date: from begins, a time of day, until before ends.
type elsewhen struct{ date, begins, ends, local string }

const secondsPerDay = 24 * 60 * 60

// partsOf returns the parts of a date, none for what is no date.
func partsOf(date string, zone *time.Location) (parts []elsewhen) {
	d, ok := civil.ParseDate(date)
	if !ok {
		return nil
	}
	start := time.UnixMicro(d.Micros())
	for at := int64(0); at < secondsPerDay; {
		now := start.Add(time.Duration(at) * time.Second).In(zone)
		hour, minute, second := now.Clock()
		next := at + secondsPerDay - int64(hour*60*60+minute*60+second) // midnight, if no clock is changed until then
		if _, changed := now.ZoneBounds(); !changed.IsZero() {
			next = min(next, int64(changed.Sub(start)/time.Second))
		}
		next = min(next, secondsPerDay)
		if local := civil.DateIn(date, timeOfDay(at), zone); local != date {
			parts = append(parts, elsewhen{date, timeOfDay(at), timeOfDay(next), local})
		}
		at = next
	}
	return parts
}

// timeOfDay writes seconds as a time of day; the end of the day is 24:00:00,
// which comes after all times as text.
func timeOfDay(seconds int64) string {
	return fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
}

// useZone makes the dates of sessions and conversions those of the report's zone.
func (s *summing) useZone(ctx context.Context) error {
	zone, err := civil.Zone(s.zone)
	if err != nil || zone == time.UTC {
		return err
	}
	rows, err := s.tx.Query(ctx, s.in(`SELECT event_date FROM {sessions} s UNION SELECT conv_date FROM {conversions} v ORDER BY 1`))
	if err != nil {
		return err
	}
	dates, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	if err != nil {
		return err
	}
	var columns [4][]string
	for _, date := range dates {
		if date == nil {
			continue
		}
		for _, p := range partsOf(*date, zone) {
			for i, text := range []string{p.date, p.begins, p.ends, p.local} {
				columns[i] = append(columns[i], text)
			}
		}
	}
	for i, of := range columns {
		// Dates and times of day, and so nothing to be quoted.
		columns[i] = []string{`'{` + strings.Join(of, ",") + `}'::text[]`}
	}
	s.elsewhen = `unnest(` + columns[0][0] + `, ` + columns[1][0] + `, ` + columns[2][0] + `, ` + columns[3][0] + `) AS z(date, begins, ends, local)`
	return nil
}

// zoned returns a term as [sources] has them with the dates of the report's zone.
// The date in UTC is there too, as utc_date.
func (s *summing) zoned(term, date, timeOfDay string, others ...string) string {
	columns := []string{`coalesce(z.local, x.` + date + `) AS ` + date, `x.` + timeOfDay, `x.` + date + ` AS utc_date`}
	for _, o := range others {
		columns = append(columns, `x.`+o)
	}
	return `(SELECT ` + strings.Join(columns, ", ") + ` FROM ` + term + ` x LEFT JOIN ` + s.elsewhen + `
		ON z.date = x.` + date + ` AND x.` + timeOfDay + ` COLLATE "C" >= z.begins AND x.` + timeOfDay + ` COLLATE "C" < z.ends)`
}
