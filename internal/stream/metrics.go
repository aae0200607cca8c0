package stream

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	reg prometheus.Registerer

	in, out, retried, dead, crashed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, stage string) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "ihc", Name: name, Help: help, ConstLabels: prometheus.Labels{"stage": stage}})
		if err := reg.Register(c); err != nil {
			// Two clients of one stage in one process share the counter.
			if are, ok := err.(prometheus.AlreadyRegisteredError); ok { //nolint:errorlint // the library returns it bare
				return are.ExistingCollector.(prometheus.Counter)
			}
		}
		return c
	}
	return &metrics{
		reg:     reg,
		in:      counter("messages_received_total", "Messages received from JetStream, redeliveries included."),
		out:     counter("messages_published_total", "Messages published and acknowledged by JetStream."),
		retried: counter("messages_retried_total", "Messages given back to JetStream to be delivered again."),
		dead:    counter("messages_dead_total", "Messages moved to the dead letters."),
		crashed: counter("messages_crashed_total", "Deliveries of messages on which a process had died before."),
	}
}
