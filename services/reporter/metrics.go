package reporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

type metrics struct {
	duration    prometheus.Histogram
	conversions *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		duration: f.NewHistogram(prometheus.HistogramOpts{Name: "ihc_run_seconds",
			Help: "How long reported runs took, from acceptance to report.", Buckets: prometheus.ExponentialBuckets(1, 2, 17)}),
		conversions: f.NewCounterVec(prometheus.CounterOpts{Name: "ihc_conversions_total",
			Help: "Conversions in the range of reported runs, by what became of them."}, []string{"outcome"}),
	}
}

// run counts a run that was accepted at the given time and is reported now.
func (m *metrics) run(accepted time.Time, c *ihcv1.Counts) {
	m.duration.Observe(time.Since(accepted).Seconds())
	for outcome, n := range map[string]uint64{
		"attributed": c.GetAttributed(), "approximated": c.GetApproximated(), "excluded": c.GetExcluded(),
		"failed": c.GetFailed(), "without_sessions": c.GetWithoutSessions(),
	} {
		m.conversions.WithLabelValues(outcome).Add(float64(n))
	}
}
