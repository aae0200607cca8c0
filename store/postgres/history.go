package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
)

// comparing compares the report under way with the last one, conversion by
// conversion, while the journal is read for it: what the last report told of each
// is in pipeline_told. Only what differs is written. See ADR 0022.
type comparing struct {
	*history.Comparison
	channels history.Channels
	settings history.Settings

	tx     pgx.Tx // the report's
	run    int64
	again  bool  // the run has a report already
	report int64 // number of the last one, 0 for none
	first  bool  // nothing was told before
}

// openHistory returns nil where the ledger does not know the run.
func openHistory(ctx context.Context, tx pgx.Tx, run string) (*comparing, error) {
	h := &comparing{tx: tx, settings: history.Settings{}}
	h.Comparison = history.Compare(&h.channels)
	err := tx.QueryRow(ctx, `SELECT run, report IS NOT NULL, (SELECT coalesce(max(report), 0) FROM pipeline_runs), NOT EXISTS (SELECT 1 FROM pipeline_told)
		FROM pipeline_runs WHERE run_id = $1`, run).Scan(&h.run, &h.again, &h.report, &h.first)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // as the comment says
	}
	if err != nil {
		return nil, err
	}
	var n int64
	var name, request string
	var scoring []byte
	rows, err := tx.Query(ctx, `SELECT channel, name FROM pipeline_channels ORDER BY channel`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&n, &name}, func() error { return h.channels.Enter(n, name) })
	}
	if err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, `SELECT run, scoring, request FROM pipeline_runs`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&n, &scoring, &request}, func() error {
			h.settings.Enter(n, slices.Clone(scoring), request)
			return nil
		})
	}
	return h, err
}

// tell compares what is told of a conversion with what was told of it before, nil
// for nothing, and says whether that differs.
func (h *comparing) tell(was, now *history.Told) (differs bool, err error) {
	switch {
	case was == nil:
		err = h.New(now)
	case was.Journey != now.Journey:
		err = h.Changed(h.settings.Cause(was, now), was, now)
	case was.Same(now):
		return false, nil
	default: // the sessions of the same row are the same
		now.Sessions = was.Sessions
		err = h.Changed(store.ChangedJourneys, was, now)
	}
	now.Credit = append([]byte{}, now.Credit...) // its own, and none is empty, and not NULL
	return true, err
}

var toldInto = []string{"conv_id", "journey", "run", "fingerprint", "sessions", "revenue", "credit"}

// write writes down what was told and differs.
func (h *comparing) write(ctx context.Context, all []history.Told) error {
	if h.first { // there is nothing that could be in the way
		var rows rowsOf
		for _, t := range all {
			rows.add(t.Conv, t.Journey, t.Run, t.Fingerprint, t.Sessions, int64(t.Revenue), t.Credit)
		}
		return rows.into(ctx, h.tx, "pipeline_told", toldInto...)
	}
	var convs []string
	var journeys, runs, sessions, revenues []int64
	var fingerprints, credits [][]byte
	for _, t := range all {
		convs, journeys, runs, sessions, revenues = append(convs, t.Conv), append(journeys, t.Journey), append(runs, t.Run), append(sessions, t.Sessions), append(revenues, int64(t.Revenue))
		fingerprints, credits = append(fingerprints, t.Fingerprint), append(credits, t.Credit)
	}
	_, err := h.tx.Exec(ctx, `INSERT INTO pipeline_told (`+strings.Join(toldInto, ", ")+`)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[])
		ON CONFLICT (conv_id) DO UPDATE SET journey = EXCLUDED.journey, run = EXCLUDED.run, fingerprint = EXCLUDED.fingerprint, sessions = EXCLUDED.sessions,
			revenue = EXCLUDED.revenue, credit = EXCLUDED.credit`, convs, journeys, runs, fingerprints, sessions, revenues, credits)
	return err
}

// record writes down what channels come to and by how much that differs from the
// last report, by cause. A run that has a report already is not told as another:
// what changed since the last report is added to that one.
func (s *summing) record(ctx context.Context) error {
	h := s.history
	if h == nil {
		return nil
	}
	if !h.first { // all that is told is of this report
		if err := s.forgetTold(ctx); err != nil {
			return err
		}
	}
	before, err := readTotals(ctx, h.tx, h.report)
	if err != nil {
		return err
	}
	sums := map[string]history.Sums{}
	for k, g := range s.groups {
		if k.channel != elsewhere {
			sums[k.channel] = sums[k.channel].Plus(history.Sums{Share: g.share, Credit: g.credit, Cost: g.cost})
		}
	}
	now := history.Totals(sums)
	why := h.Causes(before, now)
	if h.again {
		same, err := readChanges(ctx, h.tx, h.report-1, h.report)
		if err != nil {
			return err
		}
		why.Add(same)
	} else {
		h.report++
		if _, err := h.tx.Exec(ctx, `UPDATE pipeline_runs SET report = $2 WHERE run = $1`, h.run, h.report); err != nil {
			return err
		}
	}
	return h.store(ctx, now, why)
}

// forgetTold takes out what was told and is not told any more.
func (s *summing) forgetTold(ctx context.Context) error {
	h := s.history
	var t history.Told
	var revenue int64
	return s.each(ctx, `DELETE FROM pipeline_told t WHERE NOT EXISTS (SELECT 1 FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey AND j.conv_id = l.conv_id
			JOIN {conversions} v ON v.conv_id = j.conv_id WHERE j.conv_id = t.conv_id) RETURNING t.conv_id, t.revenue, t.credit`, nil,
		[]any{&t.Conv, &revenue, &t.Credit}, func() error {
			t.Revenue = unit.Money(revenue)
			return h.Removed(&t)
		})
}

// store writes the report's totals and changes.
func (h *comparing) store(ctx context.Context, now history.Amounts, why history.Changes) error {
	var channels, totals, changes rowsOf
	err := h.channels.New(func(n int64, name string) error {
		channels.add(n, name)
		return nil
	})
	if err != nil {
		return err
	}
	for _, channel := range slices.Sorted(maps.Keys(now)) {
		a := now[channel]
		totals.add(h.report, channel, exactly(a.IHC), exactly(a.Revenue), exactly(a.Cost))
	}
	for _, cause := range store.Causes {
		for _, channel := range slices.Sorted(maps.Keys(why[cause])) {
			if a := why[cause][channel]; !a.IsZero() {
				changes.add(h.report, channel, string(cause), exactly(a.IHC), exactly(a.Revenue), exactly(a.Cost))
			}
		}
	}
	return errors.Join(
		exec(ctx, h.tx, []string{`DELETE FROM pipeline_totals WHERE report = $1`, `DELETE FROM pipeline_changes WHERE report = $1`}, h.report),
		channels.into(ctx, h.tx, "pipeline_channels", "channel", "name"),
		totals.into(ctx, h.tx, "pipeline_totals", "report", "channel", "ihc", "ihc_revenue", "cost"),
		changes.into(ctx, h.tx, "pipeline_changes", "report", "channel", "cause", "ihc", "ihc_revenue", "cost"))
}

// exactly returns an amount as PostgreSQL's numeric.
func exactly(d decimal.Decimal) pgtype.Numeric {
	return pgtype.Numeric{Int: d.Coefficient(), Exp: d.Exponent(), Valid: true}
}

// readTotals returns what a report came to; nothing for the report 0.
func readTotals(ctx context.Context, tx pgx.Tx, report int64) (history.Amounts, error) {
	all := history.Amounts{}
	err := readAmounts(ctx, tx, `SELECT channel, '', ihc::text, ihc_revenue::text, cost::text FROM pipeline_totals WHERE report = $1`, []any{report},
		func(channel, _ string, a store.Amounts) { all[channel] = a })
	return all, err
}

// readChanges adds up the changes of the reports after the first up to the last.
func readChanges(ctx context.Context, tx pgx.Tx, first, last int64) (history.Changes, error) {
	all := history.Changes{}
	err := readAmounts(ctx, tx, `SELECT channel, cause, ihc::text, ihc_revenue::text, cost::text FROM pipeline_changes WHERE report > $1 AND report <= $2`, []any{first, last},
		func(channel, cause string, a store.Amounts) { all.Put(store.Cause(cause), channel, a) })
	return all, err
}

func readAmounts(ctx context.Context, tx pgx.Tx, query string, args []any, do func(channel, cause string, a store.Amounts)) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	var channel, cause string
	var a store.Amounts
	_, err = pgx.ForEachRow(rows, []any{&channel, &cause, &a.IHC, &a.Revenue, &a.Cost}, func() error {
		do(channel, cause, a)
		return nil
	})
	return err
}

// Runs implements [store.Reports].
func (d *Database) Runs(ctx context.Context) (all []store.KnownRun, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		known, err := hasTables(ctx, tx, "pipeline_runs")
		if err != nil || !known {
			return err
		}
		there, err := hasTables(ctx, tx, "pipeline_totals")
		if err != nil {
			return err
		}
		if !there {
			return history.NoTables(d.name)
		}
		all, err = readRecords(ctx, tx)
		return err
	})
	return all, err
}

func readRecords(ctx context.Context, tx pgx.Tx) (all history.Records, err error) {
	rows, err := tx.Query(ctx, `SELECT run_id, request, scored_by, model, program, source, status, coalesce(report, 0), dropped = 1, asked, coalesce(expected_range, 0) FROM pipeline_runs ORDER BY run`)
	if err != nil {
		return nil, err
	}
	var r history.Record
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Request, &r.ScoredBy, &r.Model, &r.Program, &r.Source, &r.Status, &r.Report, &r.Dropped, &r.Asked, &r.InRange}, func() error {
		all = append(all, r)
		return nil
	})
	return all, err
}

// Difference implements [store.Reports].
func (d *Database) Difference(ctx context.Context, first, second string) (diff *store.Difference, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) error {
		there, err := hasTables(ctx, tx, "pipeline_totals", "pipeline_changes")
		if err != nil {
			return err
		}
		if !there {
			return history.NoTables(d.name)
		}
		all, err := readRecords(ctx, tx)
		if err != nil {
			return err
		}
		from, to, err := all.Choose(first, second)
		if err != nil {
			return err
		}
		before, err1 := readTotals(ctx, tx, from.Report)
		after, err2 := readTotals(ctx, tx, to.Report)
		why, err3 := readChanges(ctx, tx, from.Report, to.Report)
		diff = history.Difference(from, to, before, after, why)
		return errors.Join(err1, err2, err3)
	})
	if err != nil {
		return nil, err
	}
	return diff, nil
}
