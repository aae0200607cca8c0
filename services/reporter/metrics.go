package reporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

type metrics struct {
	duration    prometheus.Histogram
	conversions *prometheus.CounterVec
	// unreconciled counts reports whose equations do not all hold.
	unreconciled prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		duration: f.NewHistogram(prometheus.HistogramOpts{Name: "ihc_run_seconds",
			Help: "How long reported runs took, from acceptance to report.", Buckets: prometheus.ExponentialBuckets(1, 2, 17)}),
		conversions: f.NewCounterVec(prometheus.CounterOpts{Name: "ihc_conversions_total",
			Help: "Conversions in the range of reported runs, by what became of them."}, []string{"outcome"}),
		unreconciled: f.NewCounter(prometheus.CounterOpts{Name: "ihc_runs_unreconciled_total",
			Help: "Reported runs whose reconciliation does not hold."}),
	}
}

// run counts a run that was accepted at the given time and is reported now.
func (m *metrics) run(accepted time.Time, c *ihcv1.Counts) {
	m.duration.Observe(time.Since(accepted).Seconds())
	for outcome, n := range run.Each(c) {
		m.conversions.WithLabelValues(outcome.Name).Add(float64(n))
	}
}
