// Package reporter is the pipeline's last stage: it fills channel_reporting,
// writes the CSV and proves that nothing leaked.
package reporter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/source"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/reporter/internal/report"
)

// Config is the reporter's environment.
type Config struct {
	// Database is the path of the SQLite database that gets channel_reporting.
	Database string `envconfig:"IHC_DB" default:"/data/ihc.db" desc:"path of the SQLite database"`
	// Out is the directory that gets the files.
	Out string `envconfig:"IHC_OUT" default:"/data" desc:"directory for channel_reporting.csv and reconciliation.json"`
}

// The files a report consists of.
const (
	CSVFile            = "channel_reporting.csv"
	ReconciliationFile = "reconciliation.json"
)

// readers is how many connections read for a report side by side.
const readers = 2

// Run reports complete runs, one at a time, until ctx ends.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	r := &reporter{cfg: cfg, Deps: d, metrics: newMetrics(d.Metrics),
		writes: source.NewKeeper(cfg.Database, source.Write),
		reads:  source.NewKeeper(cfg.Database, source.Read, source.Readers(readers))}
	defer r.writes.Close() //nolint:errcheck // every transaction is committed or gone
	defer r.reads.Close()  //nolint:errcheck // only read
	d.Check(service.Database, func(ctx context.Context) error { return source.Check(ctx, cfg.Database) })
	return stream.Consume(ctx, d.Bus, stream.Written, 1, nil, stream.DecodeEvent, r.handle)
}

type reporter struct {
	cfg Config
	service.Deps
	writes, reads *source.Keeper
	metrics       *metrics
}

// handle makes a run's report. Doing it twice leaves the same table and files
// (invariant 3).
func (r *reporter) handle(ctx context.Context, m stream.Message[*ihcv1.RunEvent]) error {
	id := m.Body.GetRunId()
	written := m.Body.GetWritten()
	accepted, err := r.Bus.Accepted(ctx, id)
	if err != nil {
		return r.Outcome(ctx, err, id)
	}
	start := time.Now()
	result, err := r.report(ctx, id, accepted.GetRequest(), written)
	if err != nil {
		return r.Outcome(ctx, err, id)
	}
	if err := r.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{Report: result, Revision: written.GetRevision()}}}); err != nil {
		return r.Outcome(ctx, err, id)
	}
	if accepted, err := r.Bus.AcceptedAt(ctx, id); err == nil {
		r.metrics.run(accepted, written.GetCounts())
	}
	r.Log.Info("run reported", "run", id, "rows", result.GetReportRows(), "csv", result.GetCsv(), "seconds", time.Since(start).Seconds())
	return r.Outcome(ctx, nil, id)
}

func (r *reporter) report(ctx context.Context, id string, req *ihcv1.RunRequest, w *ihcv1.RunWritten) (*ihcv1.Report, error) {
	db, readers, err := r.database(ctx)
	if err != nil {
		return nil, err
	}
	totals, err := report.Rebuild(ctx, db, readers, req)
	if err != nil {
		return nil, source.Explain(r.cfg.Database, fmt.Errorf("rebuild channel_reporting: %w", err))
	}
	reasons, err := reasons(ctx, db, id)
	if err != nil {
		return nil, source.Explain(r.cfg.Database, fmt.Errorf("read pipeline_outcomes: %w", err))
	}
	csv := filepath.Join(r.cfg.Out, CSVFile)
	if err := report.WriteFile(csv, func(f io.Writer) error { return report.Write(f, totals.Rows) }); err != nil {
		return nil, err
	}
	result := &ihcv1.Report{RunId: id, Request: req, Model: w.GetModel(), Counts: w.GetCounts(), Requests: w.GetRequests(),
		ReportRows: uint64(len(totals.Rows)), Ihc: totals.IHC(), IhcRevenue: totals.IHCRevenue(), Cost: totals.Cost(), Csv: csv,
		Reconciliation: totals.Reconcile(w.GetCounts()), Notes: totals.Notes(), Reasons: reasons}
	proof, err := run.JSON(result, "  ")
	if err != nil {
		return nil, err
	}
	return result, report.WriteFile(filepath.Join(r.cfg.Out, ReconciliationFile), func(f io.Writer) error {
		_, err := f.Write(append(proof, '\n'))
		return err
	})
}

// database returns the database to write and to read: one file, even if it is
// replaced at the same time.
func (r *reporter) database(ctx context.Context) (db, readers *sql.DB, err error) {
	for fresh := true; fresh; {
		if _, _, err = r.writes.DB(ctx); err != nil {
			return nil, nil, err
		}
		if readers, _, err = r.reads.DB(ctx); err != nil {
			return nil, nil, err
		}
		if db, fresh, err = r.writes.DB(ctx); err != nil {
			return nil, nil, err
		}
	}
	return db, readers, nil
}

// reasons counts why conversions of the run have no attribution.
func reasons(ctx context.Context, db *sql.DB, id string) (all []*ihcv1.ReasonCount, err error) {
	rows, err := db.QueryContext(ctx, `SELECT outcome, reason, count(*), min(conv_id) FROM pipeline_outcomes WHERE run_id = ?
		GROUP BY outcome, reason ORDER BY outcome, count(*) DESC, reason LIMIT 100`, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c := &ihcv1.ReasonCount{}
		var outcome string
		if err := rows.Scan(&outcome, &c.Reason, &c.Conversions, &c.ExampleConvId); err != nil {
			return nil, err
		}
		c.Kind = run.OutcomeKind(outcome)
		all = append(all, c)
	}
	return all, rows.Err()
}
