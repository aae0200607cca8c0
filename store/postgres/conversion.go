package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// numbered puts a run's number into a query.
func numbered(query string, run int64) string {
	return strings.ReplaceAll(query, "{run}", strconv.FormatInt(run, 10))
}

// Conversion implements [store.Reports].
func (d *Database) Conversion(ctx context.Context, id string) (c *store.Conversion, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		c = &store.Conversion{}
		err = tx.QueryRow(ctx, from.in(`SELECT conv_id, user_id, conv_date||' '||conv_time, units FROM {conversions} v WHERE conv_id = $1`), id).Scan(&c.ID, &c.User, &c.Time, &c.Revenue)
		if errors.Is(err, pgx.ErrNoRows) || isCode(err, characterNotInRepertoire) {
			return errkind.WithCode(errkind.CodeUnknownConversion, errkind.Inputf("there is no conversion %s in conversions", human.QuoteText(id)))
		}
		if err != nil {
			return fmt.Errorf("read conversions: %w", err)
		}
		for _, read := range []func(context.Context, pgx.Tx, sources, *store.Conversion) error{readShares, readScored, readVisits, readOutcome} {
			if err := read(ctx, tx, from, c); err != nil {
				return fmt.Errorf("read what is known of conversion %s: %w", human.QuoteText(id), err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// characterNotInRepertoire is told of a text that no text can be: one with a NUL,
// for example.
const characterNotInRepertoire = "22021"

// readShares reads what the users' table has of the conversion.
func readShares(ctx context.Context, tx pgx.Tx, from sources, c *store.Conversion) error {
	if there, err := hasTables(ctx, tx, "attribution_customer_journey"); err != nil || !there {
		return err
	}
	rows, err := tx.Query(ctx, from.in(`SELECT session_id, share FROM {attributions} a WHERE conv_id = $1 ORDER BY session_id COLLATE "C"`), c.ID)
	if err != nil {
		return err
	}
	var t store.Touchpoint
	_, err = pgx.ForEachRow(rows, []any{&t.Session, &t.IHC}, func() error {
		c.Sessions = append(c.Sessions, t)
		return nil
	})
	return err
}

// readScored reads what the journal has of what is shown, and puts the sessions
// into its order.
func readScored(ctx context.Context, tx pgx.Tx, _ sources, c *store.Conversion) error {
	if there, err := hasJournal(ctx, tx); err != nil || !there {
		return err
	}
	var row scored
	r := &store.RunJourneys{Conversions: 1}
	rows, err := tx.Query(ctx, `SELECT `+scoredColumns+`, r.run_id, r.model, r.request, j.chunk FROM pipeline_latest l
		JOIN pipeline_journeys j ON j.journey = l.journey JOIN pipeline_runs r ON r.run = j.run WHERE l.conv_id = $1`, append(slices.Clone(inBinary), c.ID)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return rows.Err()
	}
	if err := row.read(rows.RawValues()); err != nil {
		return err
	}
	if err := rows.Scan(nil, nil, nil, nil, nil, &r.RunID, &r.Model, &r.Request, &c.Chunk); err != nil {
		return err
	}
	shares := row.shares
	place := map[string]int{}
	for i, id := range row.sessions {
		place[string(id)] = i + 1
	}
	for i := range c.Sessions {
		t := &c.Sessions[i]
		n := place[t.Session] - 1
		if n < 0 || n >= len(shares[0]) {
			continue
		}
		t.Scored, t.Share = true, int64(shares[0][n])
		if t.Phased = shares[1] != nil; t.Phased {
			t.Initializer, t.Holder, t.Closer = int64(shares[1][n]), int64(shares[2][n]), int64(shares[3][n])
		}
	}
	slices.SortStableFunc(c.Sessions, func(a, b store.Touchpoint) int { return cmp.Compare(place[a.Session], place[b.Session]) })
	c.Run = r
	return nil
}

// readVisits reads what the source has of the sessions; where the journal does
// not tell their order they come by time.
func readVisits(ctx context.Context, tx pgx.Tx, from sources, c *store.Conversion) error {
	for i := range c.Sessions {
		t := &c.Sessions[i]
		var flags int16
		var cost int64
		err := tx.QueryRow(ctx, from.in(`SELECT s.channel_name, s.event_date||' '||s.event_time, (holder_engagement + 2*closer_engagement + 4*impression_interaction)::smallint,
			coalesce((SELECT units FROM {costs} c WHERE c.session_id = s.session_id), 0) FROM {sessions} s WHERE s.session_id = $1`), t.Session).Scan(&t.Channel, &t.Time, &flags, &cost)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		t.Known, t.Engagement, t.Cost = true, unit.Engagement(flags), unit.Cost(cost)
	}
	if c.Run == nil {
		slices.SortStableFunc(c.Sessions, func(a, b store.Touchpoint) int {
			return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Session, b.Session))
		})
	}
	return nil
}

// readOutcome reads why a conversion has no attribution.
func readOutcome(ctx context.Context, tx pgx.Tx, _ sources, c *store.Conversion) error {
	if len(c.Sessions) > 0 {
		return nil
	}
	if there, err := hasTables(ctx, tx, "pipeline_outcomes", "pipeline_runs"); err != nil || !there {
		return err
	}
	r := &store.RunJourneys{Conversions: 1}
	err := tx.QueryRow(ctx, `SELECT r.run_id, r.model, r.request, o.chunk, o.outcome, o.reason FROM pipeline_outcomes o JOIN pipeline_runs r ON r.run = o.run
		WHERE o.conv_id = $1 AND o.outcome <> '`+books.Gone+`' ORDER BY o.run DESC LIMIT 1`, c.ID).Scan(&r.RunID, &r.Model, &r.Request, &c.Chunk, &c.Outcome, &c.Reason)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		c.Run = r
	}
	return err
}

// Cell implements [store.Reports].
func (d *Database) Cell(ctx context.Context, channel, date string) (c *store.Cell, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		from, err := findSources(ctx, tx)
		if err != nil {
			return err
		}
		c = &store.Cell{Channel: channel, Date: date}
		var cost string
		err = tx.QueryRow(ctx, from.in(`SELECT count(*), coalesce(sum(c.units), 0)::text FROM {sessions} s LEFT JOIN {costs} c ON c.session_id = s.session_id
			WHERE s.event_date = $1 AND s.channel_name = $2`), date, channel).Scan(&c.Sessions, &cost)
		if err != nil && !isCode(err, characterNotInRepertoire) {
			return fmt.Errorf("read session_sources: %w", err)
		}
		if c.Sessions == 0 {
			return errkind.Inputf("channel %s has no sessions on %.40s", human.QuoteText(channel), date)
		}
		if c.Cost, err = parseSum(cost); err != nil {
			return err
		}
		if there, err := hasTables(ctx, tx, "attribution_customer_journey"); err != nil || !there {
			return err
		}
		return readCredits(ctx, tx, from, c)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// readCredits reads what the sessions of a cell earned.
func readCredits(ctx context.Context, tx pgx.Tx, from sources, c *store.Cell) error {
	rows, err := tx.Query(ctx, from.in(`SELECT a.conv_id, a.session_id, a.share, v.conv_date||' '||v.conv_time, s.event_date||' '||s.event_time, v.units
		FROM {attributions} a JOIN {sessions} s ON s.session_id = a.session_id JOIN {conversions} v ON v.conv_id = a.conv_id
		WHERE s.event_date = $1 AND s.channel_name = $2 ORDER BY a.share::numeric * v.units DESC, a.conv_id COLLATE "C", a.session_id COLLATE "C"`), c.Date, c.Channel)
	if err != nil {
		return fmt.Errorf("read attribution_customer_journey: %w", err)
	}
	var one store.CellCredit
	_, err = pgx.ForEachRow(rows, []any{&one.Conversion, &one.Session, &one.Share, &one.ConversionTime, &one.SessionTime, &one.Revenue}, func() error {
		c.Count++
		c.Share.Add(one.Share)
		c.Credit.AddProduct(one.Share, int64(one.Revenue))
		if len(c.Credits) < store.MostCredits {
			c.Credits = append(c.Credits, one)
		}
		return nil
	})
	return err
}
