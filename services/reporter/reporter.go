// Package reporter is the pipeline's last stage: it fills channel_reporting,
// writes the CSV and proves that nothing leaked.
package reporter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/version"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/reconciliation"
	"github.com/ihc-pipeline/ihc/store/report"
)

// Config is the reporter's environment.
type Config struct {
	// Database is the path of the SQLite database that gets channel_reporting.
	Database string `envconfig:"IHC_DB" default:"/data/ihc.db" desc:"the database: path of a SQLite file, or postgres://…"`
	// Out is the directory that gets the files.
	Out string `envconfig:"IHC_OUT" default:"/data" desc:"directory for report.html, channel_reporting.csv and reconciliation.json"`
	// KeepRuns is of how many runs the database keeps records; 0 means of all.
	KeepRuns int `envconfig:"IHC_KEEP_RUNS" default:"30" desc:"runs whose records the database keeps, 2 or more (0: all)"`
	// RunColumn gives the CSV a last column run_id.
	RunColumn bool `envconfig:"IHC_RUN_COLUMN" default:"false" desc:"whether each row of channel_reporting.csv names its run, in a last column run_id"`
}

// Validate returns an input fault that names the variable that is wrong.
func (c Config) Validate() error {
	if c.KeepRuns < 0 || c.KeepRuns == 1 {
		return errkind.Inputf("IHC_KEEP_RUNS is %d: use 2 or more, so that there are two to compare, or 0 to keep all", c.KeepRuns)
	}
	return nil
}

// The files a report consists of.
const (
	PageFile           = "report.html"
	CSVFile            = "channel_reporting.csv"
	ReconciliationFile = "reconciliation.json"
)

// Files returns the names of all of them.
func Files() []string { return []string{PageFile, CSVFile, ReconciliationFile} }

// Run reports complete runs, one at a time, until ctx ends.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	r := &reporter{cfg: cfg, Deps: d, metrics: newMetrics(d.Metrics), db: open.Database(cfg.Database)}
	defer r.db.Close() //nolint:errcheck // every transaction is committed or gone
	d.Check(service.Database, r.db.Check)
	return stream.Consume(ctx, d.Bus, stream.Written, 1, nil, stream.DecodeEvent, r.handle)
}

type reporter struct {
	cfg Config
	service.Deps
	db      store.Database
	metrics *metrics
}

// judgedWithin is about how long it takes the extractor to see that the database
// was replaced.
const judgedWithin = 2 * time.Second

// handle makes a run's report. Doing it twice leaves the same table and files
// (invariant 3).
func (r *reporter) handle(ctx context.Context, m stream.Message[*ihcv1.RunEvent]) error {
	id := m.Body.GetRunId()
	written := m.Body.GetWritten()
	accepted, err := r.Bus.Accepted(ctx, id)
	if err == nil {
		err = r.toReport(ctx, id, written)
	}
	if errors.Is(err, stream.ErrNotFound) {
		if _, ended := r.Bus.Failed(ctx, id); ended == nil {
			return r.Outcome(ctx, nil, id) // by another stage, which misses the same
		}
	}
	if err != nil {
		return r.Outcome(ctx, err, id)
	}
	start := time.Now()
	result, err := r.own(ctx, accepted, written)
	if errors.Is(err, store.ErrRefused) && accepted.GetRequest().GetReplayOf() == "" {
		if _, ended := r.Bus.Failed(ctx, id); ended == nil {
			return r.Outcome(ctx, nil, id)
		}
		err = stream.Retry(err, judgedWithin) // the extractor will end the run
	}
	if err == nil {
		err = r.db.Keep(ctx, r.cfg.KeepRuns)
	}
	// Before anybody hears of it: the file alone is the database then, to be
	// copied or replaced.
	if err := errors.Join(err, r.db.Close()); err != nil {
		return r.Outcome(ctx, err, id)
	}
	if err := r.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{Report: result, Revision: written.GetRevision()}}}); err != nil {
		return r.Outcome(ctx, err, id)
	}
	if accepted, err := r.Bus.AcceptedAt(ctx, id); err == nil {
		r.metrics.run(accepted, written.GetCounts())
	}
	for _, e := range result.GetReconciliation() {
		if !e.GetHolds() {
			r.Log.Error("reconciliation does not hold", "run", id, "equation", e.GetName(), "is", e.GetDescription(), "left", e.GetLeft(), "right", e.GetRight())
		}
	}
	if run.Conclusion(result) == run.StatusUnreconciled {
		r.metrics.unreconciled.Inc()
	}
	r.Log.Info("run reported", "run", id, "rows", result.GetReportRows(), "csv", result.GetCsv(), "seconds", time.Since(start).Seconds())
	return r.Outcome(ctx, nil, id)
}

// own is report for a run that is the database's, before and after, since the
// database may be replaced in between.
func (r *reporter) own(ctx context.Context, accepted *ihcv1.RunAccepted, w *ihcv1.RunWritten) (*ihcv1.Report, error) {
	if err := r.db.Confirm(ctx, accepted); err != nil {
		return nil, err
	}
	result, err := r.report(ctx, accepted, w)
	if err != nil {
		return nil, err
	}
	return result, r.db.Confirm(ctx, accepted)
}

// toReport returns [stream.ErrOver] if a run is not to be reported: it was ended
// before its time, or another reporter was faster. Later runs may have put their
// files where this one's would go.
func (r *reporter) toReport(ctx context.Context, id string, w *ihcv1.RunWritten) error {
	end, err := r.Bus.Over(ctx, id)
	if err != nil || end == nil {
		return err
	}
	if is := end.GetReported(); is != nil {
		last, err := r.Bus.Reported(ctx, id)
		if err != nil || last.GetRevision() < w.GetRevision() {
			return err
		}
	}
	r.Log.Info("the run has ended; there is nothing to report", "run", id)
	return stream.ErrOver
}

func (r *reporter) report(ctx context.Context, accepted *ihcv1.RunAccepted, w *ihcv1.RunWritten) (*ihcv1.Report, error) {
	req := accepted.GetRequest()
	id := req.GetRunId()
	tell, end := r.Bus.MeterOf(id).Step(ctx, run.StepReport)
	tell(0)
	totals, err := r.db.Rebuild(store.OnStep(ctx, tell), req)
	if err != nil {
		return nil, err
	}
	end()
	if err := r.toReport(ctx, id, w); err != nil { // while this one was at it, or suspended
		return nil, err
	}
	rows := totals.Told()
	csv, digest, err := r.writeCSV(id, rows)
	if err != nil {
		return nil, err
	}
	result := &ihcv1.Report{RunId: id, Request: req, Model: w.GetModel(), Counts: w.GetCounts(), Requests: run.RequestsOf(req, w.GetRequests()),
		ReportRows: uint64(len(rows)), Csv: csv, CsvSha256: digest,
		Reconciliation: reconciliation.Equations(totals, w.GetCounts()), Notes: reconciliation.Notes(totals), Reasons: totals.Reasons,
		Approximations: totals.Approximations, SourceDigest: accepted.GetSourceDigest(), Program: version.This().Version}
	reconciliation.Fill(result, totals)
	report.SumChannels(result, rows)
	models, err := r.models(ctx, req, w.GetCounts())
	if err != nil {
		return nil, err
	}
	page := report.New(totals, report.Options{Start: req.GetStartDate(), End: req.GetEndDate(), Run: id, Version: version.This().Version, Models: models}).Page()
	if err := atomicfile.Write(filepath.Join(r.cfg.Out, PageFile), 0o644, page.Write); err != nil {
		return nil, err
	}
	return result, atomicfile.Write(filepath.Join(r.cfg.Out, ReconciliationFile), 0o644, run.ResultOf(result).Write)
}

// writeCSV returns the path of the CSV and the digest of what is in it, by which
// the file and the run that reconciliation.json names are known to belong together.
func (r *reporter) writeCSV(id string, rows []store.Row) (path, digest string, err error) {
	if !r.cfg.RunColumn {
		id = ""
	}
	path = filepath.Join(r.cfg.Out, CSVFile)
	sum := sha256.New()
	err = atomicfile.Write(path, 0o644, func(f io.Writer) error { return report.WriteCSV(io.MultiWriter(f, sum), rows, id) })
	return path, hex.EncodeToString(sum.Sum(nil)), err
}

// models compares the models on the run's conversions, nil where there is too
// much to compare.
func (r *reporter) models(ctx context.Context, req *ihcv1.RunRequest, counts *ihcv1.Counts) (*report.Models, error) {
	switch { // to begin would sort all sessions
	case counts.GetInRange() == 0:
		return report.NoModels(), nil
	case counts.GetTouchpoints() > store.MostCompared:
		return nil, nil //nolint:nilnil // as below
	}
	tell, _ := r.Bus.MeterOf(req.GetRunId()).Step(ctx, run.StepCompare)
	tell(0)
	models, err := report.CompareModels(ctx, r.db, report.ModelsQuery{Start: req.GetStartDate(), End: req.GetEndDate(), LookbackDays: req.GetLookbackDays(),
		IncludeSimultaneous: req.GetIncludeSimultaneous(), MostTouchpoints: store.MostCompared})
	if errors.Is(err, report.ErrTooManyTouchpoints) {
		return nil, nil //nolint:nilnil // the page says which command compares them
	}
	return models, err
}
