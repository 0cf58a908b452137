package console_test

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chargeyard/chargeyard/edge/internal/console"
)

func collectors() []prometheus.Collector {
	return []prometheus.Collector{console.Collector(
		console.Metric{Name: "backlog", Help: "h", Gauge: true, Labels: []string{"lane"}, Read: func() []console.Value {
			return []console.Value{{Labels: []string{"events"}, Number: 7}}
		}},
		console.Metric{Name: "things_total", Help: "h", Read: func() []console.Value { return []console.Value{{Number: 3}} }},
	)}
}
