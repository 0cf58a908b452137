package ocpp

import (
	"crypto/tls"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// maxStations is how many stations get labels of their own; what more do is
// counted under "other", so that nobody fills the memory with made-up names.
const maxStations = 5000

// metrics is what the endpoint counts.
type metrics struct {
	connections  prometheus.Gauge
	handshakes   *prometheus.CounterVec
	secure       *prometheus.CounterVec
	calls        *prometheus.CounterVec
	durations    prometheus.Histogram
	errors       *prometheus.CounterVec
	sent         *prometheus.CounterVec
	timeouts     prometheus.Counter
	notKept      prometheus.Counter
	quirks       *prometheus.CounterVec
	resultErrors *prometheus.CounterVec

	mu       sync.Mutex
	stations map[event.StationID]struct{} // that have labels
	actions  sync.Map                     // action: its counter
	known    map[string]bool              // actions of the dialects; not changed once stations connect
}

func newMetrics() *metrics {
	const ns, sub = "chargeyard", "edge_ocpp"
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	return &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "connections", Help: "Stations connected now."}),
		handshakes:  counters("handshakes_total", "Handshakes by their result.", "result"),
		secure:      counters("tls_handshakes_total", "TLS handshakes by version, and whether an earlier session was resumed.", "version", "resumed"),
		calls:       counters("calls_total", "Calls of stations that were answered.", "action"),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "call_seconds", Help: "From a call read to its answer written.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}),
		errors:   counters("errors_total", "Calls of stations that were answered with an error.", "code"),
		sent:     counters("sent_total", "Calls sent to stations.", "action"),
		timeouts: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "timeouts_total", Help: "Calls to stations without answer in time."}),
		notKept:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "not_kept_total", Help: "Messages left unanswered because they could not be made durable."}),
		quirks: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: "edge", Name: "quirks_total",
			Help: "Departures of stations from their protocol."}, []string{"station", "kind"}),
		resultErrors: counters("result_errors_total", "CALLRESULTERRORs of OCPP 2.1: answers that could not be used.", "direction"),
		stations:     map[event.StationID]struct{}{},
		known:        map[string]bool{},
	}
}

// Collectors returns the metrics of the endpoint, to be registered.
func (s *Server) Collectors() []prometheus.Collector {
	m := s.metrics
	return []prometheus.Collector{m.connections, m.handshakes, m.secure, m.calls, m.durations, m.errors, m.sent, m.timeouts, m.notKept, m.quirks, m.resultErrors}
}

func (m *metrics) handshake(result string) { m.handshakes.WithLabelValues(result).Inc() }

func (m *metrics) secured(state *tls.ConnectionState) {
	m.secure.WithLabelValues(version(state), strconv.FormatBool(state.DidResume)).Inc()
}

// otherAction labels what a station made up.
const otherAction = "other"

// label is the action where a dialect has it, otherAction otherwise.
func (m *metrics) label(action string) string {
	if m.known[action] {
		return action
	}
	return otherAction
}

func (m *metrics) answered(action string, took time.Duration) {
	counter, ok := m.actions.Load(action)
	if !ok {
		action = m.label(action)
		counter, _ = m.actions.LoadOrStore(action, m.calls.WithLabelValues(action))
	}
	counter.(prometheus.Counter).Inc()
	m.durations.Observe(took.Seconds())
}

func (m *metrics) refused(code ocppj.ErrorCode) { m.errors.WithLabelValues(string(code)).Inc() }

func (m *metrics) called(action string) {
	m.sent.WithLabelValues(m.label(action)).Inc()
}

func (m *metrics) deviated(id event.StationID, kind string) {
	m.mu.Lock()
	_, ok := m.stations[id]
	if !ok && len(m.stations) < maxStations {
		m.stations[id] = struct{}{}
		ok = true
	}
	m.mu.Unlock()
	if !ok {
		id = otherAction
	}
	m.quirks.WithLabelValues(string(id), kind).Inc()
}
