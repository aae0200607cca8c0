package reporter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// newDB makes a database with one conversion attributed and one failed, as the
// writer leaves it.
func newDB(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path+".new")
	require.NoError(t, err)
	_, err = db.Exec(sqlite.Schema + `
		INSERT INTO session_sources VALUES ('s', 'u', '2023-01-01', '12:00:00', 'SEO', 0, 0, 0);
		INSERT INTO session_costs VALUES ('s', 2);
		INSERT INTO conversions VALUES ('c', 'u', '2023-01-02', '12:00:00', 10), ('d', 'u', '2023-01-02', '12:00:00', 10)`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	ran(t, path+".new")
	require.NoError(t, os.Rename(path+".new", path))
}

// ran leaves in a database what the writer does.
func ran(t *testing.T, name string) {
	t.Helper()
	ledger := open.Database(name)
	failed := func(conv, reason string) []*ihcv1.Outcome {
		return []*ihcv1.Outcome{{ConvId: conv, Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, Reason: reason, Sessions: 1}}
	}
	require.NoError(t, ledger.Expect(t.Context(), "run", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 2}}))
	require.NoError(t, ledger.Store(t.Context(), []*ihcv1.AttributionResult{
		{RunId: "other", Chunk: 1, Outcomes: failed("c", "of another")},
		{RunId: "run", Chunk: 1, Outcomes: failed("d", "why"),
			Attributions: []*ihcv1.Attribution{{ConvId: "c", SessionIds: []string{"s"}, Ihc: []uint32{10_000}}}}}))
	state, err := ledger.Finish(t.Context(), "run")
	require.NoError(t, err)
	require.True(t, state.Complete)
	require.NoError(t, ledger.Close())
}

func serve(b *streamtest.Bus, cfg Config, ready func(error)) {
	b.Service(stream.StageReporter, func(ctx context.Context, d service.Deps) error {
		d.Ready = ready
		return Run(ctx, cfg, d)
	})
}

var counts = &ihcv1.Counts{InRange: 2, Attributed: 1, Failed: 1, Touchpoints: 1}

func written(b *streamtest.Bus, revision uint32) {
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}}})
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{Counts: counts, Requests: 3, Model: "api", Revision: revision}}})
}

func isReported(e *ihcv1.RunEvent) bool { return e.GetReported() != nil }

const wantCSV = "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS\nSEO,2023-01-01,2,1,10,2,5\n"

func TestReport(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	dir := t.TempDir()
	cfg := Config{Database: filepath.Join(dir, "shop.db"), Out: filepath.Join(dir, "out")}
	newDB(t, cfg.Database)
	serve(b, cfg, nil)
	written(b, 0)
	r := b.Await("run", isReported).GetReported().GetReport()
	require.Equal(t, []any{"run", "api", uint64(3), uint64(1), "1", "10", "2", filepath.Join(cfg.Out, CSVFile)},
		[]any{r.GetRunId(), r.GetModel(), r.GetRequests(), r.GetReportRows(), r.GetIhc(), r.GetIhcRevenue(), r.GetCost(), r.GetCsv()})
	require.Len(t, r.GetReasons(), 1, "those of the run alone")
	require.Equal(t, "d", r.GetReasons()[0].GetExampleConvId())
	require.Equal(t, []string{"20", "10", "10", "10"},
		[]string{r.GetRevenue().GetInRange(), r.GetRevenue().GetAttributed(), r.GetRevenue().GetUnattributed(), r.GetReasons()[0].GetRevenue()})
	require.Len(t, r.GetReconciliation(), 10)
	for _, e := range r.GetReconciliation() {
		require.True(t, e.GetHolds(), e.GetDescription())
	}
	csv, err := os.ReadFile(r.GetCsv())
	require.NoError(t, err)
	require.Equal(t, wantCSV, string(csv))
	proof, err := os.ReadFile(filepath.Join(cfg.Out, ReconciliationFile))
	require.NoError(t, err)
	require.True(t, json.Valid(proof))
	var result run.Result
	require.NoError(t, json.Unmarshal(proof, &result))
	require.Equal(t, []any{"run", run.StatusPartly, json.Number("10")}, []any{result.RunID, result.Status, result.IHCRevenue})
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(csv)), result.CSVDigest, "it says which run the CSV is of")
	page, err := os.ReadFile(filepath.Join(cfg.Out, PageFile))
	require.NoError(t, err)
	require.Contains(t, string(page), "<h1>Attribution report</h1>")

	// Reported again, as after a crash: the same bytes.
	written(b, 1)
	b.Await("run", func(e *ihcv1.RunEvent) bool { return e.GetReported().GetRevision() == 1 })
	b.Idle(stream.Written)
	csv, err = os.ReadFile(r.GetCsv())
	require.NoError(t, err)
	require.Equal(t, wantCSV, string(csv))
	again, err := os.ReadFile(filepath.Join(cfg.Out, ReconciliationFile))
	require.NoError(t, err)
	require.Equal(t, string(proof), string(again))
	again, err = os.ReadFile(filepath.Join(cfg.Out, PageFile))
	require.NoError(t, err)
	require.Equal(t, string(page), string(again))
}

// A run that was ended is not reported, though it was written; nor is one that
// was, by a reporter that wakes up late, over the files of a later run.
func TestWhatHasEndedIsNotReported(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	dir := t.TempDir()
	cfg := Config{Database: filepath.Join(dir, "shop.db"), Out: filepath.Join(dir, "out")}
	newDB(t, cfg.Database)
	written(b, 0)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	again := &ihcv1.RunEvent{RunId: "late", Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{Counts: counts}}}
	b.Event("late", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "late"}}}})
	b.Event("late", again)
	b.Event("late", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{Report: &ihcv1.Report{RunId: "late"}}}})
	serve(b, cfg, nil)
	b.Idle(stream.Written)
	require.NoFileExists(t, filepath.Join(cfg.Out, CSVFile))
	require.NoFileExists(t, filepath.Join(cfg.Out, ReconciliationFile))
	events, err := b.Events(b.Ctx, "*")
	require.NoError(t, err)
	require.Len(t, events, 6)
}

// A proof that does not hold is the run's state, an error in the log and a
// metric.
func TestReportWhoseProofDoesNotHoldIsSeenEverywhere(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	dir := t.TempDir()
	cfg := Config{Database: filepath.Join(dir, "shop.db"), Out: filepath.Join(dir, "out")}
	newDB(t, cfg.Database)
	db, err := sql.Open("sqlite3", cfg.Database)
	require.NoError(t, err)
	_, err = db.Exec(`UPDATE attribution_customer_journey SET ihc = 1.9`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	metrics := prometheus.NewRegistry()
	var log bytes.Buffer
	stop := b.Service(stream.StageReporter, func(ctx context.Context, d service.Deps) error {
		d.Metrics, d.Log = metrics, slog.New(slog.NewTextHandler(&log, nil))
		return Run(ctx, cfg, d)
	})
	written(b, 0)
	r := b.Await("run", isReported).GetReported().GetReport()
	b.Idle(stream.Written)
	stop()
	require.Equal(t, run.StatusUnreconciled, run.Conclusion(r))
	require.Contains(t, log.String(), "level=ERROR msg=\"reconciliation does not hold\" run=run equation=ihc ")
	require.Contains(t, log.String(), "equation=shares ")
	families, err := metrics.Gather()
	require.NoError(t, err)
	counted := map[string]float64{}
	for _, f := range families {
		counted[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	require.EqualValues(t, 1, counted["ihc_runs_unreconciled_total"])
}

func TestReportWaitsForItsDatabase(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	dir := t.TempDir()
	cfg := Config{Database: filepath.Join(dir, "shop.db"), Out: dir}
	trouble := make(chan error, 1000)
	serve(b, cfg, func(err error) { trouble <- err })
	written(b, 0)
	b.Told(trouble, "no database at")
	newDB(t, cfg.Database)
	b.Await("run", isReported)
	require.Empty(t, b.Dead(0))
}

func TestDamagedDatabaseEndsTheRun(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	cfg := Config{Database: filepath.Join(t.TempDir(), "shop.db"), Out: t.TempDir()}
	require.NoError(t, os.WriteFile(cfg.Database, []byte("this is no database, and never was one"), 0o600))
	serve(b, cfg, nil)
	written(b, 0)
	f := b.Await("run", func(e *ihcv1.RunEvent) bool { return e.GetFailed() != nil }).GetFailed()
	require.Equal(t, ihcv1.Cause_CAUSE_INPUT, f.GetCause())
	require.Equal(t, stream.StageReporter, f.GetStage())
	require.NoFileExists(t, filepath.Join(cfg.Out, CSVFile))
}

// Each row names the run where a data team loads the files of many nights into
// one table.
func TestCSVHasAColumnForTheRunWhereItIsSet(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	dir := t.TempDir()
	cfg := Config{Database: filepath.Join(dir, "shop.db"), Out: filepath.Join(dir, "out"), RunColumn: true}
	newDB(t, cfg.Database)
	serve(b, cfg, nil)
	written(b, 0)
	r := b.Await("run", isReported).GetReported().GetReport()
	csv, err := os.ReadFile(r.GetCsv())
	require.NoError(t, err)
	require.Equal(t, "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS,run_id\nSEO,2023-01-01,2,1,10,2,5,run\n", string(csv))
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(csv)), r.GetCsvSha256())
}
