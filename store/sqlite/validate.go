package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/inspect"
)

// Validate reads the source data whole, each table once, and reports what is
// odd about it. It writes nothing, and its memory does not grow with the rows.
//
// A nil error means that the report is complete, not that the data are sound:
// that is told by Report.Err. The error is an Input fault for a range that is
// none and for a damaged file, and what [Explain] says otherwise.
func Validate(ctx context.Context, db *sql.DB, opts findings.Options) (*findings.Findings, error) {
	return validate(ctx, db, opts, RangeRows)
}

func validate(ctx context.Context, db *sql.DB, opts findings.Options, rows int64) (*findings.Findings, error) {
	if err := civil.CheckRange("start date", opts.StartDate, "end date", opts.EndDate); err != nil {
		return nil, err
	}
	v := &validation{db: db, opts: opts, rows: rows, scans: map[string]*inspect.Scan{}, found: &findings.Findings{List: []findings.Finding{}}, work: store.Begin(ctx)}
	if err := v.run(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, Explain(v.path(ctx), err)
	}
	v.conclude()
	return v.found, nil
}

// validation is one run of [Validate].
type validation struct {
	db   *sql.DB
	opts findings.Options
	rows int64 // of a table that are read in one go
	// order is that of the bytes of a database in UTF-16; nil for one in UTF-8.
	order binary.AppendByteOrder
	work  *store.Counter // in spans by their columns

	mu    sync.Mutex               // the checks run side by side
	scans map[string]*inspect.Scan // by table, when done
	found *findings.Findings
}

// conclude puts into the findings what was found table by table.
func (v *validation) conclude() {
	for _, t := range inputTables {
		v.found.Digest += "/"
		if scan := v.scans[t.name]; scan != nil {
			v.found.Digest += scan.Conclude(v.found, v.opts)
		}
	}
	v.found.PerConversion = inspect.PerConversion(v.scans[tables.SessionSources], v.scans[tables.Conversions], v.opts)
	v.found.Order()
}

func (v *validation) run(ctx context.Context) error {
	shapes, err := v.checkShapes(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range inputTables {
		if shapes[t.name].sound {
			g.Go(func() error { return v.scan(ctx, t) })
			if !shapes[t.name].unique {
				g.Go(func() error { return v.checkDuplicates(ctx, t) })
			}
		}
	}
	g.Go(func() error { return v.checkIdentities(ctx, shapes) })
	if v.opts.Alone {
		return g.Wait()
	}
	if shapes[tables.SessionSources].sound && shapes[tables.SessionCosts].sound {
		g.Go(func() error { return v.checkCosts(ctx) })
	}
	if shapes[tables.SessionSources].sound && shapes[tables.Conversions].sound {
		g.Go(func() error { return v.checkConversions(ctx) })
	}
	return g.Wait()
}

// add puts a finding into the list: see [findings.Findings.Add].
func (v *validation) add(r findings.Rule, table, column string, count int64, unit, example string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found.Add(r, table, column, count, unit, example)
}

// path returns the file behind the database, for messages.
func (v *validation) path(ctx context.Context) string {
	var path string
	err := v.db.QueryRowContext(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path)
	if err != nil {
		return "the database"
	}
	return path
}

// checkDuplicates counts ids that occur more than once. It is asked only where
// no index rules that out.
func (v *validation) checkDuplicates(ctx context.Context, t table) error {
	id := t.columns[0].name
	var rows int64
	var example sql.NullString
	err := v.db.QueryRowContext(ctx, strings.NewReplacer("$id", id, "$table", t.name).Replace(`
		SELECT coalesce(sum(n - 1), 0), min(id)
		FROM (SELECT CAST($id AS text) AS id, count(*) AS n FROM $table
		      WHERE $id IS NOT NULL GROUP BY $id COLLATE BINARY HAVING count(*) > 1)`)).Scan(&rows, &example)
	if err != nil {
		return err
	}
	if rows > 0 {
		v.add(findings.DuplicateID, t.name, id, rows, "rows", human.Quote(example.String))
	}
	return nil
}

// checkCosts compares the ids of sessions and costs. The sessions without cost
// follow from the counts, as ids are unique where data are sound. Like the
// check below it asks NOT IN, which needs no index to be quick.
func (v *validation) checkCosts(ctx context.Context) error {
	unknown, err := v.countRows(ctx, findings.UnknownSession, tables.SessionCosts, "session_id", `FROM session_costs
		WHERE session_id COLLATE BINARY NOT IN (SELECT session_id FROM session_sources)`)
	if err != nil {
		return err
	}
	var sessions, costs int64
	var example sql.NullString
	err = v.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM session_sources), (SELECT count(*) FROM session_costs),
		(SELECT CAST(session_id AS text) FROM session_sources
		 WHERE session_id COLLATE BINARY NOT IN (SELECT session_id FROM session_costs) LIMIT 1)`).
		Scan(&sessions, &costs, &example)
	if err != nil {
		return err
	}
	if without := sessions - (costs - unknown); without > 0 {
		v.add(findings.SessionsNoCost, tables.SessionSources, "session_id", without, "rows", human.Quote(example.String))
	}
	return nil
}

// checkConversions counts conversions of users who never visited. The users of
// the (fewer) conversions are looked for among the sessions, so that sessions
// need no index.
func (v *validation) checkConversions(ctx context.Context) error {
	const alone = `FROM conversions WHERE user_id COLLATE BINARY NOT IN (
		SELECT user_id FROM session_sources
		WHERE user_id COLLATE BINARY IN (SELECT user_id FROM conversions) AND user_id IS NOT NULL)`
	_, err := v.countRows(ctx, findings.ConversionsAlone, tables.Conversions, "conv_id", alone)
	return err
}

// countRows counts the rows that from selects, and adds a finding if there are
// any. Its example is the least id among them.
func (v *validation) countRows(ctx context.Context, r findings.Rule, table, id, from string) (int64, error) {
	var n int64
	var example sql.NullString
	err := v.db.QueryRowContext(ctx, `SELECT count(*), CAST(min(`+id+`) AS text) `+from).Scan(&n, &example)
	if err == nil && n > 0 {
		v.add(r, table, id, n, "rows", human.Quote(example.String))
	}
	return n, err
}
