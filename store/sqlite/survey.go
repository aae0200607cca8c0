package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// Survey implements [store.Reports]. One connection reads all of it, so that it
// is from one state of the database (invariant 10).
func (d *Database) Survey(ctx context.Context, req *ihcv1.RunRequest, v store.View) (*store.Totals, error) {
	if _, err := civil.Zone(v.Zone); err != nil {
		return nil, fmt.Errorf("time zone %w", err)
	}
	what := allByID
	what.also = []string{v.Column}
	var t *store.Totals
	err := d.inSnapshot(ctx, what, func(conn *sql.Conn) (err error) {
		if t, err = d.survey(ctx, conn, &summing{conn: conn, req: req, size: usual, column: v.Column, channel: v.Channel, zone: v.Zone}); err != nil {
			err = fmt.Errorf("sum up the tables: %w", err)
		}
		return err
	})
	return t, err
}

func (d *Database) survey(ctx context.Context, conn *sql.Conn, s *summing) (*store.Totals, error) {
	for _, table := range tables.All[:4] {
		if there, err := hasTables(ctx, conn, table); err != nil {
			return nil, err
		} else if !there {
			return nil, errkind.Inputf("there is no table %s: `ihc run --db %s` makes the results that a report is of", table, d.path)
		}
	}
	if err := checkSchema(ctx, conn, d.path); err != nil {
		return nil, err
	}
	if s.column != "" {
		others, err := dimensions(ctx, conn)
		if err != nil {
			return nil, err
		}
		if err := (store.View{Column: s.column}).Check(others); err != nil {
			return nil, err
		}
	}
	t, x, groups, err := sumTables(ctx, s)
	if err != nil {
		return nil, err
	}
	t.Rows = rowsOf(x, groups)
	t.Ranged, t.Covered = ranged(s.req), covered(t.Rows, s.req)
	return t, nil
}

// rowsOf returns what [replaceReport] writes as [readBack] reads it.
func rowsOf(x *sessionindex.Index, groups []group) []store.Row {
	rows := make([]store.Row, 0, len(groups))
	for n, g := range groups {
		if k := x.Keys()[n]; k.Channel != elsewhere {
			rows = append(rows, store.Row{Channel: k.Channel, Date: k.Date, Cost: g.cost.Float(unit.CostDecimals), IHC: store.Shares(g.share).InexactFloat64(),
				IHCRevenue: store.Credit(g.credit).InexactFloat64(), Refunded: store.Shares(g.refunded).InexactFloat64()})
		}
	}
	slices.SortFunc(rows, store.Row.Compare)
	return rows
}

// elsewhere stands for the sessions of other channels than the one asked for.
const elsewhere = "\x00elsewhere"

// dimension returns the term that sessions are summed by, with its parameters.
func (s *summing) dimension() (term string, args []driver.Value) {
	if s.column == "" {
		return `channel_name||''`, nil
	}
	term = `coalesce("` + strings.ReplaceAll(s.column, `"`, `""`) + `"||'', '')`
	if s.channel == "" {
		return term, nil
	}
	return `CASE WHEN channel_name = ? COLLATE BINARY THEN ` + term + ` ELSE char(0)||'elsewhere' END`, []driver.Value{s.channel}
}

// Dimensions implements [store.Reports].
func (d *Database) Dimensions(ctx context.Context) ([]string, error) {
	var found []string
	err := d.inSnapshot(ctx, noSource, func(conn *sql.Conn) (err error) {
		found, err = dimensions(ctx, conn)
		return err
	})
	return found, err
}

func dimensions(ctx context.Context, conn *sql.Conn) (names []string, err error) {
	rows, err := conn.QueryContext(ctx, `SELECT name FROM pragma_table_info('session_sources', 'main') WHERE lower(name) NOT IN
		('session_id', 'user_id', 'event_date', 'event_time', 'channel_name', 'holder_engagement', 'closer_engagement', 'impression_interaction') ORDER BY cid`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// readUnattributed counts the conversions in range without an attribution by
// what the ledger last recorded of them.
func (s *summing) readUnattributed(ctx context.Context, conn *sql.Conn, p *part) error {
	ledger, err := hasTables(ctx, conn, "pipeline_outcomes", "pipeline_journeys") // the first release kept other outcomes
	if err != nil {
		return err
	}
	last := `(SELECT '' AS conv_id, '' AS outcome, '' AS reason WHERE false)`
	if ledger {
		last = `(SELECT conv_id, outcome, reason, max(run) FROM pipeline_outcomes WHERE outcome <> '` + books.Gone + `' GROUP BY conv_id)`
	}
	start, end := run.Range(s.req)
	//nolint:gosec // columns, and a zone that is known
	rows, err := conn.QueryContext(ctx, `SELECT coalesce(o.outcome, ''), coalesce(o.reason, ''), count(*), min(v.conv_id), sum(v.units / 10000), sum(v.units % 10000)
		FROM (SELECT v.conv_id||'' AS conv_id, `+inMoney+` AS units FROM conversions v WHERE `+s.date("v.conv_date", "v.conv_time")+` BETWEEN ? AND ?
			AND NOT EXISTS (SELECT 1 FROM attribution_customer_journey a WHERE a.conv_id = v.conv_id)) v
		LEFT JOIN `+last+` o ON o.conv_id = v.conv_id
		GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2`, start, end)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		c := &ihcv1.ReasonCount{}
		var outcome string
		var whole, rest int64
		if err := rows.Scan(&outcome, &c.Reason, &c.Conversions, &c.ExampleConvId, &whole, &rest); err != nil {
			return err
		}
		if len(p.Unattributed) == mostReasons {
			p.UnattributedRest += int64(c.GetConversions())
			continue
		}
		var revenue unit.Sum
		addMoney(&revenue, whole, rest)
		c.Kind, c.Revenue = run.OutcomeKind(outcome), revenue.Decimal(unit.MoneyDecimals).String()
		p.Unattributed = append(p.Unattributed, c)
	}
	return rows.Err()
}
