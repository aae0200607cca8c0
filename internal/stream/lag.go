package stream

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lag tells the metrics how far a durable consumer is behind, all replicas
// together. The server knows, and is asked when somebody wants to know.
type lag struct {
	p              *puller
	waiting, taken *prometheus.Desc
}

// alike ends the help of what the server says, and every replica tells.
const alike = " Every replica exports the same number: take max over replicas, not sum."

// showLag adds the consumer to the client's metrics until hide is called.
func (p *puller) showLag() (hide func()) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, nil, prometheus.Labels{"stage": p.from.Stage, "consumer": p.from.Durable})
	}
	l := &lag{p: p,
		waiting: desc("ihc_consumer_waiting_messages", "Messages in the stream that were never handed out."+alike),
		taken:   desc("ihc_consumer_unacknowledged_messages", "Messages handed out and being worked on, or waiting for their next try."+alike),
	}
	if p.metrics.reg.Register(l) != nil {
		return func() {} // another client of this process shows it already
	}
	return func() { p.metrics.reg.Unregister(l) }
}

// Describe implements prometheus.Collector.
func (l *lag) Describe(to chan<- *prometheus.Desc) { to <- l.waiting; to <- l.taken }

// Collect implements prometheus.Collector. It gives nothing while NATS is away.
func (l *lag) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if l.p.Healthy() != nil {
		return
	}
	consumer, err := l.p.js.Consumer(ctx, l.p.from.Stream, l.p.from.Durable)
	if err != nil {
		return
	}
	info := consumer.CachedInfo()
	to <- prometheus.MustNewConstMetric(l.waiting, prometheus.GaugeValue, float64(info.NumPending))
	to <- prometheus.MustNewConstMetric(l.taken, prometheus.GaugeValue, float64(info.NumAckPending))
}
