package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/books"
)

// mostReasons is how many reasons a report has.
const mostReasons = 100

// entry is what the ledger has of a run.
type entry struct {
	run                      int64 // its number, 0 for a run that the ledger does not know
	conversions, touchpoints int64 // that have an outcome; of those attributed
}

// findEntry returns what the ledger has of the run.
func (s *summing) findEntry(ctx context.Context) (e entry, err error) {
	if there, err := hasTables(ctx, s.tx, "pipeline_runs", "pipeline_journeys"); err != nil || !there {
		return e, err
	}
	err = s.tx.QueryRow(ctx, `SELECT r.run, coalesce(sum(c.conversions), 0)::bigint, coalesce(sum(c.touchpoints), 0)::bigint
		FROM pipeline_runs r LEFT JOIN pipeline_counts c ON c.run = r.run AND c.outcome <> 'reused' WHERE r.run_id = $1 GROUP BY r.run`, s.req.GetRunId()).
		Scan(&e.run, &e.conversions, &e.touchpoints)
	if errors.Is(err, pgx.ErrNoRows) {
		return entry{}, nil
	}
	return e, err
}

// readOutcomes counts the outcomes of the run by reason, with the revenue of
// those conversions that are in range and have no attribution.
func (s *summing) readOutcomes(ctx context.Context) error {
	e, err := s.findEntry(ctx)
	if err != nil || e.run == 0 {
		return err
	}
	o, units := &outcome{}, ""
	return s.each(ctx, `SELECT o.outcome, o.reason, count(*), min(o.conv_id), count(v.conv_id), count(v.conv_id) FILTER (WHERE a.conv_id IS NULL),
			coalesce(sum(v.units) FILTER (WHERE a.conv_id IS NULL), 0)::text, sum(o.sessions)::bigint
		FROM pipeline_outcomes o LEFT JOIN (SELECT conv_id, units FROM {conversions} c WHERE conv_date COLLATE "C" BETWEEN $1 AND $2) v ON v.conv_id = o.conv_id
			LEFT JOIN `+attributed+` a ON a.conv_id = v.conv_id
		WHERE o.run = $3 GROUP BY o.outcome, o.reason ORDER BY o.outcome, count(*) DESC, o.reason`, []any{s.start, s.end, e.run},
		[]any{&o.name, &o.reason, &o.conversions, &o.example, &o.there, &o.left, &units, &o.sessions}, func() (err error) {
			o.revenue, err = parseSum(units)
			s.addOutcome(o)
			return err
		})
}

// addOutcome adds what became of some of the run's conversions.
func (s *summing) addOutcome(o *outcome) {
	if o.name == books.Gone {
		s.Changes.Went += int64(o.conversions)
		s.Changes.WentAttributed += int64(o.conversions)
		s.Changes.WentTouchpoints += o.sessions
		return
	}
	s.Changes.Went += int64(o.conversions) - o.there
	s.Range.Unattributed += o.left
	s.Range.UnattributedRevenue = s.Range.UnattributedRevenue.Plus(o.revenue)
	if len(s.Reasons) < mostReasons {
		s.Reasons = append(s.Reasons, reasonCount(o))
	}
}

func reasonCount(o *outcome) *ihcv1.ReasonCount {
	return &ihcv1.ReasonCount{Kind: run.OutcomeKind(o.name), Reason: o.reason, Conversions: o.conversions, ExampleConvId: o.example,
		Revenue: o.revenue.Decimal(unit.MoneyDecimals).String()}
}

// lastOutcomes returns a term for what the ledger last recorded of conversions.
func (s *summing) lastOutcomes(ctx context.Context) (term string, err error) {
	there, err := hasTables(ctx, s.tx, "pipeline_outcomes")
	if !there {
		return `(SELECT '' AS conv_id, '' AS outcome, '' AS reason WHERE false)`, err
	}
	return `(SELECT DISTINCT ON (conv_id) conv_id, outcome, reason FROM pipeline_outcomes WHERE outcome <> '` + books.Gone + `' ORDER BY conv_id, run DESC)`, err
}

// readUnattributed counts the conversions in range without an attribution by
// what the ledger last recorded of them.
func (s *summing) readUnattributed(ctx context.Context) error {
	last, err := s.lastOutcomes(ctx)
	if err != nil {
		return err
	}
	o, units := &outcome{}, ""
	return s.each(ctx, `SELECT coalesce(o.outcome, '') COLLATE "C", coalesce(o.reason, '') COLLATE "C", count(*), min(v.conv_id COLLATE "C"), sum(v.units)::text
		FROM {conversions} v LEFT JOIN `+attributed+` a ON a.conv_id = v.conv_id LEFT JOIN `+last+` o ON o.conv_id = v.conv_id
		WHERE v.conv_date COLLATE "C" BETWEEN $1 AND $2 AND a.conv_id IS NULL GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2`, []any{s.start, s.end},
		[]any{&o.name, &o.reason, &o.conversions, &o.example, &units}, func() (err error) {
			o.revenue, err = parseSum(units)
			s.addUnattributed(o)
			return err
		})
}

// addUnattributed adds conversions in range without an attribution.
func (s *summing) addUnattributed(o *outcome) {
	if len(s.Unattributed) == mostReasons {
		s.UnattributedRest += int64(o.conversions)
		return
	}
	s.Unattributed = append(s.Unattributed, reasonCount(o))
}

// ofRun is what a run has in the journal, with what it uses of other runs.
const ofRun = `(SELECT conv_id, sessions, strategy, model, left_out FROM pipeline_journeys WHERE run = {run} AND chunk > 0
	UNION ALL SELECT conv_id, sessions, strategy, model, left_out FROM pipeline_reused u JOIN pipeline_journeys j USING (journey) WHERE u.run = {run})`

// readApproximations counts the run's conversions that were not scored whole and
// by its model.
func (s *summing) readApproximations(ctx context.Context) error {
	e, err := s.findEntry(ctx)
	if err != nil || e.run == 0 {
		return err
	}
	var strategy, model string
	var conversions, out uint64
	return s.each(ctx, numbered(`SELECT strategy, coalesce(model, '') COLLATE "C", count(*), sum(left_out)::bigint FROM `+ofRun+` j WHERE strategy IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2`, e.run), nil,
		[]any{&strategy, &model, &conversions, &out}, func() error {
			s.Approximations = append(s.Approximations, &ihcv1.ApproximationCount{Strategy: strategy, Model: model, Conversions: conversions, SessionsLeftOut: out})
			return nil
		})
}

// readChanges finds the conversions that came or went since the run read them,
// and the sessions that went.
// It is done after all else, and only where the counts differ, since it looks
// at every conversion of the run.
func (s *summing) readChanges(ctx context.Context) error {
	e, err := s.findEntry(ctx)
	if err != nil || e.run == 0 {
		return err
	}
	if s.Range.Conversions != s.Range.Attributed+s.Range.Unattributed {
		if err := s.readCame(ctx, e.run); err != nil {
			return err
		}
	}
	more := func() int64 { return s.Range.Conversions - s.Changes.Came + s.Changes.Went - e.conversions }
	if more() != 0 || s.Range.Touchpoints+s.Changes.WentTouchpoints != e.touchpoints {
		if err := s.readWent(ctx, e.run); err != nil {
			return err
		}
	}
	if n := more(); n > 0 {
		if err := s.readOthers(ctx, e.run, n); err != nil {
			return err
		}
	}
	if s.Range.Touchpoints-s.Changes.CameTouchpoints+s.Changes.WentTouchpoints != e.touchpoints {
		return s.readGone(ctx)
	}
	return nil
}

// unknown are the conversions in range that the run knows nothing of.
const unknown = ` v.conv_date COLLATE "C" BETWEEN $1 AND $2
	AND NOT EXISTS (SELECT 1 FROM pipeline_outcomes o WHERE o.run = {run} AND o.outcome <> '` + books.Gone + `' AND o.conv_id = v.conv_id)
	AND NOT EXISTS (SELECT 1 FROM ` + ofRun + ` j WHERE j.conv_id = v.conv_id)`

// readCame finds those that have no attribution.
func (s *summing) readCame(ctx context.Context, run int64) error {
	var revenue string
	err := s.tx.QueryRow(ctx, s.in(numbered(`SELECT count(*), coalesce(sum(v.units), 0)::text FROM {conversions} v LEFT JOIN `+attributed+` a ON a.conv_id = v.conv_id
		WHERE a.conv_id IS NULL AND`+unknown, run)), s.start, s.end).Scan(&s.Changes.Came, &revenue)
	if err != nil {
		return err
	}
	s.Changes.CameRevenue, err = parseSum(revenue)
	return err
}

// readWent finds the conversions that the run attributed and wrote, and that
// are not in range any more.
func (s *summing) readWent(ctx context.Context, run int64) error {
	var conversions, touchpoints int64
	err := s.tx.QueryRow(ctx, s.in(numbered(`SELECT count(*), coalesce(sum(cardinality(sessions)), 0)::bigint FROM `+ofRun+` j
		WHERE NOT EXISTS (SELECT 1 FROM {conversions} v WHERE v.conv_id = j.conv_id AND v.conv_date COLLATE "C" BETWEEN $1 AND $2)`, run)), s.start, s.end).Scan(&conversions, &touchpoints)
	s.Changes.Went += conversions
	s.Changes.WentAttributed += conversions
	s.Changes.WentTouchpoints += touchpoints
	return err
}

// readOthers finds those that another run or program attributed. Where there are
// not just as many as are to be explained, that other run has taken the run's own
// ones over, and nothing can be said.
func (s *summing) readOthers(ctx context.Context, run, want int64) error {
	var conversions, touchpoints int64
	err := s.tx.QueryRow(ctx, s.in(numbered(`SELECT count(DISTINCT v.conv_id), count(s.session_id)
		FROM {conversions} v JOIN {attributions} a ON a.conv_id = v.conv_id LEFT JOIN {sessions} s ON s.session_id = a.session_id WHERE`+unknown, run)), s.start, s.end).Scan(&conversions, &touchpoints)
	if err == nil && conversions == want {
		s.Changes.CameAttributed, s.Changes.CameTouchpoints = conversions, touchpoints
	}
	return err
}

// readGone adds up what the run gave to sessions that are not there any more.
func (s *summing) readGone(ctx context.Context) error {
	c, texts := &s.Changes, make(sums, 3)
	err := s.tx.QueryRow(ctx, s.in(`SELECT count(DISTINCT a.session_id), count(*), coalesce(sum(a.share), 0)::text,
			coalesce(sum(a.share) FILTER (WHERE v.units < 0), 0)::text, coalesce(sum(a.share::numeric * v.units), 0)::text
		FROM {attributions} a JOIN {conversions} v ON v.conv_id = a.conv_id LEFT JOIN {sessions} s ON s.session_id = a.session_id
		WHERE s.session_id IS NULL AND NOT a.odd AND v.conv_date COLLATE "C" BETWEEN $1 AND $2`), s.start, s.end).Scan(&c.Sessions, &c.SessionTouchpoints, &texts[0], &texts[1], &texts[2])
	if err != nil {
		return err
	}
	return texts.parse(&c.SessionShare, &c.SessionRefunded, &c.SessionCredit)
}
