package writer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	// endedEarly has one value for runs that failed and one for those cancelled.
	endedEarly *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{endedEarly: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Name: "ihc_runs_ended_early_total",
		Help: "Runs that came to no report: failed or cancelled."}, []string{"how"})}
	for _, how := range []string{"failed", "cancelled"} {
		m.endedEarly.WithLabelValues(how) // so that the first one shows as an increase
	}
	return m
}
