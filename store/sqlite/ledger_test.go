package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// newDB makes a database with the source tables.
func newDB(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	create(t, path)
	return path
}

func create(t require.TestingT, path string) {
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	_, err = db.Exec(InputSchema)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

func open(t testing.TB, path string) *Ledger {
	t.Helper()
	l := Open(path)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// table returns a query's rows as text, in the order of the query.
func tableRows(t require.TestingT, path, query string, args ...any) []string {
	db, err := Open(context.Background(), path, Read)
	require.NoError(t, err)
	defer db.Close()
	found, err := db.Query(query, args...)
	require.NoError(t, err)
	defer found.Close()
	columns, err := found.Columns()
	require.NoError(t, err)
	var all []string
	for found.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, found.Scan(into...))
		all = append(all, strings.TrimSuffix(fmt.Sprintf(strings.Repeat("%v|", len(values)), values...), "|"))
	}
	require.NoError(t, found.Err())
	return all
}

const journeyQuery = `SELECT conv_id, session_id, ihc FROM attribution_customer_journey ORDER BY conv_id, session_id`

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

func TestStoringTwiceIsStoringOnce(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	l := open(t, path)
	r := &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Model: "api", Requests: 1,
		Attributions: []*ihcv1.Attribution{attributed("a", 2500, 7500), attributed("b", 10_000)}, Outcomes: []*ihcv1.Outcome{unscored("c", "why")}}
	require.NoError(t, l.Expect(t.Context(), "run", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 3}}))
	for range 3 {
		require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{r, r}))
		s, err := l.Finish(t.Context(), "run")
		require.NoError(t, err)
		require.True(t, s.Complete)
		require.Empty(t, s.Wrong)
		require.True(t, proto.Equal(&ihcv1.Counts{InRange: 3, Attributed: 2, Failed: 1, Touchpoints: 3}, s.Counts), s.Counts)
		require.Equal(t, "api", s.Model)
		require.EqualValues(t, 1, s.Requests)
		require.Zero(t, s.Revision)
		require.Equal(t, []string{"a|a-s0|0.25", "a|a-s1|0.75", "b|b-s0|1"}, tableRows(t, path, journeyQuery))
		require.Equal(t, []string{"run|c|1|failed|why|3"}, tableRows(t, path, `SELECT * FROM pipeline_outcomes`))
	}
}

// A transaction that fails leaves nothing, and the reason names the chunk, or
// the first of several, which the caller then stores one by one.
func TestResultsAreStoredTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	l := open(t, path)
	twice := attributed("b", 5000, 5000)
	twice.SessionIds[1] = twice.SessionIds[0]
	err := l.Store(t.Context(), []*ihcv1.AttributionResult{
		{RunId: "run", Chunk: 1, Attributions: []*ihcv1.Attribution{attributed("a", 10_000)}},
		{RunId: "run", Chunk: 2, Attributions: []*ihcv1.Attribution{twice}}})
	require.ErrorContains(t, err, "store 2 results, from chunk 1 of run run on")
	require.Equal(t, errkind.Run, errkind.KindOf(err), "it lies in the result, not in the environment")
	require.Empty(t, tableRows(t, path, `SELECT name FROM sqlite_schema WHERE name = 'pipeline_runs'`))
	err = l.Store(t.Context(), []*ihcv1.AttributionResult{{RunId: "run", Chunk: 2, Attributions: []*ihcv1.Attribution{twice}}})
	require.ErrorContains(t, err, "store chunk 2 of run run")
	require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{{RunId: "run", Chunk: 1, Attributions: []*ihcv1.Attribution{attributed("a", 10_000)}}}))
	require.Len(t, tableRows(t, path, journeyQuery), 1)
}

func TestLaterRevisionReplacesTheEarlier(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	l := open(t, path)
	first := &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Requests: 2, Model: "api",
		Attributions: []*ihcv1.Attribution{attributed("a", 2500, 7500)}, Outcomes: []*ihcv1.Outcome{unscored("b", "poison")}}
	second := &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Revision: 2, Requests: 1, Model: "api",
		Attributions: []*ihcv1.Attribution{attributed("a", 6000, 4000), attributed("b", 10_000)}}
	require.NoError(t, l.Expect(t.Context(), "run", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 2}}))
	require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{first, second, first}))
	s, err := l.Finish(t.Context(), "run")
	require.NoError(t, err)
	require.True(t, s.Complete)
	require.True(t, proto.Equal(&ihcv1.Counts{InRange: 2, Attributed: 2, Touchpoints: 3}, s.Counts), s.Counts)
	require.EqualValues(t, 1, s.Requests)
	require.EqualValues(t, 1, s.Revision)
	require.Equal(t, []string{"a|a-s0|0.6", "a|a-s1|0.4", "b|b-s0|1"}, tableRows(t, path, journeyQuery))
	require.Empty(t, tableRows(t, path, `SELECT * FROM pipeline_outcomes`))
}

func TestLaterRunWinsWholeConversions(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	l := open(t, path)
	old := &ihcv1.AttributionResult{RunId: "one", Chunk: 1, Attributions: []*ihcv1.Attribution{attributed("a", 2000, 3000, 5000), attributed("b", 10_000), attributed("c", 10_000)}}
	now := &ihcv1.AttributionResult{RunId: "two", Chunk: 1, Attributions: []*ihcv1.Attribution{attributed("a", 4000, 6000)}, Outcomes: []*ihcv1.Outcome{unscored("b", "gone")}}
	require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{old}))
	require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{now}))
	want := []string{"a|a-s0|0.4", "a|a-s1|0.6", "c|c-s0|1"}
	require.Equal(t, want, tableRows(t, path, journeyQuery))
	require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{old})) // delivered again
	require.Equal(t, want, tableRows(t, path, journeyQuery))
}

func TestRunIsCompleteWhenEverythingIsAccountedFor(t *testing.T) {
	t.Parallel()
	l := open(t, newDB(t))
	ctx := t.Context()
	result := func(id string, n uint32) []*ihcv1.AttributionResult {
		return []*ihcv1.AttributionResult{{RunId: id, Chunk: n, Attributions: []*ihcv1.Attribution{attributed(fmt.Sprintf("%s-%d", id, n), 10_000)}}}
	}
	complete := func(id string) bool {
		s, err := l.Finish(ctx, id)
		require.NoError(t, err)
		return s.Complete
	}
	require.False(t, complete("unknown"))
	require.NoError(t, l.Store(ctx, result("run", 2)))
	require.False(t, complete("run"), "nobody knows yet how many there are")
	require.NoError(t, l.Accept(ctx, &ihcv1.RunRequest{RunId: "run", StartDate: "2023-09-01"}))
	require.NoError(t, l.Expect(ctx, "run", &ihcv1.RunExtracted{Chunks: 2, Counts: &ihcv1.Counts{InRange: 2}}))
	require.False(t, complete("run"))
	require.NoError(t, l.Store(ctx, result("run", 1)))
	require.True(t, complete("run"))
	require.NoError(t, l.End(ctx, "run", "failed"))
	require.True(t, complete("run"), "what is written stays so")

	require.NoError(t, l.Expect(ctx, "wrong", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 7}}))
	require.NoError(t, l.Store(ctx, result("wrong", 1)))
	s, err := l.Finish(ctx, "wrong")
	require.NoError(t, err)
	require.True(t, s.Complete)
	require.Contains(t, s.Wrong, "the extractor read 7 conversions, the results hold 1")

	require.NoError(t, l.Expect(ctx, "over", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 1}}))
	require.NoError(t, l.End(ctx, "over", "cancelled"))
	require.NoError(t, l.Store(ctx, result("over", 1)))
	require.False(t, complete("over"))
	require.NoError(t, l.End(ctx, "never-accepted", "failed"))
	require.False(t, complete("never-accepted"))

	require.NoError(t, l.Expect(ctx, "empty", &ihcv1.RunExtracted{}))
	require.True(t, complete("empty"), "a run without conversions")
}

// Two writers started by mistake: each result is stored by whoever is first.
func TestTwoLedgersOnOneFile(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	const chunks = 60
	var results []*ihcv1.AttributionResult
	for n := range uint32(chunks) {
		results = append(results, &ihcv1.AttributionResult{RunId: "run", Chunk: n + 1, Requests: 1,
			Attributions: []*ihcv1.Attribution{attributed(fmt.Sprintf("c%d", n), 2500, 7500)}, Outcomes: []*ihcv1.Outcome{unscored(fmt.Sprintf("x%d", n), "")}})
	}
	var group errgroup.Group
	for i := range uint64(2) {
		l := open(t, path)
		mine := slices.Clone(results)
		rand.New(rand.NewPCG(i, 1)).Shuffle(chunks, func(a, b int) { mine[a], mine[b] = mine[b], mine[a] })
		group.Go(func() error {
			err := l.Expect(t.Context(), "run", &ihcv1.RunExtracted{Chunks: chunks, Counts: &ihcv1.Counts{InRange: 2 * chunks}})
			for batch := range slices.Chunk(mine, 7) {
				err = errors.Join(err, l.Store(t.Context(), batch))
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	s, err := open(t, path).Finish(t.Context(), "run")
	require.NoError(t, err)
	require.True(t, s.Complete)
	require.Empty(t, s.Wrong)
	require.EqualValues(t, chunks, s.Requests)
	require.Len(t, tableRows(t, path, journeyQuery), 2*chunks)
}

// A database that is replaced under a running writer gets its tables too.
func TestReplacedDatabase(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	l := open(t, path)
	r := []*ihcv1.AttributionResult{{RunId: "run", Chunk: 1, Attributions: []*ihcv1.Attribution{attributed("a", 10_000)}}}
	require.NoError(t, l.Store(t.Context(), r))
	require.NoError(t, os.Rename(newDB(t), path))
	require.NoError(t, l.Store(t.Context(), r))
	require.Len(t, tableRows(t, path, journeyQuery), 1)
}

// Whatever comes in whatever order, as often as it likes: the tables are those
// of a model that is too simple to be wrong.
func TestAnyOrderGivesTheSameTables(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "ledger") //nolint:usetesting // one for each of many draws
		require.NoError(t, err)
		defer func() { _ = os.RemoveAll(dir) }()
		path := filepath.Join(dir, "shop.db")
		create(t, path)
		l := Open(path)
		defer l.Close()
		type key struct {
			run   string
			chunk uint32
		}
		stored := map[key]*ihcv1.AttributionResult{} // by chunk, what counts
		holds := map[string][]string{}               // conversion → rows
		// A chunk's conversions are its own in each run; runs share them.
		for range rapid.IntRange(1, 12).Draw(t, "batches") {
			var batch []*ihcv1.AttributionResult
			for range rapid.IntRange(1, 4).Draw(t, "size") {
				r := &ihcv1.AttributionResult{RunId: rapid.SampledFrom([]string{"r1", "r2"}).Draw(t, "run"),
					Chunk: rapid.Uint32Range(1, 3).Draw(t, "chunk"), Revision: rapid.Uint32Range(0, 2).Draw(t, "revision"), Requests: 1}
				for i := range rapid.IntRange(0, 3).Draw(t, "conversions") {
					conv := fmt.Sprintf("c%d-%d", r.GetChunk(), i)
					if rapid.Bool().Draw(t, "scored") {
						r.Attributions = append(r.Attributions, attributed(conv, slices.Repeat([]uint32{5000}, rapid.IntRange(1, 3).Draw(t, "sessions"))...))
					} else {
						r.Outcomes = append(r.Outcomes, unscored(conv, "why"))
					}
				}
				batch = append(batch, r)
				k := key{r.GetRunId(), r.GetChunk()}
				if was := stored[k]; was != nil && was.GetRevision() >= r.GetRevision() {
					continue
				}
				stored[k] = r
				for _, a := range r.GetAttributions() {
					holds[a.GetConvId()] = nil
					for _, s := range a.GetSessionIds() {
						holds[a.GetConvId()] = append(holds[a.GetConvId()], fmt.Sprintf("%s|%s|0.5", a.GetConvId(), s))
					}
				}
				for _, o := range r.GetOutcomes() {
					holds[o.GetConvId()] = nil
				}
			}
			require.NoError(t, l.Store(context.Background(), batch))
		}
		var want []string
		for _, conv := range slices.Sorted(maps.Keys(holds)) {
			want = append(want, holds[conv]...)
		}
		require.Equal(t, want, tableRows(t, path, journeyQuery))
		for _, id := range []string{"r1", "r2"} {
			counts := &ihcv1.Counts{}
			chunks, requests := uint32(0), uint64(0)
			for k, r := range stored {
				if k.run != id {
					continue
				}
				chunks++
				requests++
				for _, a := range r.GetAttributions() {
					run.Add(counts, ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED, 1, uint64(len(a.GetIhc())))
				}
				run.Add(counts, ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, uint64(len(r.GetOutcomes())), 0)
			}
			require.NoError(t, l.Expect(context.Background(), id, &ihcv1.RunExtracted{Chunks: chunks, Counts: counts}))
			s, err := l.Finish(context.Background(), id)
			require.NoError(t, err)
			require.True(t, s.Complete)
			require.Empty(t, s.Wrong)
			require.True(t, proto.Equal(counts, s.Counts), "%v, not %v", s.Counts, counts)
			require.Equal(t, requests, s.Requests)
		}
	})
}

// The file alone holds what was stored while the ledger is still open.
func TestCheckpointBesideTheWriter(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	l := open(t, path)
	l.checkpoints.between = 3
	copied := func() []string {
		to := filepath.Join(t.TempDir(), "copy.db")
		// By another process: this one would lose SQLite's locks.
		require.NoError(t, exec.Command("cp", path, to).Run())
		if len(tableRows(t, to, `SELECT name FROM sqlite_schema WHERE name = 'attribution_customer_journey'`)) == 0 {
			return nil
		}
		return tableRows(t, to, journeyQuery)
	}
	require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{{RunId: "r", Chunk: 1, Attributions: []*ihcv1.Attribution{attributed("a", 4000, 6000)}}}))
	l.checkpoints.ends.Wait()
	require.Empty(t, copied(), "two rows are not enough for one")
	require.NoError(t, l.Store(t.Context(), []*ihcv1.AttributionResult{{RunId: "r", Chunk: 2, Attributions: []*ihcv1.Attribution{attributed("b", 10000)}}}))
	l.checkpoints.ends.Wait()
	require.Equal(t, []string{"a|a-s0|0.4", "a|a-s1|0.6", "b|b-s0|1"}, copied())
}
