//go:build chaos

package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// calm is the workload of the tests that make one kind of trouble at a time.
var calm = &workload{seed: 1}

// calmStack starts a stack on the calm workload's shop with an API that
// answers, and returns what is awaited of it.
func calmStack(t *testing.T, o stackOptions) (*stack, *api, context.Context) {
	t.Helper()
	calm.refer(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	if o.api == nil {
		o.api = startAPI(t, 1, misfits())
	}
	s := newStack(t, o)
	copyFile(t, calm.db, s.db)
	return s, o.api, ctx
}

func TestDatabaseLockedFor20Seconds(t *testing.T) {
	t.Parallel()
	s, a, ctx := calmStack(t, stackOptions{})
	s.start()
	release := s.midway(ctx, a)
	db, err := sql.Open("sqlite3", "file:"+s.db+"?_busy_timeout=60000&_txlock=immediate")
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil) // the one writer there can be
	require.NoError(t, err)
	release()
	_, err = tx.ExecContext(ctx, `CREATE TABLE somebody_elses (x)`)
	require.NoError(t, err)
	since := time.Now()
	<-time.After(20 * time.Second) // what is tested is a length of time
	require.NoError(t, tx.Rollback())
	require.NoError(t, db.Close())
	require.GreaterOrEqual(t, time.Since(since), 20*time.Second)
	s.ends(ctx)
	require.Zero(t, s.kills("writer"))
}

// A lock that outlasts SQLite's patience of half a minute holds a run up, too.
func TestDatabaseLockedForLong(t *testing.T) {
	t.Parallel()
	s, a, ctx := calmStack(t, stackOptions{})
	s.start()
	release := s.midway(ctx, a)
	db, err := sql.Open("sqlite3", "file:"+s.db+"?_busy_timeout=60000&_txlock=immediate")
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	release()
	s.says(ctx, "writer-1", "is locked by another program", 1)
	require.NoError(t, tx.Rollback())
	s.ends(ctx)
}

// A full stream holds publishers up and drops nothing. Its bound is a setting
// that the init step brings to the server when it starts.
func TestStreamsAtTheirLimit(t *testing.T) {
	t.Parallel()
	s, _, ctx := calmStack(t, stackOptions{env: []string{"IHC_STREAM_MAX_BYTES=8000"}})
	s.start()
	s.request(ctx, calm.request())
	s.says(ctx, "extractor", "JetStream did not take a message", 1)
	s.unbounded()
	s.ends(ctx)
}

func TestServerAtItsLimit(t *testing.T) {
	t.Parallel()
	// The bound is on the whole store; the streams themselves have none.
	s, a, ctx := calmStack(t, stackOptions{natsArgs: []string{"-max-store", "30000"}})
	s.start()
	s.request(ctx, calm.request())
	full := func() bool {
		return slices.ContainsFunc([]string{"extractor", "attributor-1", "attributor-2"}, func(name string) bool {
			return strings.Contains(tail(s.procs[name].log, 1000), "JetStream did not take")
		})
	}
	for !full() {
		require.NoError(t, ctx.Err(), s.logs(25))
		<-time.After(20 * time.Millisecond)
	}
	s.procs["nats"].kill()
	s.procs["nats"].args = append(s.procs["nats"].args, "-max-store", fmt.Sprint(1<<40)) // the last one counts
	s.startNow("nats")
	s.ends(ctx)
	_, repeated := a.repeats()
	require.LessOrEqual(t, repeated, 2*workers)
}

// Two of everything that is meant to be one, all killed in turn.
func TestTwoWritersAndReportersByMistake(t *testing.T) {
	t.Parallel()
	s, _, ctx := calmStack(t, stackOptions{writers: 2, reporters: 2, extractors: 2})
	s.start()
	var kills sync.WaitGroup
	for kind, n := range map[string]int{"journeys.extracted": 3, "journeys.attributed": 5, "run.extracted": 1, "run.written": 1} {
		at, victims := s.tap.on(kind, n), []string{"writer-1", "reporter-1", "extractor-1"}
		kills.Go(func() {
			select {
			case <-at:
			case <-ctx.Done():
				return
			}
			for _, name := range victims {
				s.procs[name].kill()
				_ = s.procs[name].start()
			}
		})
	}
	s.request(ctx, calm.request())
	kills.Wait() // none may come when all is stopped
	s.ends(ctx)
}

// One of each kind is suspended in the midst of its work, for longer than its
// messages are kept for it, and wakes when the other has done the work.
func TestSuspendedProcessesWakeUpLate(t *testing.T) {
	t.Parallel()
	s, _, ctx := calmStack(t, stackOptions{reporters: 2, extractors: 2, attributors: 2})
	s.startWithout("extractor-2", "reporter-2")
	extracting, scoring, written, reported := s.tap.on("journeys.extracted", 3), s.tap.on("journeys.attributed", 5), s.tap.on("run.written", 1), s.tap.on("run.reported", 1)
	at := func(moment <-chan struct{}, name string) {
		select {
		case <-moment:
			s.procs[name].send(syscall.SIGSTOP)
		case <-ctx.Done():
		}
	}
	s.request(ctx, calm.request())
	at(extracting, "extractor-1")
	s.startNow("extractor-2")
	at(scoring, "attributor-1")
	at(written, "reporter-1")
	s.startNow("reporter-2")
	// Reporter-1 can have fallen asleep in its transaction: then it has the
	// database to itself until it wakes, and the other says so.
	for over := false; !over; {
		select {
		case <-reported:
			over = true
		case <-time.After(20 * time.Millisecond):
			over = s.said("reporter-2", "is locked by another program") > 0
		case <-ctx.Done():
			require.Fail(t, "nobody took the work over", s.logs(25))
		}
	}
	for _, name := range []string{"extractor-1", "attributor-1", "reporter-1"} {
		s.procs[name].send(syscall.SIGCONT)
	}
	s.ends(ctx)
}

// A disaster takes chunks and results away that were acknowledged, in mid-run.
func TestMessagesAreLostInMidRun(t *testing.T) {
	t.Parallel()
	s, _, ctx := calmStack(t, stackOptions{})
	s.startWithout("writer")
	s.request(ctx, calm.request())
	s.published(ctx, "run.extracted", 1)
	s.published(ctx, "journeys.attributed", 12)
	for name, places := range map[string][]uint64{"IHC_JOURNEYS": {1, 2, 5}, "IHC_RESULTS": {1, 4, 7}} {
		from, err := s.js.Stream(ctx, name)
		require.NoError(t, err)
		for _, at := range places {
			require.NoError(t, from.DeleteMsg(ctx, at))
		}
	}
	s.startNow("writer")
	s.ends(ctx)
}

// Two runs at once that ask for different things of the same conversions: each
// conversion is as one of them has it, never a bit of both, and the report is
// the one that belongs to the table.
func TestOverlappingRuns(t *testing.T) {
	t.Parallel()
	calm.refer(t)
	near := calm.request()
	near.LookbackDays, near.RunId = 20, "near"
	far := calm.request()
	far.RunId = "far"
	shares := map[string]map[string]string{}
	for _, req := range []*ihcv1.RunRequest{near, far} { // each alone
		s, _, ctx := calmStack(t, stackOptions{})
		s.start()
		s.request(ctx, req)
		_, err := s.outcome(ctx, req.GetRunId())
		require.NoError(t, err)
		s.stop()
		shares[req.GetRunId()] = byConversion(s.left(ctx).tables)
	}
	require.NotEqual(t, shares["near"], shares["far"])
	for i := range 5 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s, _, ctx := calmStack(t, stackOptions{extractors: 2, writers: 2})
			s.start()
			running, over := context.WithCancel(ctx)
			defer over()
			var kills sync.WaitGroup
			if i > 0 {
				at := s.tap.on("journeys.attributed", 7*i)
				kills.Go(func() {
					select {
					case <-at:
					case <-running.Done():
						return
					}
					for _, name := range []string{"writer-1", "attributor-2"} {
						s.procs[name].kill()
						_ = s.procs[name].start()
					}
				})
			}
			s.request(ctx, near)
			s.request(ctx, far)
			for _, run := range []string{"near", "far"} {
				_, err := s.outcome(ctx, run)
				require.NoError(t, err, s.logs(20))
			}
			over()
			kills.Wait() // none may come when all is stopped
			require.NoError(t, s.drained(ctx))
			s.stop()
			left := s.left(ctx)
			from := map[string]int{}
			for conv, rows := range byConversion(left.tables) {
				switch rows {
				case shares["near"][conv] + shares["far"][conv]: // of both, where one has none
					from["either"]++
				case shares["near"][conv]:
					from["near"]++
				case shares["far"][conv]:
					from["far"]++
				default:
					require.Fail(t, "a conversion is a bit of both", "%s:\n%s\nnear:\n%s\nfar:\n%s", conv, rows, shares["near"][conv], shares["far"][conv])
				}
			}
			t.Log(from)
			// The last report was made after both were written: it is the
			// one a run on these tables alone gives.
			require.Len(t, left.tables["pipeline_runs"], 2)
			requireReportFits(t, s)
		})
	}
}

// byConversion returns the attributions of each conversion as one text.
func byConversion(tables snapshot.Tables) map[string]string {
	all := map[string]string{}
	for _, row := range tables["attribution_customer_journey"] {
		conv, _, _ := strings.Cut(row, " | ")
		all[conv] += row + "\n"
	}
	return all
}

// requireReportFits checks channel_reporting against the tables it is a
// function of.
func requireReportFits(t *testing.T, s *stack) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.db+"?mode=ro")
	require.NoError(t, err)
	defer db.Close()
	var wrong int
	require.NoError(t, db.QueryRowContext(t.Context(), `
		WITH earned AS (
			SELECT s.channel_name AS channel, s.event_date AS date, sum(a.ihc) AS ihc, sum(a.ihc * c.revenue) AS revenue
			FROM attribution_customer_journey a JOIN conversions c USING (conv_id) JOIN session_sources s ON s.session_id = a.session_id GROUP BY 1, 2)
		SELECT count(*) FROM channel_reporting r LEFT JOIN earned e ON e.channel = r.channel_name AND e.date = r.date
		WHERE abs(r.ihc - coalesce(e.ihc, 0)) > 1e-9 OR abs(r.ihc_revenue - coalesce(e.revenue, 0)) > 1e-6`).Scan(&wrong))
	require.Zero(t, wrong, "rows of channel_reporting that do not follow from the tables")
}

// A message on which process after process dies ends in the dead letters,
// alone, and its run goes on once it is put back.
func TestMessageThatKillsWhoeverTakesIt(t *testing.T) {
	t.Parallel()
	a := startAPI(t, 1, misfits())
	s, _, ctx := calmStack(t, stackOptions{api: a, attributors: 1})
	var victim string // a conversion like any other
	db, err := sql.Open("sqlite3", "file:"+s.db+"?mode=ro")
	require.NoError(t, err)
	require.NoError(t, db.QueryRowContext(ctx, `SELECT conv_id FROM conversions WHERE EXISTS (SELECT 1 FROM session_sources s WHERE s.user_id = conversions.user_id
		AND s.event_date < conv_date) AND conv_id NOT GLOB 'o_000000003*' AND conv_id > 'o_000000030' ORDER BY conv_id LIMIT 1`).Scan(&victim))
	require.NoError(t, db.Close())
	deadly := make(chan struct{}, 1000)
	a.onConversion(victim, func() { deadly <- struct{}{}; <-ctx.Done() }) // never answered
	s.start()
	attributor := s.procs["attributor-1"]
	safe, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-deadly:
				attributor.kill()
				_ = attributor.start()
			case <-safe.Done():
				return
			}
		}
	}()
	s.request(ctx, calm.request())
	_, err = s.outcome(ctx, "chaos")
	require.ErrorContains(t, err, "processes died while working on this message", s.logs(20))
	require.ErrorContains(t, err, "a dead letter of the attributor")
	cancel()
	a.onConversion("", nil)
	t.Logf("%d attributors died of it", attributor.kills)

	require.Equal(t, 1, s.stored(ctx, "IHC_DEAD"), "nothing but the one message")
	out, code := s.ihc(ctx, "dead", "requeue", "1")
	require.Zero(t, code, out)
	out, code = s.ihc(ctx, "status", "chaos", "--watch")
	require.Equal(t, 1, code, "some conversions fail in this shop: %s", out)
	require.NoError(t, s.drained(ctx))
	s.stop()
	// But for the count of chunks put back, it is the undisturbed run.
	left := s.left(ctx)
	for table, from := range map[string]string{"pipeline_runs": " | 0", "pipeline_chunks": ""} {
		require.Len(t, left.tables[table], len(calm.want.tables[table]), from)
	}
	users := func(name string) bool { return !strings.HasPrefix(name, "pipeline_") || name == "pipeline_outcomes" }
	require.Empty(t, calm.want.tables.Only(users).Diff(left.tables.Only(users)))
	require.Equal(t, calm.want.files["channel_reporting.csv"], left.files["channel_reporting.csv"])
}

// Every service may be killed for good in the middle; another takes its place.
// The run waits for as long as there is none.
func TestServicesThatComeLate(t *testing.T) {
	t.Parallel()
	s, _, ctx := calmStack(t, stackOptions{})
	require.NoError(t, s.procs["extractor"].start()) // before there is a server
	require.NoError(t, s.procs["writer-1"].start())
	require.NoError(t, s.procs["init"].start())
	require.NoError(t, s.procs["nats"].start())
	s.connect()
	s.request(ctx, calm.request())
	s.published(ctx, "run.extracted", 1)
	s.procs["extractor"].kill()
	s.startNow("attributor")
	s.published(ctx, "run.written", 1)
	for _, name := range s.names() {
		s.procs[name].kill()
	}
	s.startNow("nats")
	s.startNow("reporter")
	_, err := s.outcome(ctx, "chaos")
	require.NoError(t, err, s.logs(25))
	s.startNow("")
	s.ends(ctx)
}

// The extractor's one message is under way for as long as a run is extracted,
// and may well see several processes die: that is no reason to give up. Chunks
// that are published are not published again.
func TestExtractorKilledInARow(t *testing.T) {
	t.Parallel()
	large := &workload{seed: 8, large: true}
	large.refer(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newStack(t, stackOptions{env: []string{onlySome}})
	copyFile(t, large.db, s.db)
	s.startWithout("attributor", "writer", "reporter") // which would take the time of the one processor
	s.request(ctx, large.request())
	s.says(ctx, "extractor", "JetStream did not take a message", 1)
	s.procs["extractor"].kill() // in the middle, and then wherever it is
	s.unbounded()
	s.startNow("extractor")
	var middle atomic.Int64
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for n := 2; n <= 4; n++ {
			select {
			case <-s.tap.on("journeys.extracted", 60*n):
			case <-ctx.Done():
				return
			}
			select {
			case <-s.tap.on("run.extracted", 1):
			default:
				middle.Add(1)
			}
			s.procs["extractor"].kill()
			_ = s.procs["extractor"].start()
		}
	}()
	s.published(ctx, "run.extracted", 1)
	<-killed
	t.Logf("%d killed in the middle", 1+middle.Load())
	s.startNow("")
	_, err := s.outcome(ctx, "chaos")
	require.NoError(t, err, s.logs(20))
	require.NoError(t, s.drained(ctx))
	require.Equal(t, len(large.want.tables["pipeline_chunks"]), s.stored(ctx, "IHC_JOURNEYS"), "chunks in the stream")
	s.stop()
	require.Empty(t, large.want.diff(s.left(ctx)))
}

// A writer that dies while it brings the users' table to the journal's state
// leaves that table as it was before the run, whole (invariant 9); another does
// it again, from the beginning.
func TestWriterKilledInTheSweep(t *testing.T) {
	t.Parallel()
	large := &workload{seed: 11, large: true}
	large.refer(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newStack(t, stackOptions{})
	copyFile(t, large.db, s.db)
	db, err := sql.Open("sqlite3", "file:"+s.db+"?_busy_timeout=10000")
	require.NoError(t, err)
	defer db.Close()
	number := func(query string) (n int) {
		require.NoError(t, db.QueryRowContext(ctx, query).Scan(&n))
		return n
	}
	s.startWithout("writer", "reporter")
	s.request(ctx, large.request())
	chunks := len(large.want.tables["pipeline_chunks"])
	<-s.tap.on("journeys.attributed", chunks)
	// The first dies as soon as everything is stored, the next twice as far
	// on each time, until one is done.
	stored := func() bool {
		return number(`SELECT count(*) FROM sqlite_schema WHERE name = 'pipeline_chunks'`) > 0 && number(`SELECT count(*) FROM pipeline_chunks`) == chunks
	}
	middle := 0
	reading, err := db.Conn(ctx) // the first gets no further, since what shows a run waits for readers
	require.NoError(t, err)
	defer reading.Close()
	_, err = reading.ExecContext(ctx, `BEGIN; SELECT count(*) FROM sqlite_schema`)
	require.NoError(t, err)
	for wait := time.Duration(0); ; wait = max(2*wait, 20*time.Millisecond) {
		require.NoError(t, s.procs["writer-1"].start())
		for !stored() {
			require.NoError(t, ctx.Err(), "the results are not stored")
		}
		<-time.After(wait)
		s.procs["writer-1"].kill()
		if wait == 0 {
			_, err = reading.ExecContext(ctx, `ROLLBACK`)
			require.NoError(t, err)
		}
		if number(`SELECT count(*) FROM pipeline_runs WHERE shown`) > 0 {
			break // it was done before
		}
		require.Zero(t, number(`SELECT count(*) FROM attribution_customer_journey`), "part of a run shows")
		middle++
	}
	require.Positive(t, middle, "none was killed between the last result and the end of the sweep")
	t.Logf("%d killed between the last result and the end of the sweep", middle)
	s.startNow("")
	_, err = s.outcome(ctx, "chaos")
	require.NoError(t, err, s.logs(20))
	require.NoError(t, s.drained(ctx))
	s.stop()
	require.Empty(t, large.want.diff(s.left(ctx)))
}

// Data that change while a run is interrupted in the middle of reading them
// end the run, since half of its chunks would be of the one and half of the
// other. Asked for anew, it is a run like any other.
func TestDataChangedWhileInterrupted(t *testing.T) {
	t.Parallel()
	large := &workload{seed: 10, large: true}
	large.refer(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newStack(t, stackOptions{env: []string{onlySome}})
	copyFile(t, large.db, s.db)
	s.startWithout("attributor", "writer", "reporter")
	s.request(ctx, large.request())
	s.says(ctx, "extractor", "JetStream did not take a message", 1)
	s.procs["extractor"].kill()
	s.unbounded()
	db, err := sql.Open("sqlite3", "file:"+s.db+"?_busy_timeout=10000")
	require.NoError(t, err)
	_, err = db.ExecContext(ctx, `DELETE FROM session_sources WHERE user_id = (SELECT min(user_id) FROM conversions WHERE user_id IN (SELECT user_id FROM session_sources))`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	s.startNow("")
	_, err = s.outcome(ctx, "chaos")
	require.ErrorContains(t, err, "the source data changed while the run was interrupted")
	_, err = s.outcome(ctx, "chaos-v2") // the run that takes its place
	require.NoError(t, err, s.logs(20))
	again := large.request()
	again.RunId = "again"
	s.request(ctx, again)
	_, err = s.outcome(ctx, "again")
	require.NoError(t, err, s.logs(20))
	require.NoError(t, s.drained(ctx))
	s.stop()
}
