package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// All columns are read as text, which is the same in whatever way the rows come,
// and by their bytes: to decode each of them takes longer than to read them.
// Times compare as text because validation has made sure of their form; ties
// between forms of the same time (12:00:00 and 12:00:00.0) are put right by
// [journey.Walk].
const (
	conversionsQuery = `SELECT user_id, conv_id, conv_date||' '||conv_time FROM {conversions} v
		WHERE conv_date COLLATE "C" BETWEEN $1 AND $2{users}
		ORDER BY user_id COLLATE "C", conv_date COLLATE "C", conv_time COLLATE "C", conv_id COLLATE "C"`
	flags         = `(holder_engagement + 2*closer_engagement + 4*impression_interaction)::text`
	sessionsQuery = `SELECT user_id, session_id, event_date||' '||event_time, channel_name, ` + flags + ` FROM {sessions} s
		WHERE user_id IN (SELECT user_id FROM {conversions} v WHERE conv_date COLLATE "C" BETWEEN $1 AND $2{users}){users}
		ORDER BY user_id COLLATE "C", event_date COLLATE "C", event_time COLLATE "C"`
	historiesQuery = `SELECT user_id, '0', event_date||' '||event_time AS at, session_id AS id, channel_name, ` + flags + ` FROM {sessions} s
		UNION ALL SELECT user_id, '1', conv_date||' '||conv_time, conv_id, '', revenue::text FROM {conversions} v
			WHERE conv_date COLLATE "C" BETWEEN $1 AND $2`
	costsQuery = `SELECT s.channel_name, s.event_date, coalesce(sum(c.units), 0)::text FROM {sessions} s LEFT JOIN {costs} c ON c.session_id = s.session_id
		WHERE s.event_date COLLATE "C" BETWEEN $1 AND $2 GROUP BY 1, 2`
)

// Journeys implements [store.Source]. Conversions and sessions are read by a
// connection each, from one snapshot of the database (invariant 10): that of the
// slice, or one of their own.
func (d *Database) Journeys(ctx context.Context, o journey.Options, yield func(journey.Journey) error) error {
	return d.reading(ctx, func(tx pgx.Tx) error {
		snapshot := o.Slice.Snapshot
		if snapshot == "" {
			if err := tx.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&snapshot); err != nil {
				return err
			}
		} else if err := see(ctx, tx, snapshot); err != nil {
			return err
		}
		return d.inTransaction(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(beside pgx.Tx) error {
			if err := see(ctx, beside, snapshot); err != nil {
				if o.Slice.Snapshot == "" { // which was there a moment ago
					err = errkind.Passing(errkind.Environmentf("database %s was started again: %w", d.name, err))
				}
				return err
			}
			if err := inBulk(ctx, beside); err != nil {
				return err
			}
			from, err := findSources(ctx, tx)
			if err != nil {
				return err
			}
			return readJourneys(ctx, from, tx, beside, o, yield)
		})
	})
}

// see makes a transaction see the state that another has exported.
func see(ctx context.Context, tx pgx.Tx, snapshot string) error {
	_, err := tx.Conn().PgConn().Exec(ctx, `SET TRANSACTION SNAPSHOT `+literal(snapshot)).ReadAll()
	if isCode(err, noSuchSnapshot, undefinedObject) {
		return fmt.Errorf("%w: %w", store.ErrGone, err)
	}
	return err
}

func readJourneys(ctx context.Context, from sources, tx, beside pgx.Tx, o journey.Options, yield func(journey.Journey) error) error {
	users, args := usersOf(o)
	conversions, err := tx.Query(ctx, from.in(conversionsQuery, "{users}", users), args...)
	if err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	defer conversions.Close()
	sessions, err := beside.Query(ctx, from.in(sessionsQuery, "{users}", users), args...)
	if err != nil {
		return fmt.Errorf("read session_sources: %w", err)
	}
	defer sessions.Close()
	return journey.Walk(o, nextConversion(conversions), nextVisit(sessions), yield)
}

// usersOf returns the condition by which a user is of the slice that is read, "" where
// all are, and its arguments, which the two dates come before.
func usersOf(o journey.Options) (users string, args []any) {
	args = []any{o.Start, o.End}
	for _, bound := range []struct{ is, at string }{{">=", o.Slice.From}, {"<", o.Slice.Before}} {
		if bound.at != "" {
			args = append(args, bound.at)
			users += fmt.Sprintf(` AND user_id COLLATE "C" %s $%d`, bound.is, len(args))
		}
	}
	return users, args
}

// next returns the columns of the next row, or [io.EOF].
func next(rows pgx.Rows) ([][]byte, error) {
	if rows.Next() {
		return rows.RawValues(), nil
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

func nextConversion(rows pgx.Rows) func() (journey.Conversion, error) {
	return func() (c journey.Conversion, err error) {
		row, err := next(rows)
		if err != nil {
			return c, err
		}
		c.User, c.ID = string(row[0]), string(row[1])
		if c.Time, err = civil.ParseTime(string(row[2])); err != nil {
			return c, fmt.Errorf("conversions, conv_id %q: %w", c.ID, err)
		}
		return c, nil
	}
}

func nextVisit(rows pgx.Rows) func() (journey.Visit, error) {
	return func() (v journey.Visit, err error) {
		row, err := next(rows)
		if err != nil {
			return v, err
		}
		v.User, v.ID, v.Channel = string(row[0]), string(row[1]), string(row[3])
		if v.Time, err = civil.ParseTime(string(row[2])); err != nil {
			return v, fmt.Errorf("session_sources, session_id %q: %w", v.ID, err)
		}
		if v.Flags, err = parseFlags(row[4]); err != nil {
			return v, fmt.Errorf("session_sources, session_id %q: %w", v.ID, err)
		}
		return v, nil
	}
}

func parseFlags(text []byte) (byte, error) {
	if len(text) != 1 || text[0] < '0' || text[0] > '7' {
		return 0, errors.New("engagement flags other than 0 and 1")
	}
	return text[0] - '0', nil
}

// Histories implements [store.Source].
func (d *Database) Histories(ctx context.Context, o journey.Options, yield func(*journey.History) error) error {
	return d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT * FROM (`+from.in(historiesQuery)+`) h (user_id, sale, at, id, channel, value) ORDER BY user_id COLLATE "C", sale, at COLLATE "C", id COLLATE "C"`, o.Start, o.End)
		if err != nil {
			return fmt.Errorf("read session_sources and conversions: %w", err)
		}
		defer rows.Close()
		return journey.Histories(o, nextEntry(ctx, rows), yield)
	})
}

func nextEntry(ctx context.Context, rows pgx.Rows) func() (journey.Entry, error) {
	return func() (e journey.Entry, err error) {
		row, err := next(rows)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return e, err
		}
		e.User, e.ID, e.Sale = string(row[0]), string(row[3]), row[1][0] == '1'
		table := `session_sources, session_id`
		if e.Sale {
			table = `conversions, conv_id`
		}
		if e.Time, err = civil.ParseTime(string(row[2])); err != nil {
			return e, errkind.Inputf("%s %q: %w", table, e.ID, err)
		}
		if e.Sale {
			if e.Revenue, err = strconv.ParseFloat(string(row[5]), 64); err != nil {
				err = errkind.Inputf("%s %q: %w", table, e.ID, err)
			}
			return e, err
		}
		e.Channel = string(row[4])
		if e.Flags, err = parseFlags(row[5]); err != nil {
			err = fmt.Errorf("%s %q: %w", table, e.ID, err)
		}
		return e, err
	}
}

// Costs implements [store.Source].
func (d *Database) Costs(ctx context.Context, start, end string) (all []store.Cost, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, from.in(costsQuery), start, end)
		if err != nil {
			return err
		}
		var c store.Cost
		var cost string
		_, err = pgx.ForEachRow(rows, []any{&c.Channel, &c.Date, &cost}, func() (err error) {
			c.Cost, err = parseSum(cost)
			all = append(all, c)
			return err
		})
		return err
	})
	return all, err
}

// parseSum reads a sum that PostgreSQL made exactly.
func parseSum(text string) (s unit.Sum, err error) {
	const digits = 18 // that a product may have
	negative := false
	if len(text) > 0 && text[0] == '-' {
		negative, text = true, text[1:]
	}
	var high, low int64
	if cut := len(text) - digits; cut > 0 {
		if high, err = strconv.ParseInt(text[:cut], 10, 64); err != nil {
			return s, fmt.Errorf("the sum %s is too large", text)
		}
		text = text[cut:]
	}
	if low, err = strconv.ParseInt(text, 10, 64); err != nil {
		return s, fmt.Errorf("the sum %q is none", text)
	}
	if negative {
		high, low = -high, -low
	}
	s.AddProduct(high, 1_000_000_000_000_000_000)
	s.Add(low)
	return s, nil
}

// RequestTime implements [store.Source].
func (d *Database) RequestTime(ctx context.Context) (took time.Duration, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		if there, err := hasTables(ctx, tx, "pipeline_chunks"); err != nil || !there {
			return err
		}
		var seconds float64
		err := tx.QueryRow(ctx, `SELECT sum(seconds) / sum(requests) FROM pipeline_chunks GROUP BY run HAVING sum(requests) > 0 AND sum(seconds) > 0 ORDER BY run DESC LIMIT 1`).Scan(&seconds)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		took = time.Duration(seconds * float64(time.Second))
		return err
	})
	return took, err
}

// UnknownChannels implements [store.Source].
func (d *Database) UnknownChannels(ctx context.Context, labels []string) (unknown []string, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		unknown = nil
		for _, label := range labels {
			var there bool
			if err := tx.QueryRow(ctx, from.in(`SELECT EXISTS (SELECT 1 FROM {sessions} s WHERE channel_name = $1)`), label).Scan(&there); err != nil {
				return fmt.Errorf("look for channel %q: %w", label, err)
			}
			if !there {
				unknown = append(unknown, label)
			}
		}
		return nil
	})
	return unknown, err
}

// Sold implements [store.Source].
func (d *Database) Sold(ctx context.Context, conversions []string) (there int, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, from.in(`SELECT count(*) FROM {conversions} v WHERE conv_id = ANY ($1::text[])`), conversions).Scan(&there)
	})
	return there, err
}

// LastConversion implements [store.Reports].
func (d *Database) LastConversion(ctx context.Context) (last time.Time, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		var at *string
		// What is no date is of no use, and told by validation.
		err = tx.QueryRow(ctx, from.in(`SELECT max((conv_date||' '||substr(conv_time, 1, 8)) COLLATE "C") FROM {conversions} v
			WHERE conv_date ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' AND conv_time ~ '^[0-9]{2}:[0-9]{2}:[0-9]{2}'`)).Scan(&at)
		if err != nil || at == nil {
			return err
		}
		last, err = time.ParseInLocation(time.DateTime, *at, time.UTC)
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("find the last conversion: %w", err)
	}
	return last, nil
}
