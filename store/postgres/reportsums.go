package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// sums are read as texts, since they have more digits than 64 bits hold.
type sums []string

// parse puts the sums into their places.
func (s sums) parse(into ...*unit.Sum) error {
	for i, text := range s {
		n, err := parseSum(text)
		if err != nil {
			return err
		}
		*into[i] = n
	}
	return nil
}

// checkAmounts makes sure that all amounts can be summed. Validation has seen that
// they can; they may have been changed since.
func (s *summing) checkAmounts(ctx context.Context) error {
	for _, of := range []struct{ query, what string }{
		{`SELECT conv_id, revenue FROM {conversions} v WHERE NOT abs(revenue) < 9e14 LIMIT 1`, "conversions, conv_id %s: the revenue %v is no amount that can be summed; correct it and run again"},
		{`SELECT session_id, cost FROM {costs} c WHERE NOT abs(cost) < 9e12 LIMIT 1`, "session_costs, session_id %s: the cost %v is no amount that can be summed; correct it and run again"},
	} {
		var id string
		var amount float64
		err := s.tx.QueryRow(ctx, s.in(of.query)).Scan(&id, &amount)
		if err == nil {
			return errkind.Inputf(of.what, human.QuoteText(id), amount)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
	return nil
}

// at returns the sums of a channel and date; channel is nil for other channels
// than the one asked for.
func (s *summing) at(channel *string, date string) *group {
	k := key{Channel: elsewhere, Date: date}
	if channel != nil {
		k.Channel = *channel
	}
	if s.groups[k] == nil {
		s.groups[k] = &group{}
	}
	return s.groups[k]
}

// inDates says whether sessions of a date are those of a narrower range.
func (s *summing) inDates(date string) bool { return s.Ranged && run.InRange(s.req, date) }

// readSessions makes the groups: a channel and date that has any session has one,
// whatever they cost or earned.
func (s *summing) readSessions(ctx context.Context) error {
	var channel *string
	var date, cost string
	var without int64
	return s.each(ctx, `SELECT {dimension}, s.event_date, coalesce(sum(c.units), 0)::text, count(*) FILTER (WHERE c.session_id IS NULL)
		FROM {sessions} s LEFT JOIN {costs} c ON c.session_id = s.session_id GROUP BY 1, 2`, nil, []any{&channel, &date, &cost, &without}, func() error {
		n, err := parseSum(cost)
		g := s.at(channel, date)
		g.cost = g.cost.Plus(n)
		s.Cost = s.Cost.Plus(n)
		s.WithoutCost += without
		if s.inDates(date) {
			s.Dates.Cost = s.Dates.Cost.Plus(n)
		}
		return err
	})
}

// readAttributions adds what sessions earned, by the date of the session.
func (s *summing) readAttributions(ctx context.Context) error {
	var channel, date *string
	var own, known bool
	var rows int64
	texts := make(sums, 3)
	return s.each(ctx, `SELECT v.conv_id IS NOT NULL AND s.session_id IS NOT NULL AS known, {dimension}, s.event_date,
			coalesce(v.conv_date COLLATE "C" BETWEEN $1 AND $2, false), count(*), coalesce(sum(a.share), 0)::text,
			coalesce(sum(a.share) FILTER (WHERE v.units < 0), 0)::text, coalesce(sum(a.share::numeric * v.units), 0)::text
		FROM {attributions} a LEFT JOIN {conversions} v ON v.conv_id = a.conv_id LEFT JOIN {sessions} s ON s.session_id = a.session_id GROUP BY 1, 2, 3, 4`,
		[]any{s.start, s.end}, []any{&known, &channel, &date, &own, &rows, &texts[0], &texts[1], &texts[2]}, func() error {
			if !known {
				s.Orphans += rows
				return nil
			}
			var share, refunded, credit unit.Sum
			if err := texts.parse(&share, &refunded, &credit); err != nil {
				return err
			}
			g := s.at(channel, *date)
			g.share, g.refunded, g.credit = g.share.Plus(share), g.refunded.Plus(refunded), g.credit.Plus(credit)
			s.Share, s.Refunded, s.Credit = s.Share.Plus(share), s.Refunded.Plus(refunded), s.Credit.Plus(credit)
			if own {
				s.Range.Touchpoints += rows
				s.Range.Share, s.Range.Refunded, s.Range.Credit = s.Range.Share.Plus(share), s.Range.Refunded.Plus(refunded), s.Range.Credit.Plus(credit)
			}
			if !s.inDates(*date) {
				return nil
			}
			s.Dates.Share, s.Dates.Refunded, s.Dates.Credit = s.Dates.Share.Plus(share), s.Dates.Refunded.Plus(refunded), s.Dates.Credit.Plus(credit)
			if own {
				s.Dates.OwnShare, s.Dates.OwnRefunded, s.Dates.OwnCredit = s.Dates.OwnShare.Plus(share), s.Dates.OwnRefunded.Plus(refunded), s.Dates.OwnCredit.Plus(credit)
			}
			return nil
		})
}

// checkShares counts what is no share, and conversions whose shares do not sum to
// 1 within a thousandth. Of examples the first in the order of text is kept.
func (s *summing) checkShares(ctx context.Context) error {
	var conv, session string
	least := func(n *int64, example *string, text string) {
		if *n == 0 || text < *example {
			*example = text
		}
		*n++
	}
	var odd, uneven, some bool
	err := s.each(ctx, `SELECT conv_id, bool_or(odd), abs(sum(share) - 1000000000000000) > 1000000000000 FROM {attributions} a GROUP BY conv_id
		HAVING bool_or(odd) OR abs(sum(share) - 1000000000000000) > 1000000000000`, nil, []any{&conv, &odd, &uneven}, func() error {
		some = some || odd
		if uneven {
			least(&s.Uneven, &s.UnevenExample, "conv_id "+human.QuoteText(conv))
		}
		return nil
	})
	if err != nil || !some {
		return err
	}
	return s.each(ctx, `SELECT conv_id, session_id FROM {attributions} a WHERE odd`, nil, []any{&conv, &session}, func() error {
		least(&s.NoShare, &s.NoShareExample, "conv_id "+human.QuoteText(conv)+", session_id "+human.QuoteText(session))
		return nil
	})
}

// attributed is the conversions that have attributions.
const attributed = `(SELECT conv_id::text AS conv_id FROM attribution_customer_journey GROUP BY 1)`

// readConversions counts the conversions in range and adds up their revenue.
func (s *summing) readConversions(ctx context.Context) error {
	r := &s.Range
	texts := make(sums, 4)
	err := s.tx.QueryRow(ctx, s.in(`SELECT count(*), count(a.conv_id), count(*) FILTER (WHERE units < 0), count(a.conv_id) FILTER (WHERE units < 0),
			coalesce(sum(units), 0)::text, coalesce(sum(units) FILTER (WHERE units < 0), 0)::text,
			coalesce(sum(units) FILTER (WHERE a.conv_id IS NOT NULL), 0)::text, coalesce(sum(abs(units)) FILTER (WHERE a.conv_id IS NOT NULL), 0)::text
		FROM {conversions} v LEFT JOIN `+attributed+` a ON a.conv_id = v.conv_id WHERE v.conv_date COLLATE "C" BETWEEN $1 AND $2`), s.start, s.end).
		Scan(&r.Conversions, &r.Attributed, &r.Refunds, &r.RefundsAttributed, &texts[0], &texts[1], &texts[2], &texts[3])
	if err != nil {
		return err
	}
	return texts.parse(&r.All, &r.RefundRevenue, &r.Revenue, &r.Gross)
}

// readKnownCosts sums session_costs by a join of its own.
func (s *summing) readKnownCosts(ctx context.Context) error {
	texts := make(sums, 2)
	err := s.tx.QueryRow(ctx, s.in(`SELECT coalesce(sum(units) FILTER (WHERE s.session_id IS NOT NULL), 0)::text,
			coalesce(sum(units) FILTER (WHERE s.event_date COLLATE "C" BETWEEN $1 AND $2), 0)::text, count(*) FILTER (WHERE s.session_id IS NULL)
		FROM {costs} c LEFT JOIN {sessions} s ON s.session_id = c.session_id`), s.start, s.end).Scan(&texts[0], &texts[1], &s.WithoutSession)
	if err != nil {
		return err
	}
	var dates unit.Sum
	if err := texts.parse(&s.KnownCosts, &dates); err != nil || !s.Ranged {
		return err
	}
	s.Dates.KnownCosts = dates
	return nil
}

// micros spells a time of day with six decimals, so that times compare as text.
func micros(column string) string {
	return "(substr(" + column + ", 1, 8)||'.'||substr(substr(" + column + ", 10)||'000000', 1, 6))"
}

// readDates counts the conversions after the range that have sessions in it and
// no attribution. Journeys end before their conversion, so that none before the
// range has any.
func (s *summing) readDates(ctx context.Context) error {
	if s.req.GetEndDate() == "" {
		return nil
	}
	lookback := int64(s.req.GetLookbackDays())
	session, sale := "s.event_date", "c.conv_date" // in UTC, as journeys are read
	if s.elsewhen != "" {
		session, sale = "s.utc_date", "c.utc_date"
	}
	return s.tx.QueryRow(ctx, s.in(`SELECT count(DISTINCT v.conv_id) FROM {sessions} s JOIN (
			SELECT c.conv_id, c.user_id, CASE WHEN $3::bigint > 0 THEN to_char((`+sale+`||' '||`+micros("c.conv_time")+`)::timestamp - $3::bigint * interval '1 day', 'YYYY-MM-DD HH24:MI:SS.US') ELSE '' END AS earliest
			FROM {conversions} c LEFT JOIN `+attributed+` a ON a.conv_id = c.conv_id WHERE c.conv_date COLLATE "C" > $2 AND a.conv_id IS NULL) v ON v.user_id = s.user_id
		WHERE s.event_date COLLATE "C" BETWEEN $1 AND $2 AND (`+session+`||' '||`+micros("s.event_time")+`) COLLATE "C" >= v.earliest`), s.start, s.end, lookback).Scan(&s.Dates.NeverAttributed)
}
