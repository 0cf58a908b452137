package ingest

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	batches, events                  *prometheus.CounterVec
	hellos, refused, dropped, failed prometheus.Counter
	seconds                          prometheus.Histogram
}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "chargeyard_cloud_ingest_" + name, Help: help})
	}
	byLane := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chargeyard_cloud_ingest_" + name, Help: help}, []string{"lane"})
	}
	return metrics{
		batches: byLane("batches_total", "Batches committed."),
		events:  byLane("events_total", "Events that were new."),
		hellos:  counter("hellos_total", "Hellos of known gateways."),
		refused: counter("refused_total", "Batches that could not be read."),
		dropped: counter("dropped_total", "Messages dropped for want of room; gateways repeat them."),
		failed:  counter("failed_total", "Messages that the database did not take; gateways repeat them."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chargeyard_cloud_ingest_seconds", Help: "From a batch's turn to its commit.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.batches, m.events, m.hellos, m.refused, m.dropped, m.failed, m.seconds}
}
