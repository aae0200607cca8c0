// Package storetest holds every kind of database to the same answers: a
// backend of package store is right when it passes [Run].
//
// The suite asks by the methods of [store.Database]. It looks at the users'
// tables and, where a rule is about the books, at these of the pipeline's,
// which every backend keeps: pipeline_runs (run, run_id, dropped), pipeline_outcomes
// (run, chunk, conv_id, outcome, reason, sessions), pipeline_journeys (journey,
// run, chunk, conv_id) and pipeline_latest (conv_id, journey). What else is in
// them is the backend's own. Of all books it counts the rows: see
// recordsOfOldRunsGo.
package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// T is a test or one draw of a property: a *testing.T or a *rapid.T.
type T interface {
	require.TestingT
	Helper()
	Cleanup(func())
	Context() context.Context
}

// Backend is a kind of database to be tested.
type Backend struct {
	// Name is what its tests are called.
	Name string
	// New makes a database with the three source tables, empty, and nothing of
	// the pipeline's. It returns the name by which Open finds it and a
	// connection by which the tests load and look; both end with t.
	New func(t T) (dsn string, db *sql.DB)
	// Open returns the database of that name.
	Open func(dsn string) store.Database
	// Import takes rows into the source tables of the database of that name; nil
	// where those are views, which take none.
	Import func(ctx context.Context, dsn string, o store.IntakeOptions, fill func(store.Intake) error) (store.Imported, error)
	// NoNUL: its texts hold no NUL.
	NoNUL bool
	// Damage is an assignment to a column of pipeline_journeys that leaves no
	// row of it what was stored.
	Damage string
	// Books are all its tables of runs, without pipeline_ before their names.
	Books []string
	// Visits is the table that can get more columns where session_sources is a
	// view of it; "" where session_sources is the table.
	Visits string
	// Shares is the column of pipeline_journeys with the shares.
	Shares string
	// Versions is a query for which rows of attribution_customer_journey that are
	// written or locked are others than before; "" where none tells.
	Versions string
}

// Run tests a backend.
func Run(t *testing.T, b Backend) {
	suites := []map[string]func(*testing.T, Backend){ledgerTests, fenceTests, sweepTests, interruptionTests, adoptTests, reuseTests, historyOfRunsTests, reportTests, changesTests, refundTests, journeyTests, historyTests, sliceTests, identityTests, surveyTests}
	if b.Import != nil {
		suites = append(suites, intakeTests)
	}
	for _, suite := range suites {
		for name, test := range suite {
			t.Run(b.Name+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, b)
			})
		}
	}
}

// fixture is a database of its own for one test.
type fixture struct {
	store.Database
	t   T
	b   Backend
	dsn string
	db  *sql.DB
}

// fresh makes an empty database that has all tables.
func (b Backend) fresh(t T) *fixture {
	t.Helper()
	dsn, db := b.New(t)
	f := &fixture{t: t, b: b, dsn: dsn, db: db}
	f.Database = f.another()
	t.Cleanup(func() { require.NoError(t, db.Close()) }) // first, so that the database is the last to leave
	require.NoError(t, f.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "empty"}}))
	return f
}

// another opens the database once more.
func (f *fixture) another() store.Database {
	d := f.b.Open(f.dsn)
	f.t.Cleanup(func() { require.NoError(f.t, d.Close()) })
	return d
}

func (f *fixture) exec(query string, args ...any) {
	f.t.Helper()
	_, err := f.db.ExecContext(f.t.Context(), query, args...)
	require.NoError(f.t, err)
}

// rows returns a query's rows as text, sorted by their bytes.
func (f *fixture) rows(query string, args ...any) []string {
	f.t.Helper()
	found, err := f.db.QueryContext(f.t.Context(), query, args...)
	require.NoError(f.t, err)
	defer found.Close()
	columns, err := found.Columns()
	require.NoError(f.t, err)
	var all []string
	for found.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(f.t, found.Scan(into...))
		cells := make([]string, len(values))
		for i, v := range values {
			if text, ok := v.([]byte); ok {
				v = string(text)
			}
			cells[i] = fmt.Sprint(v)
		}
		all = append(all, strings.Join(cells, "|"))
	}
	require.NoError(f.t, found.Err())
	slices.Sort(all)
	return all
}

// shown is what the users see: the rows of attribution_customer_journey.
func (f *fixture) shown() []string {
	f.t.Helper()
	return f.rows(`SELECT conv_id, session_id, ihc FROM attribution_customer_journey`)
}

// journal is the journal's rows as run|conversion.
func (f *fixture) journal() []string {
	f.t.Helper()
	return f.rows(`SELECT r.run_id, j.conv_id FROM pipeline_journeys j JOIN pipeline_runs r ON r.run = j.run`)
}

// latest is which row of the journal is shown, as conversion|run.
func (f *fixture) latest() []string {
	f.t.Helper()
	return f.rows(`SELECT l.conv_id, r.run_id FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey JOIN pipeline_runs r ON r.run = j.run`)
}

// sell puts conversions into the database.
func (f *fixture) sell(ids ...string) {
	f.t.Helper()
	tx, err := f.db.BeginTx(f.t.Context(), nil)
	require.NoError(f.t, err)
	defer tx.Rollback()
	for _, id := range ids {
		_, err := tx.ExecContext(f.t.Context(), `INSERT INTO conversions VALUES ($1, 'u', '2023-01-02', '12:00:00', 1)`, id)
		require.NoError(f.t, err)
	}
	require.NoError(f.t, tx.Commit())
}

// attributed shares a conversion out to sessions named for it.
func attributed(conv string, shares ...uint32) *ihcv1.Attribution {
	a := &ihcv1.Attribution{ConvId: conv, Ihc: shares}
	for i := range shares {
		a.SessionIds = append(a.SessionIds, fmt.Sprintf("%s-s%d", conv, i))
	}
	return a
}

func unscored(conv, reason string) *ihcv1.Outcome {
	return &ihcv1.Outcome{ConvId: conv, Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, Reason: reason, Sessions: 3}
}

func result(run string, chunk uint32, attributions ...*ihcv1.Attribution) *ihcv1.AttributionResult {
	return &ihcv1.AttributionResult{RunId: run, Chunk: chunk, Attributions: attributions}
}

// store stores results, each in a transaction of its own.
func (f *fixture) store(results ...*ihcv1.AttributionResult) {
	f.t.Helper()
	for _, r := range results {
		require.NoError(f.t, f.Store(f.t.Context(), []*ihcv1.AttributionResult{r}))
	}
}

// expect tells how many chunks and conversions a run has.
func (f *fixture) expect(run string, chunks uint32, conversions uint64) {
	f.t.Helper()
	require.NoError(f.t, f.Expect(f.t.Context(), run, &ihcv1.RunExtracted{Chunks: chunks, Counts: &ihcv1.Counts{InRange: conversions}}))
}

// finish finishes a run that is complete and sound.
func (f *fixture) finish(run string) store.State {
	f.t.Helper()
	s, err := f.Finish(f.t.Context(), run)
	require.NoError(f.t, err)
	require.True(f.t, s.Complete)
	require.Empty(f.t, s.Wrong)
	return s
}

// ran stores all of a run's results and finishes it.
func (f *fixture) ran(run string, results ...*ihcv1.AttributionResult) {
	f.t.Helper()
	var conversions uint64
	for _, r := range results {
		conversions += uint64(len(r.GetAttributions()) + len(r.GetOutcomes()))
	}
	f.expect(run, uint32(len(results)), conversions)
	f.store(results...)
	f.finish(run)
}
