package attributor

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor/internal/scoring"
)

type metrics struct {
	requests *prometheus.CounterVec
	latency  prometheus.Histogram
	chunks   prometheus.Counter
	sessions prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "ihc_api_requests_total",
			Help: "Requests to the IHC API by the status of the answer; error where none came."}, []string{"status"}),
		latency: f.NewHistogram(prometheus.HistogramOpts{Name: "ihc_api_request_seconds",
			Help: "How long requests to the IHC API took.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14)}),
		chunks: f.NewCounter(prometheus.CounterOpts{Name: "ihc_chunks_scored_total", Help: "Chunks scored and published."}),
		sessions: f.NewHistogram(prometheus.HistogramOpts{Name: "ihc_chunk_sessions",
			Help: "Sessions in scored chunks: how well they are filled.", Buckets: []float64{0, 50, 100, 150, 180, 190, 195, 199, 200, 500, 1000, 2000, 2900, 3000}}),
	}
}

func (m *metrics) request(r scoring.Request) {
	status := "error"
	if r.Status != 0 {
		status = strconv.Itoa(r.Status)
	}
	m.requests.WithLabelValues(status).Inc()
	m.latency.Observe(r.Seconds)
}

func (m *metrics) chunk(c *ihcv1.JourneyChunk) {
	m.chunks.Inc()
	n := 0
	for _, j := range c.GetJourneys() {
		n += len(j.GetSessionIds())
	}
	m.sessions.Observe(float64(n))
}
