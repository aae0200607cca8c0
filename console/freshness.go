package console

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ihc-pipeline/ihc/internal/run"
)

// How often the runs, and the source, are looked at for the metrics.
const (
	runsEvery   = 15 * time.Second
	sourceEvery = 5 * time.Minute
)

// freshness are the metrics that say how old the numbers are, and whether they
// hold. Times are Unix seconds, so that an age is right however rarely it is
// looked at; what is not known is not there.
type freshness struct {
	*console
	complete, conversion, holds *prometheus.GaugeVec
	runs                        *prometheus.GaugeVec
}

func newFreshness(c *console, metrics prometheus.Registerer) *freshness {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		metrics.MustRegister(g)
		return g
	}
	return &freshness{console: c,
		complete:   gauge("ihc_last_complete_run_timestamp_seconds", "When the last run ended that was reported and whose proof holds."),
		conversion: gauge("ihc_last_conversion_timestamp_seconds", "When the last conversion of the source was."),
		holds:      gauge("ihc_reconciliation_holds", "Whether every equation of the last report holds: 1 or 0."),
		runs:       gauge("ihc_runs", "Runs that the streams know, by status.", "status"),
	}
}

// run looks until ctx ends.
func (f *freshness) run(ctx context.Context) {
	var source time.Time
	for {
		f.lookAtRuns(ctx)
		if now := time.Now(); now.Sub(source) >= sourceEvery {
			source = now
			f.lookAtSource(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(runsEvery):
		}
	}
}

// lookAtRuns takes what the streams know of runs.
func (f *freshness) lookAtRuns(ctx context.Context) {
	states, err := f.console.runs.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.log.Debug("cannot list the runs for the metrics", "error", err)
		}
		return
	}
	counts, last := map[run.Status]float64{}, time.Time{}
	for _, s := range states {
		status := s.Status()
		counts[status]++
		if s.Report == nil || s.Ended.Before(last) { // runs end in another order than they begin
			continue
		}
		last = s.Ended
		if status == run.StatusUnreconciled {
			f.holds.WithLabelValues().Set(0)
			continue
		}
		f.holds.WithLabelValues().Set(1)
		f.complete.WithLabelValues().Set(float64(last.UnixMilli()) / 1000)
	}
	for _, status := range run.Statuses() {
		f.runs.WithLabelValues(string(status)).Set(counts[status])
	}
}

// lookAtSource takes when the last conversion was.
func (f *freshness) lookAtSource(ctx context.Context) {
	last, err := f.db.LastConversion(ctx)
	_ = f.db.Close() // who replaces the file finds nobody who has it open
	switch {
	case err != nil && ctx.Err() == nil:
		f.log.Debug("cannot find the last conversion for the metrics", "error", err)
	case err == nil && last.IsZero():
		f.conversion.Reset()
	case err == nil:
		f.conversion.WithLabelValues().Set(float64(last.Unix()))
	}
}
