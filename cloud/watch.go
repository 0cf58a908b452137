package main

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// watch counts requests.
type watch struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newWatch(r prometheus.Registerer) *watch {
	w := &watch{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chargeyard_cloud_http_requests_total",
			Help: "HTTP requests by route and status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chargeyard_cloud_http_duration_seconds",
			Help:    "Duration of HTTP requests by route; a stream counts until it ends.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60},
		}, []string{"route"}),
	}
	r.MustRegister(w.requests, w.duration)
	return w
}

// around counts what passes through h.
func (w *watch) around(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &statusWriter{ResponseWriter: rw, status: http.StatusOK}
		h.ServeHTTP(seen, r)
		route := r.Pattern // set by the mux; empty where nothing matched
		if route == "" {
			route = "none"
		}
		w.requests.WithLabelValues(route, strconv.Itoa(seen.status)).Inc()
		w.duration.WithLabelValues(route).Observe(time.Since(began).Seconds())
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

// WriteHeader implements http.ResponseWriter.
func (s *statusWriter) WriteHeader(status int) {
	if !s.wrote {
		s.status, s.wrote = status, true
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *statusWriter) Write(b []byte) (int, error) {
	s.wrote = true
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
