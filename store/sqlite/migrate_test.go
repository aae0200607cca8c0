package sqlite

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// firstRelease is a database as the first release left it when it was killed:
// with a run that is written, one that failed, and one of which two of three
// chunks are stored, whose attributions it showed at once.
func firstRelease(t *testing.T) string {
	t.Helper()
	script, err := migrations.ReadFile("migrations/1.sql")
	require.NoError(t, err)
	return build(t, InputSchema+withRowNumbers+`;
		INSERT INTO conversions SELECT value, 'u', '2023-01-02', '12:00:00', 1 FROM json_each('["a", "b", "c", "d", "e", "f", "old"]');
		INSERT INTO attribution_customer_journey VALUES ('a', 'a-s0', 0.25), ('a', 'a-s1', 0.75), ('b', 'b-s0', 1), ('old', 'x', 1);`+string(script)+`
		INSERT INTO pipeline_runs (run_id, status, request, model, expected_chunks, expected_range, chunks, in_range, attributed, touchpoints, requests, revision)
			VALUES ('done', 'written', '{"run_id":"done"}', 'api', 1, 1, 1, 1, 1, 1, 1, 0), ('lost', 'failed', '{}', '', NULL, NULL, 0, 0, 0, 0, 0, 0);
		INSERT INTO pipeline_runs (run_id, request, model, expected_chunks, expected_range, chunks, in_range, attributed, excluded, failed, without_sessions, touchpoints, requests, revision)
			VALUES ('under way', '{"run_id":"under way"}', 'api', 3, 6, 2, 4, 2, 0, 1, 1, 3, 5, 1);
		INSERT INTO pipeline_chunks (run_id, chunk, revision, in_range, attributed, approximated, excluded, failed, without_sessions, touchpoints, requests)
			VALUES ('done', 1, 0, 1, 1, 0, 0, 0, 0, 1, 1), ('under way', 1, 0, 2, 1, 0, 0, 1, 0, 2, 3), ('under way', 2, 1, 2, 1, 0, 0, 0, 1, 1, 2);
		INSERT INTO pipeline_outcomes (run_id, conv_id, chunk, outcome, reason, sessions) VALUES ('under way', 'c', 1, 'failed', 'why', 3), ('under way', 'd', 2, 'without_sessions', '', 0)`)
}

func lastChunk() []*ihcv1.AttributionResult {
	r := scored("under way", 3, sharedOut("e", 10_000))
	r[0].Requests, r[0].Model = 1, "api"
	r[0].Outcomes = []*ihcv1.Outcome{{ConvId: "f", Kind: ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED, Reason: "too long"}}
	return r
}

func TestRunOfTheFirstReleaseGoesOn(t *testing.T) {
	t.Parallel()
	path := firstRelease(t)
	d := opened(t, path)
	s, err := d.Finish(t.Context(), "under way")
	require.NoError(t, err)
	require.False(t, s.Complete)
	again := scored("under way", 1, sharedOut("a", 10_000)) // delivered again
	require.NoError(t, d.Store(t.Context(), append(again, lastChunk()...)))
	was := []string{"a|a-s0|0.25", "a|a-s1|0.75", "b|b-s0|1", "old|x|1"}
	require.Equal(t, was, tableRows(t, path, shownQuery))
	for range 2 {
		s, err = d.Finish(t.Context(), "under way")
		require.NoError(t, err)
		require.True(t, s.Complete)
		require.Empty(t, s.Wrong)
		require.True(t, proto.Equal(&ihcv1.Counts{InRange: 6, Attributed: 3, Excluded: 1, Failed: 1, WithoutSessions: 1, Touchpoints: 4}, s.Counts), s.Counts)
		require.EqualValues(t, 6, s.Requests)
		require.EqualValues(t, 1, s.Revision)
		require.Equal(t, "api", s.Model)
		require.Equal(t, []string{"a|a-s0|0.25", "a|a-s1|0.75", "b|b-s0|1", "e|e-s0|1", "old|x|1"}, tableRows(t, path, shownQuery))
	}
	totals, err := d.Rebuild(t.Context(), &ihcv1.RunRequest{RunId: "under way"})
	require.NoError(t, err)
	require.Len(t, totals.Reasons, 3)
	s, err = d.Finish(t.Context(), "done")
	require.NoError(t, err)
	require.True(t, proto.Equal(&ihcv1.Counts{InRange: 1, Attributed: 1, Touchpoints: 1}, s.Counts), s.Counts)
	s, err = d.Finish(t.Context(), "lost")
	require.NoError(t, err)
	require.False(t, s.Complete)
	require.Equal(t, []string{"7"}, tableRows(t, path, `SELECT version FROM pipeline_schema`))
	require.Empty(t, tableRows(t, path, `SELECT name FROM sqlite_schema WHERE name LIKE 'pipeline%_1'`))
}

// What the first release stored of it can be scored anew.
func TestRunOfTheFirstReleaseTakesRevisions(t *testing.T) {
	t.Parallel()
	path := firstRelease(t)
	d := opened(t, path)
	anew := scored("under way", 1, sharedOut("a", 6000, 4000), sharedOut("c", 10_000))
	anew[0].Revision = 1
	require.NoError(t, d.Store(t.Context(), append(anew, lastChunk()...)))
	s, err := d.Finish(t.Context(), "under way")
	require.NoError(t, err)
	require.Empty(t, s.Wrong)
	require.True(t, proto.Equal(&ihcv1.Counts{InRange: 6, Attributed: 4, Excluded: 1, WithoutSessions: 1, Touchpoints: 5}, s.Counts), s.Counts)
	require.Equal(t, []string{"a|a-s0|0.6", "a|a-s1|0.4", "b|b-s0|1", "c|c-s0|1", "e|e-s0|1", "old|x|1"}, tableRows(t, path, shownQuery))
}

func TestRunOfTheFirstReleaseCanBeEnded(t *testing.T) {
	t.Parallel()
	path := firstRelease(t)
	d := opened(t, path)
	was := tableRows(t, path, shownQuery)
	require.NoError(t, d.Store(t.Context(), lastChunk()))
	require.NoError(t, d.End(t.Context(), "under way", store.Cancelled))
	require.Equal(t, was, tableRows(t, path, shownQuery))
	require.Empty(t, tableRows(t, path, journalQuery))
}

// What is not understood is left as it is, and said so in one line that says
// what to do.
func TestTablesThatAreNotThePipelinesAreRefused(t *testing.T) {
	t.Parallel()
	first, err := migrations.ReadFile("migrations/1.sql")
	require.NoError(t, err)
	const remedy = "rename or drop all tables named pipeline_*, and they are created anew"
	for name, c := range map[string]struct{ script, says, remedy string }{
		"a later version":        {`CREATE TABLE pipeline_schema (version integer NOT NULL); INSERT INTO pipeline_schema VALUES (99)`, "was last written by a later release (its tables have version 99, this one knows 7)", "use that release"},
		"another number":         {`CREATE TABLE pipeline_schema (n); INSERT INTO pipeline_schema VALUES (1)`, "table pipeline_schema of database", remedy},
		"no number":              {`CREATE TABLE pipeline_schema (version); INSERT INTO pipeline_schema VALUES ('new')`, "table pipeline_schema of database", remedy},
		"another journal":        {`CREATE TABLE pipeline_journeys (x)`, "table pipeline_journeys already exists", remedy},
		"another pipeline_runs":  {`CREATE TABLE pipeline_runs (x)`, "table pipeline_runs of database", remedy},
		"part of the first":      {`CREATE TABLE pipeline_chunks (run_id text)`, "table pipeline_runs of database", remedy},
		"a column went":          {"", "table pipeline_latest of database", remedy},
		"a table went":           {"", "table pipeline_counts of database", remedy},
		"the first, with a view": {string(first) + `; CREATE VIEW pipeline_latest AS SELECT 1 AS conv_id, 2 AS journey`, "a table of database", remedy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := build(t, InputSchema+c.script)
			d := opened(t, path)
			if c.script == "" {
				require.NoError(t, d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}))
				execute(t, path, "", map[string]string{"a column went": `ALTER TABLE pipeline_latest RENAME COLUMN journey TO j`, "a table went": `DROP TABLE pipeline_counts`}[name])
			}
			const schema = `SELECT sql FROM sqlite_schema ORDER BY name`
			was := tableRows(t, path, schema)
			err := d.Store(t.Context(), scored("run", 1, sharedOut("a", 10_000)))
			require.Equal(t, errkind.Input, errkind.KindOf(err), err)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, c.remedy)
			require.ErrorContains(t, err, path)
			require.NotContains(t, err.Error(), "\n")
			require.Equal(t, was, tableRows(t, path, schema))
		})
	}
}

// Users may drop the pipeline's tables, all at once: it begins anew.
func TestDroppedTablesAreMadeAnew(t *testing.T) {
	t.Parallel()
	path := firstRelease(t)
	d := opened(t, path)
	require.NoError(t, d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}))
	for _, name := range tableRows(t, path, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'pipeline%'`) {
		execute(t, path, "", fmt.Sprintf(`DROP TABLE %s`, name))
	}
	require.NoError(t, d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}))
	require.Equal(t, []string{"1|run"}, tableRows(t, path, `SELECT run, run_id FROM pipeline_runs`))
}

// Validation takes both layouts of the users' table.
func TestBothLayoutsOfTheResultsAreSound(t *testing.T) {
	t.Parallel()
	for _, table := range []string{CreateCustomerJourney, withRowNumbers} {
		path := build(t, InputSchema+soundRows+table)
		f, err := opened(t, path).Validate(t.Context(), findings.Options{})
		require.NoError(t, err)
		require.NoError(t, f.Err())
		require.Empty(t, f.List)
	}
}
