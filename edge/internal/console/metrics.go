package console

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Value is one number of a Metric with its labels.
type Value struct {
	Labels []string // in the order of Metric.Labels
	Number float64
}

// Metric is a number that somebody else counts: it is read when the metrics are
// asked for.
type Metric struct {
	Name   string // without chargeyard_edge_
	Help   string
	Gauge  bool // else it only grows
	Labels []string
	Read   func() []Value
}

// reader collects Metrics.
type reader struct {
	metrics []Metric
	descs   []*prometheus.Desc
}

// Collector makes a collector of metrics.
func Collector(metrics ...Metric) prometheus.Collector {
	r := &reader{metrics: metrics}
	for _, m := range metrics {
		r.descs = append(r.descs, prometheus.NewDesc("chargeyard_edge_"+m.Name, m.Help, m.Labels, nil))
	}
	return r
}

// Describe implements prometheus.Collector.
func (r *reader) Describe(to chan<- *prometheus.Desc) {
	for _, d := range r.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (r *reader) Collect(to chan<- prometheus.Metric) {
	for i, m := range r.metrics {
		kind := prometheus.CounterValue
		if m.Gauge {
			kind = prometheus.GaugeValue
		}
		for _, v := range m.Read() {
			metric, err := prometheus.NewConstMetric(r.descs[i], kind, v.Number, v.Labels...)
			if err != nil {
				metric = prometheus.NewInvalidMetric(r.descs[i], err)
			}
			to <- metric
		}
	}
}
