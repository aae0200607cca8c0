package writer

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// newDB makes a database with the conversions of 100 chunks.
func newDB(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path+".new")
	require.NoError(t, err)
	_, err = db.Exec(sqlite.InputSchema + `WITH RECURSIVE chunk(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM chunk WHERE n < 100)
		INSERT INTO conversions SELECT kind.value || n, 'u', '2023-01-02', '12:00:00', 1 FROM chunk, json_each('["a", "b"]') kind`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NoError(t, os.Rename(path+".new", path))
}

// setup starts a bus and a writer of a new database.
func setup(t *testing.T) (b *streamtest.Bus, db string) {
	t.Helper()
	b = streamtest.New(t)
	db = filepath.Join(t.TempDir(), "shop.db")
	newDB(t, db)
	write(b, db)
	return b, db
}

func write(b *streamtest.Bus, db string) (stop func()) {
	return b.Service(stream.StageWriter, func(ctx context.Context, d service.Deps) error {
		return Run(ctx, Config{Database: db, Batch: 10}, d)
	})
}

// result of chunk n: one conversion attributed, one failed.
func result(run string, n uint32) *ihcv1.AttributionResult {
	return &ihcv1.AttributionResult{RunId: run, Chunk: n, Model: "api", Requests: 1,
		Attributions: []*ihcv1.Attribution{{ConvId: fmt.Sprintf("a%d", n), SessionIds: []string{"s1", "s2"}, Ihc: []uint32{4000, 6000}}},
		Outcomes:     []*ihcv1.Outcome{{ConvId: fmt.Sprintf("b%d", n), Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, Reason: "why"}}}
}

func publishResults(t *testing.T, b *streamtest.Bus, run string, n uint32) {
	t.Helper()
	for i := range n {
		require.NoError(t, b.PublishResult(b.Ctx, result(run, i+1)))
	}
}

func accepted(b *streamtest.Bus, a *ihcv1.RunAccepted) {
	b.Event(a.GetRequest().GetRunId(), &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: a}})
}

func extracted(b *streamtest.Bus, run string, chunks uint32, conversions uint64) {
	b.Event(run, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: chunks, Counts: &ihcv1.Counts{InRange: conversions}}}})
}

func isWritten(e *ihcv1.RunEvent) bool { return e.GetWritten() != nil }
func isFailed(e *ihcv1.RunEvent) bool  { return e.GetFailed() != nil }

func count(t *testing.T, db, query string) (n int) {
	t.Helper()
	c, err := sqlite.Open(t.Context(), db, sqlite.Read)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.QueryRow(query).Scan(&n))
	return n
}

func TestRunIsWrittenInWhateverOrderItsMessagesCome(t *testing.T) {
	t.Parallel()
	const chunks = 25
	for name, order := range map[string]string{"as usual": "aer", "results first": "rae", "extracted before its last result": "are"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, db := setup(t)
			for _, step := range order {
				switch step {
				case 'a':
					accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
				case 'e':
					extracted(b, "run", chunks, 2*chunks)
				case 'r':
					publishResults(t, b, "run", chunks)
				}
			}
			w := b.Await("run", isWritten).GetWritten()
			require.True(t, proto.Equal(&ihcv1.RunWritten{Model: "api", Requests: chunks,
				Counts: &ihcv1.Counts{InRange: 2 * chunks, Attributed: chunks, Failed: chunks, Touchpoints: 2 * chunks}}, w), w)
			require.Equal(t, 2*chunks, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))
			b.Idle(stream.Scored)
		})
	}
}

func TestCountsThatDoNotAddUpFailTheRun(t *testing.T) {
	t.Parallel()
	b, _ := setup(t)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	extracted(b, "run", 1, 5)
	publishResults(t, b, "run", 1)
	f := b.Await("run", isFailed).GetFailed()
	require.Contains(t, f.GetReason(), "the counts of the run do not add up")
	require.Equal(t, stream.StageWriter, f.GetStage())
}

func TestReplayFromResults(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	publishResults(t, b, "origin", 100)
	b.Idle(stream.Scored)
	replay := func(id string, chunks uint32) {
		accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}, ResultsRun: "origin"})
		extracted(b, id, chunks, uint64(2*chunks))
	}
	replay("replay", 100)
	w := b.Await("replay", isWritten).GetWritten()
	require.EqualValues(t, 100, w.GetCounts().GetAttributed())
	require.Equal(t, 200, count(t, db, `SELECT count(*) FROM pipeline_outcomes`), "both runs have theirs")
	require.Equal(t, 200, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))

	replay("incomplete", 101)
	f := b.Await("incomplete", isFailed).GetFailed()
	require.Equal(t, ihcv1.Cause_CAUSE_INPUT, f.GetCause())
	require.Contains(t, f.GetReason(), "only 100 of the 101 results of run origin are stored")
	require.Zero(t, count(t, db, `SELECT count(*) FROM pipeline_journeys JOIN pipeline_runs USING (run) WHERE run_id = 'incomplete'`), "nothing of it was stored")
}

// Results that were acknowledged and are not in the ledger, as after a backup of
// the database was put back, are found and stored again.
func TestResultsThatTheLedgerLostAreStoredAgain(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := filepath.Join(t.TempDir(), "shop.db")
	newDB(t, db)
	stop := write(b, db)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	extracted(b, "run", 6, 12)
	publishResults(t, b, "run", 5)
	b.Idle(stream.Scored)
	b.Idle(stream.Milestones)
	stop()
	c, err := sql.Open("sqlite3", db)
	require.NoError(t, err)
	_, err = c.Exec(`DELETE FROM pipeline_runs; DELETE FROM pipeline_chunks; DELETE FROM pipeline_counts; DELETE FROM pipeline_outcomes; DELETE FROM pipeline_journeys`)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	b.Service(stream.StageWriter, func(ctx context.Context, d service.Deps) error {
		d.LookEvery = 10 * time.Millisecond
		return Run(ctx, Config{Database: db, Batch: 10}, d)
	})
	require.NoError(t, b.PublishResult(b.Ctx, result("run", 6)))
	w := b.Await("run", isWritten).GetWritten()
	require.EqualValues(t, 6, w.GetCounts().GetAttributed())
	require.EqualValues(t, 6, w.GetRequests())
	require.Equal(t, 12, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))
}

// The end of a run counts from the moment it is in the stream, whether the writer
// has heard of it or not.
func TestRunThatEndsWhileItIsStoredDoesNotShow(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	publishResults(t, b, "run", 5)
	b.Idle(stream.Scored)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	_, err := b.JS.Publish(b.Ctx, "ihc.v1.run.extracted.run", []byte(`{"extracted":{"chunks":5,"counts":{"in_range":10}}}`))
	require.NoError(t, err)
	b.Idle(stream.Milestones)
	require.Zero(t, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))
	events, err := b.Events(b.Ctx, "run")
	require.NoError(t, err)
	require.Len(t, events, 3)
}

// Whoever finds a run complete that is written already, as by an event that is
// delivered again, does not say so once more.
func TestRunIsToldOnceToBeWritten(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := filepath.Join(t.TempDir(), "shop.db")
	newDB(t, db)
	var log bytes.Buffer
	stop := b.Service(stream.StageWriter, func(ctx context.Context, d service.Deps) error {
		d.Log = slog.New(slog.NewTextHandler(&log, nil))
		return Run(ctx, Config{Database: db, Batch: 10}, d)
	})
	write := func(id string) {
		accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}})
		publishResults(t, b, id, 1)
		extracted(b, id, 1, 2)
		b.Await(id, isWritten)
	}
	write("run")
	_, err := b.JS.Publish(b.Ctx, "ihc.v1.run.extracted.run", []byte(`{"extracted":{"chunks":1,"counts":{"in_range":2}}}`))
	require.NoError(t, err)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{}}}) // so that the next need not wait for it
	write("after")                                                                                   // all before it was taken
	stop()
	require.Equal(t, 1, strings.Count(log.String(), `msg="run written" run=run `), log.String())
}

// What ends a run counts if it comes after the run was asked for, be it that both
// are heard together.
func TestEndCountsThatComesAfterTheRunWasAskedFor(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	cancel := &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}}
	b.Event("early", cancel)
	b.Idle(stream.Milestones)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "early"}})
	publishResults(t, b, "early", 1)
	extracted(b, "early", 1, 2)
	b.Await("early", isWritten)

	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "waits"}))
	b.Event("waits", cancel)
	begun, err := b.Begun(b.Ctx, "waits")
	require.NoError(t, err)
	late, err := proto.Marshal(&ihcv1.RunEvent{RunId: "waits", Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{
		Request: &ihcv1.RunRequest{RunId: "waits"}, Asked: run.Asked(time.Now(), begun)}}})
	require.NoError(t, err)
	_, err = b.JS.Publish(b.Ctx, "ihc.v1.run.accepted.waits", late)
	require.NoError(t, err)
	b.Idle(stream.Milestones)
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM pipeline_runs WHERE run_id = 'waits' AND status = 'cancelled'`))
	require.Equal(t, 2, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))
}

func TestNothingMoreIsWrittenOfACancelledRun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := filepath.Join(t.TempDir(), "shop.db")
	newDB(t, db)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	publishResults(t, b, "run", 5)
	extracted(b, "run", 5, 10)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "other"}})
	publishResults(t, b, "other", 1)
	extracted(b, "other", 1, 2)
	write(b, db)
	b.Await("other", isWritten)
	b.Idle(stream.Scored)
	b.Idle(stream.Milestones)
	require.Equal(t, 2, count(t, db, `SELECT count(*) FROM attribution_customer_journey`), "those of the other")
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM pipeline_journeys`), "those of the other")
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM pipeline_runs WHERE run_id = 'run' AND status = 'cancelled'`))
	events, err := b.Events(b.Ctx, "run")
	require.NoError(t, err)
	require.Len(t, events, 3)
}

// A run that failed before it was accepted may have failed on the database.
func TestRunThatNeverBeganLeavesNoTrace(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Failed{Failed: &ihcv1.RunFailed{}}})
	b.Idle(stream.Milestones)
	require.Zero(t, count(t, db, `SELECT count(*) FROM sqlite_schema WHERE name LIKE 'pipeline%'`))
}

// No database is no reason to lose anything.
// A message that comes again when its run has a report, and the database was replaced
// since, keeps nobody waiting: nobody judges that any more.
func TestWhatComesAgainOfARunThatEndedOnAnotherDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := filepath.Join(t.TempDir(), "shop.db")
	newDB(t, db)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}, Database: "of another"})
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{}}})
	publishResults(t, b, "run", 2)
	write(b, db)
	b.Idle(stream.Scored)
	require.Zero(t, count(t, db, `SELECT count(*) FROM sqlite_schema WHERE name = 'attribution_customer_journey'`))
}

func TestResultsWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := filepath.Join(t.TempDir(), "shop.db")
	trouble := make(chan error, 1000)
	b.Service(stream.StageWriter, func(ctx context.Context, d service.Deps) error {
		d.Ready = func(err error) { trouble <- err }
		return Run(ctx, Config{Database: db, Batch: 10}, d)
	})
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	publishResults(t, b, "run", 3)
	extracted(b, "run", 3, 6)
	b.Told(trouble, "no database at")
	newDB(t, db)
	require.EqualValues(t, 3, b.Await("run", isWritten).GetWritten().GetCounts().GetAttributed())
	require.Empty(t, b.Dead(0))
}

func TestTwoWritersOnOneDatabase(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	write(b, db)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	extracted(b, "run", 60, 120)
	publishResults(t, b, "run", 60)
	require.EqualValues(t, 60, b.Await("run", isWritten).GetWritten().GetCounts().GetAttributed())
	require.Equal(t, 120, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))
}

// A chunk that was scored anew after its run was written has it written, and
// so reported, once more.
func TestLaterRevisionIsWrittenAgain(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	extracted(b, "run", 2, 4)
	publishResults(t, b, "run", 2)
	b.Await("run", isWritten)
	mended := &ihcv1.AttributionResult{RunId: "run", Chunk: 2, Revision: 1, Model: "api", Requests: 1, Attributions: []*ihcv1.Attribution{
		{ConvId: "a2", SessionIds: []string{"s1"}, Ihc: []uint32{10_000}}, {ConvId: "b2", SessionIds: []string{"s1"}, Ihc: []uint32{10_000}}}}
	require.NoError(t, b.PublishResult(b.Ctx, mended))
	w := b.Await("run", func(e *ihcv1.RunEvent) bool { return e.GetWritten().GetRevision() == 1 }).GetWritten()
	require.True(t, proto.Equal(&ihcv1.Counts{InRange: 4, Attributed: 3, Failed: 1, Touchpoints: 4}, w.GetCounts()), w.GetCounts())
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM attribution_customer_journey WHERE conv_id = 'a2'`))
}

// The proof of a run is of the tables as it left them: the next one is written
// when it is reported.
func TestRunsAreWrittenOneAfterTheOther(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "one"}})
	extracted(b, "one", 2, 4)
	publishResults(t, b, "one", 2)
	b.Await("one", isWritten)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "two"}})
	extracted(b, "two", 1, 2)
	publishResults(t, b, "two", 1)
	require.Eventually(t, func() bool {
		p, err := b.Progress(b.Ctx, "two")
		return err == nil && strings.Contains(p[stream.StageWriter].GetWaiting(), "waiting for the report of run one")
	}, 50*time.Second, 5*time.Millisecond)
	require.Equal(t, 4, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))
	_, err := b.WrittenAt(b.Ctx, "two")
	require.ErrorIs(t, err, stream.ErrNotFound)
	b.Event("one", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{}}})
	b.Await("two", isWritten)
	b.Idle(stream.Scored)
}

// late stores a result right after it was asked which are missing, as another batch
// may.
type late struct {
	store.Database
	result *ihcv1.AttributionResult
}

func (l *late) Missing(ctx context.Context, run string, chunks uint32) ([]uint32, error) {
	missing, err := l.Database.Missing(ctx, run, chunks)
	return missing, errors.Join(err, l.Store(ctx, []*ihcv1.AttributionResult{l.result}))
}

func TestRunThatIsCompletedWhileItIsLookedAtWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	path := filepath.Join(t.TempDir(), "shop.db")
	newDB(t, path)
	stop := write(b, path)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "one"}})
	extracted(b, "one", 1, 2)
	publishResults(t, b, "one", 1)
	b.Await("one", isWritten)
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "two"}})
	extracted(b, "two", 1, 2)
	b.Idle(stream.Milestones)
	stop()

	looked := make(chan [2]error, 1)
	b.Service(stream.StageWriter, func(ctx context.Context, d service.Deps) error {
		db := open.Database(path)
		defer db.Close()
		w := &writer{Deps: d, ledger: &late{db, result("two", 1)}, metrics: newMetrics(d.Metrics), owned: map[string]bool{}}
		w.ended = d.Bus.WatchEnded(ctx, w.hear)
		looked <- [2]error{w.finish(ctx, "two"), w.finish(ctx, "two")}
		return nil
	})
	for i, err := range <-looked {
		_, written := b.WrittenAt(b.Ctx, "two")
		require.ErrorIs(t, written, stream.ErrNotFound)
		if i == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "waiting for the report of run one")
		}
	}
}

func TestUnusableResultsEndInTheDeadLetters(t *testing.T) {
	t.Parallel()
	b, _ := setup(t)
	for subject, r := range map[string]*ihcv1.AttributionResult{
		"ihc.v1.journeys.attributed.run.1": result("other", 1),
		"ihc.v1.journeys.attributed.run.2": result("run", 3),
		"ihc.v1.journeys.attributed.run.4": {RunId: "run", Chunk: 4, Attributions: []*ihcv1.Attribution{{ConvId: "a", SessionIds: []string{"s"}}}},
	} {
		data, err := proto.Marshal(r)
		require.NoError(t, err)
		_, err = b.JS.Publish(b.Ctx, subject, data)
		require.NoError(t, err)
	}
	var reasons []string
	for _, d := range b.Dead(3) {
		require.Equal(t, stream.StageWriter, d.Stage)
		reasons = append(reasons, d.Reason)
	}
	all := strings.Join(reasons, "\n")
	require.Contains(t, all, `it says run "other", chunk 1`)
	require.Contains(t, all, `it says run "run", chunk 3`)
	require.Contains(t, all, `has 1 sessions and 0 shares`)
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	require.NoError(t, Config{Batch: 1}.Validate())
	require.ErrorContains(t, Config{}.Validate(), "IHC_WRITE_BATCH")
}

// FuzzDecode holds that what is accepted belongs where it came from and has a
// share for each session.
func FuzzDecode(f *testing.F) {
	data, err := proto.Marshal(result("run", 1))
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte{})
	f.Add([]byte("garbage"))
	d := stream.Delivery{Subject: "ihc.v1.journeys.attributed.run.1", Run: "run", Chunk: 1}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode(d, data)
		if err != nil {
			return
		}
		require.Equal(t, d.Run, r.GetRunId())
		require.Equal(t, d.Chunk, r.GetChunk())
		for _, a := range r.GetAttributions() {
			require.NotEmpty(t, a.GetIhc())
			require.Len(t, a.GetIhc(), len(a.GetSessionIds()))
		}
	})
}

// SQLite keeps one writer: a second one does no harm, and is told that it does no
// good.
func TestSecondWriterOfAFileIsTold(t *testing.T) {
	t.Parallel()
	b, db := setup(t)
	said := make(said, 100)
	b.Service(stream.StageWriter, func(ctx context.Context, d service.Deps) error {
		d.LookEvery, d.Log = 5*time.Millisecond, slog.New(slog.NewTextHandler(said, nil))
		return Run(ctx, Config{Database: db, Batch: 10}, d)
	})
	for line := range said {
		if strings.Contains(line, "a SQLite file takes one at a time") {
			break
		}
	}
	accepted(b, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	publishResults(t, b, "run", 25)
	extracted(b, "run", 25, 50)
	b.Await("run", isWritten)
	require.Equal(t, 50, count(t, db, `SELECT count(*) FROM attribution_customer_journey`))
}

// said is what is logged, line by line.
type said chan string

func (s said) Write(line []byte) (int, error) {
	select {
	case s <- string(line):
	default: // nobody reads any more
	}
	return len(line), nil
}
