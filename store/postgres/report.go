package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// Rebuild implements [store.Reports].
func (d *Database) Rebuild(ctx context.Context, req *ihcv1.RunRequest) (t *store.Totals, err error) {
	err = d.ledger(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) (err error) {
		// Before anything is seen: of two that rebuild, the second sees what the
		// first has written.
		if _, err := tx.Exec(ctx, `LOCK TABLE channel_reporting IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		s := &summing{d: d, tx: tx, req: req, work: store.Begin(ctx), Totals: &store.Totals{}}
		s.work.Expect(1)
		if s.history, err = openHistory(ctx, tx, req.GetRunId()); err != nil {
			return err
		}
		if err := s.sum(ctx); err != nil {
			return err
		}
		if err := s.record(ctx); err != nil {
			return fmt.Errorf("record what changed: %w", err)
		}
		t = s.Totals
		if err := s.replaceReport(ctx); err != nil {
			return err
		}
		refunded := map[key]float64{}
		for _, r := range t.Rows {
			refunded[key{Channel: r.Channel, Date: r.Date}] = r.Refunded
		}
		if t.Rows, err = readBack(ctx, tx); err != nil {
			return err
		}
		for i, r := range t.Rows {
			t.Rows[i].Refunded = refunded[key{Channel: r.Channel, Date: r.Date}]
		}
		t.Subtract, t.Replay = run.SubtractsRefunds(req), req.GetReplayOf() != ""
		t.Covered = covered(t.Rows, req)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rebuild channel_reporting: %w", err)
	}
	return t, nil
}

// replaceReport writes the rows to channel_reporting.
func (s *summing) replaceReport(ctx context.Context) error {
	if _, err := s.tx.Exec(ctx, `DELETE FROM channel_reporting`); err != nil {
		return fmt.Errorf("empty channel_reporting: %w", err)
	}
	byKey := slices.SortedFunc(slices.Values(s.Rows), func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Date, b.Date))
	})
	var rows rowsOf
	for _, r := range byKey {
		rows.add(r.Channel, r.Date, r.Cost, r.IHC, r.IHCRevenue)
	}
	if err := rows.into(ctx, s.tx, tables.ChannelReporting, "channel_name", "date", "cost", "ihc", "ihc_revenue"); err != nil {
		return fmt.Errorf("write channel_reporting: %w", err)
	}
	return nil
}

func readBack(ctx context.Context, tx pgx.Tx) ([]store.Row, error) {
	rows, err := tx.Query(ctx, `SELECT channel_name::text, date::text, cost::double precision, ihc::double precision, ihc_revenue::double precision, 0::double precision FROM channel_reporting`)
	if err != nil {
		return nil, fmt.Errorf("read channel_reporting: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[store.Row])
	if err != nil || len(all) == 0 {
		return nil, err
	}
	slices.SortFunc(all, store.Row.Compare)
	return all, nil
}

// Survey implements [store.Reports].
func (d *Database) Survey(ctx context.Context, req *ihcv1.RunRequest, v store.View) (t *store.Totals, err error) {
	if _, err := civil.Zone(v.Zone); err != nil {
		return nil, fmt.Errorf("time zone %w", err)
	}
	column, channel := v.Column, v.Channel
	err = d.reading(ctx, func(tx pgx.Tx) error {
		for _, table := range tables.All[:4] {
			if there, err := hasTables(ctx, tx, table); err != nil {
				return err
			} else if !there {
				return errkind.Inputf("there is no table %s: `ihc run --db %s` makes the results that a report is of", table, strings.Trim(d.name, `"`))
			}
		}
		s := &summing{d: d, tx: tx, req: req, column: column, channel: channel, zone: v.Zone, Totals: &store.Totals{}}
		if column != "" {
			others, err := dimensions(ctx, tx)
			if err != nil {
				return err
			}
			if err := v.Check(others); err != nil {
				return err
			}
		}
		t = s.Totals
		return s.sum(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("sum up the tables: %w", err)
	}
	return t, nil
}

// Dimensions implements [store.Reports].
func (d *Database) Dimensions(ctx context.Context) (names []string, err error) {
	err = d.reading(ctx, func(tx pgx.Tx) (err error) {
		names, err = dimensions(ctx, tx)
		return err
	})
	return names, err
}

func dimensions(ctx context.Context, tx pgx.Tx) (names []string, err error) {
	columns, err := describe(ctx, tx, tables.SessionSources)
	own := contract[tables.SessionSources]
	for _, c := range columns {
		if !slices.ContainsFunc(own, func(o column) bool { return strings.EqualFold(o.name, c.Name) }) {
			names = append(names, c.Name)
		}
	}
	return names, err
}

// key is what a row of channel_reporting is about.
type key = sessionindex.Key

// group is what a channel and date add up to.
type group struct{ cost, share, refunded, credit unit.Sum }

// summing is one reading of the four tables. PostgreSQL adds up, and exactly: by
// whole numbers of any size.
type summing struct {
	*store.Totals
	d    *Database
	tx   pgx.Tx
	req  *ihcv1.RunRequest
	from sources
	// What sessions are summed by; empty for channels. See [store.Reports].
	column, channel string
	zone            string // whose dates sessions and conversions have; "" for UTC
	elsewhen        string // where it is another date there, as SQL: see [summing.useZone]
	start, end      string // of the range
	groups          map[key]*group
	history         *comparing     // nil where none is kept
	work            *store.Counter // of 1; nil where nobody listens
	journey         float64        // what each journey of the journal takes of that
}

// elsewhere stands for the sessions of other channels than the one asked for.
const elsewhere = "\x00elsewhere"

// dimension returns the term that sessions are summed by, of a column other where
// there is one: NULL for the sessions of other channels than the one asked for.
func (s *summing) dimension() string {
	switch {
	case s.column == "":
		return `s.channel_name`
	case s.channel == "":
		return `coalesce(s.other, '')`
	default:
		return `CASE WHEN s.channel_name = ` + literal(s.channel) + ` THEN coalesce(s.other, '') END`
	}
}

// literal quotes a text for SQL.
func literal(text string) string {
	return `E'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + `'`
}

// in replaces the names of sources in a query.
func (s *summing) in(query string) string {
	other := ""
	if s.column != "" {
		other = `, ` + identifier(s.column) + `::text AS other`
	}
	from := s.from
	sessions, conversions := strings.ReplaceAll(from["{sessions}"], "{other}", other), from["{conversions}"]
	if s.elsewhen != "" {
		columns := []string{"session_id", "user_id", "channel_name"}
		if s.column != "" {
			columns = append(columns, "other")
		}
		sessions = s.zoned(sessions, "event_date", "event_time", columns...)
		conversions = s.zoned(conversions, "conv_date", "conv_time", "conv_id", "user_id", "revenue", "units")
	}
	return from.in(query, "{dimension}", s.dimension(), "{sessions}", sessions, "{conversions}", conversions)
}

// raw calls do with the columns of each row of a query, in binary: see
// [inBinary]. They are of no use after that.
func (s *summing) raw(ctx context.Context, query string, do func([][]byte) error) error {
	rows, err := s.tx.Query(ctx, s.in(query), inBinary...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows.RawValues()); err != nil {
			return err
		}
	}
	return rows.Err()
}

// each reads the rows of a query into the variables, and calls do for each.
func (s *summing) each(ctx context.Context, query string, args, into []any, do func() error) error {
	rows, err := s.tx.Query(ctx, s.in(query), args...)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, do)
	return err
}

// sum adds everything up.
func (s *summing) sum(ctx context.Context) (err error) {
	if err := inBulk(ctx, s.tx); err != nil {
		return err
	}
	if s.from, err = findSources(ctx, s.tx); err != nil {
		return err
	}
	s.start, s.end = run.Range(s.req)
	s.Ranged, s.groups = ranged(s.req), map[key]*group{}
	err = s.inSteps(ctx, []step{
		{"find the dates in the time zone", 0, s.useZone},
		{"read the amounts", 0.02, s.checkAmounts},
		{"add up the tables", 0, s.readTables}, // which has steps of its own
		{"read the journal of the run", 0.005, s.readApproximations},
		{"find what came and went", 0.02, s.readChanges},
	})
	if err != nil {
		return err
	}
	s.Rows = s.rows()
	s.Covered = covered(s.Rows, s.req)
	return nil
}

// step is a part of a reading, what it is called in messages, and how much of a report
// it takes, from 0 to 1.
type step struct {
	what string
	part float64
	do   func(context.Context) error
}

func (s *summing) inSteps(ctx context.Context, steps []step) error {
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		s.work.Add(step.part)
	}
	return nil
}

// readTables adds up the tables: here where there is room for the shop, and
// otherwise on the server, whose joins go to its disk.
func (s *summing) readTables(ctx context.Context) error {
	sessions, conversions, err := s.count(ctx)
	if err != nil {
		return err
	}
	if max(sessions, conversions) <= s.d.sessions {
		return s.readHeld(ctx, sessions, conversions)
	}
	s.journey = 0.175 / float64(max(conversions, 1))
	return s.inSteps(ctx, []step{
		{"read session_sources and session_costs", 0.09, s.readSessions},
		{"read attribution_customer_journey", 0.23, s.readAttributions},
		{"add up the shares of each conversion", 0.06, s.checkShares},
		{"read conversions", 0.055, s.readConversions},
		{"read the outcomes of the run", 0.04, s.readOutcomes},
		{"read the outcomes of conversions", 0.05, s.readUnattributed},
		{"read session_costs", 0.08, s.readKnownCosts},
		{"read pipeline_daily_costs", 0, s.readDailyCosts},
		{"read the conversions after the range", 0, s.readDates},
		{"read pipeline_journeys", 0, func(ctx context.Context) error {
			return s.beside(ctx, func(other *summing) error { return other.readJourneysInParts(ctx) })
		}},
	})
}

// rows returns the groups in order.
func (s *summing) rows() []store.Row {
	rows := make([]store.Row, 0, len(s.groups))
	for k, g := range s.groups {
		if k.Channel != elsewhere {
			rows = append(rows, store.Row{Channel: k.Channel, Date: k.Date, Cost: g.cost.Float(unit.CostDecimals), IHC: store.Shares(g.share).InexactFloat64(),
				IHCRevenue: store.Credit(g.credit).InexactFloat64(), Refunded: store.Shares(g.refunded).InexactFloat64()})
		}
	}
	slices.SortFunc(rows, store.Row.Compare)
	return rows
}

// ranged says whether a request names any date.
func ranged(req *ihcv1.RunRequest) bool { return req.GetStartDate() != "" || req.GetEndDate() != "" }

// covered returns the rows, which are in the order of their dates, that are in
// the range of the request.
func covered(rows []store.Row, req *ihcv1.RunRequest) []store.Row {
	start, end := run.Range(req)
	from := sort.Search(len(rows), func(i int) bool { return rows[i].Date >= start })
	to := sort.Search(len(rows), func(i int) bool { return rows[i].Date > end })
	return rows[from:to]
}
