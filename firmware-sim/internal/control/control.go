// Package control is the port through which people and tests act on simulated
// chargers: plug, tap, break, cut. It listens on this machine only.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/depot"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// Depot is what is controlled.
type Depot interface {
	Station(id string) (depot.Charger, bool)
	Views(ctx context.Context) ([]charger.View, error)
	Drain(ctx context.Context) error
}

// Server is the control port.
type Server struct {
	depot    Depot
	quit     func()
	log      *slog.Logger
	listener net.Listener
	handler  http.Handler
}

// Listen opens the port at address, which must be of this machine. Quit is
// called for POST /quit.
func Listen(address string, depot Depot, quit func(), log *slog.Logger) (*Server, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("control port %s: expected an address of this machine, such as 127.0.0.1:8901: whoever reaches it may do anything to the chargers", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	s := &Server{depot: depot, quit: quit, log: log, listener: l}
	s.handler = s.routes()
	return s, nil
}

// Address is where the port is open.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("control port: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := server.Shutdown(stop)
	if err != nil {
		err = server.Close()
	}
	<-done // http.ErrServerClosed
	return err
}

// order is the body of a request about a charger.
type order struct {
	Connector *int                        `json:"connector"` // 1
	Token     string                      `json:"token"`
	Code      ocpp16.ChargePointErrorCode `json:"code"` // OtherError
	Info      string                      `json:"info"`
	SoC       float64                     `json:"soc"`        // of the car, 0 to 1
	BatteryWh float64                     `json:"battery_wh"` // of the car
	By        string                      `json:"by"`         // of clock-skew: 90s
	LimitA    *float64                    `json:"limit_a"`    // of external-limit; none lifts it
	Action    string                      `json:"action"`     // of say
	Payload   json.RawMessage             `json:"payload"`    // of say
	Send      bool                        `json:"send"`       // of say: a SEND of OCPP 2.1
}

// externally is a charger that the site's energy management can limit.
type externally interface {
	LimitExternally(ctx context.Context, evse int, amps float64) error
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stations", s.list)
	mux.HandleFunc("GET /stations/{id}", s.one)
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) { done(w, s.depot.Drain(r.Context())) })
	mux.HandleFunc("POST /quit", func(w http.ResponseWriter, _ *http.Request) {
		done(w, nil)
		s.quit()
	})
	act := func(name string, do func(ctx context.Context, st depot.Charger, connector int, o order) error) {
		mux.HandleFunc("POST /stations/{id}/"+name, func(w http.ResponseWriter, r *http.Request) {
			st, ok := s.depot.Station(r.PathValue("id"))
			if !ok {
				fail(w, http.StatusNotFound, fmt.Errorf("there is no charger %q", r.PathValue("id")))
				return
			}
			var o order
			if r.ContentLength != 0 {
				decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
				decoder.DisallowUnknownFields()
				if err := decoder.Decode(&o); err != nil {
					fail(w, http.StatusBadRequest, fmt.Errorf("body: %w", err))
					return
				}
			}
			connector := 1
			if o.Connector != nil {
				connector = *o.Connector
			}
			done(w, do(r.Context(), st, connector, o))
		})
	}
	act("plug", func(ctx context.Context, st depot.Charger, c int, o order) error {
		return st.Plug(ctx, c, car.Car{SoC: o.SoC, BatteryWh: o.BatteryWh})
	})
	act("unplug", func(ctx context.Context, st depot.Charger, c int, _ order) error { return st.Unplug(ctx, c) })
	act("tap", func(ctx context.Context, st depot.Charger, c int, o order) error {
		if o.Token == "" || len([]rune(o.Token)) > 20 {
			return badRequest{fmt.Errorf("token %q: expected 1 to 20 characters", o.Token)}
		}
		return st.Tap(ctx, c, o.Token)
	})
	act("fault", func(ctx context.Context, st depot.Charger, c int, o order) error {
		code := o.Code
		if code == "" {
			code = ocpp16.ChargePointErrorCodeOtherError
		}
		check := ocpp16.StatusNotificationRequest{ErrorCode: code, Info: o.Info, Status: ocpp16.ChargePointStatusFaulted}
		if err := check.Validate(); err != nil {
			return badRequest{err}
		}
		return st.Fault(ctx, c, code, o.Info)
	})
	act("clear", func(ctx context.Context, st depot.Charger, c int, _ order) error { return st.Clear(ctx, c) })
	act("link-down", func(ctx context.Context, st depot.Charger, _ int, _ order) error { return st.SetLink(ctx, false) })
	act("link-up", func(ctx context.Context, st depot.Charger, _ int, _ order) error { return st.SetLink(ctx, true) })
	act("power-off", func(ctx context.Context, st depot.Charger, _ int, _ order) error { return st.SetPower(ctx, false) })
	act("power-on", func(ctx context.Context, st depot.Charger, _ int, _ order) error { return st.SetPower(ctx, true) })
	act("clock-skew", func(ctx context.Context, st depot.Charger, _ int, o order) error {
		by, err := time.ParseDuration(o.By)
		if err != nil {
			return badRequest{fmt.Errorf("by: %w", err)}
		}
		return st.SkewClock(ctx, by)
	})
	act("external-limit", func(ctx context.Context, st depot.Charger, c int, o order) error {
		limited, ok := st.(externally)
		if !ok {
			return charger.Refused("OCPP 1.6 has no limits but those of the central system")
		}
		amps := -1.0
		if o.LimitA != nil {
			amps = max(0, *o.LimitA)
		}
		return limited.LimitExternally(ctx, c, amps)
	})
	mux.HandleFunc("POST /stations/{id}/say", s.say)
	return mux
}

// say lets a charger say something that it would not say by itself, and returns
// the answer.
func (s *Server) say(w http.ResponseWriter, r *http.Request) {
	st, ok := s.depot.Station(r.PathValue("id"))
	if !ok {
		fail(w, http.StatusNotFound, fmt.Errorf("there is no charger %q", r.PathValue("id")))
		return
	}
	var o order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&o); err != nil || o.Action == "" {
		fail(w, http.StatusBadRequest, errors.Join(errors.New("body: expected action and payload"), err))
		return
	}
	if len(o.Payload) == 0 {
		o.Payload = json.RawMessage("{}")
	}
	answer, err := st.Tell(r.Context(), o.Action, o.Payload, o.Send)
	if err != nil || o.Send {
		done(w, err)
		return
	}
	write(w, http.StatusOK, answer)
}

// row is a charger in the list.
type row struct {
	ID          string         `json:"id"`
	Version     string         `json:"version"` // of OCPP, as its sub-protocol
	Powered     bool           `json:"powered"`
	Connected   bool           `json:"connected"`
	Registered  bool           `json:"registered"`
	Transaction string         `json:"transaction"` // of the first connector that has one
	Queue       int            `json:"queue"`       // messages unsent or unanswered
	Firmware    string         `json:"firmware"`
	Connectors  []connectorRow `json:"connectors"`
}

type connectorRow struct {
	Connector   int     `json:"connector"`
	Status      string  `json:"status"`
	Plugged     bool    `json:"plugged"`
	Transaction string  `json:"transaction"`
	Token       string  `json:"token"`
	RegisterWh  int64   `json:"register_wh"`
	PowerW      float64 `json:"power_w"`
	SoC         float64 `json:"soc"`
	Fault       string  `json:"fault,omitempty"`
}

func rowOf(v charger.View) row {
	r := row{ID: v.ID, Version: v.Version, Powered: v.Powered, Connected: v.Connected, Registered: v.Registered, Transaction: v.Transaction(), Queue: v.Queue, Firmware: v.Firmware}
	for i, c := range v.Connectors {
		r.Connectors = append(r.Connectors, connectorRow{
			Connector: i + 1, Status: string(c.Status), Plugged: c.Plugged, Transaction: c.Transaction, Token: c.Token,
			RegisterWh: c.RegisterWh, PowerW: c.PowerW, SoC: c.SoC, Fault: string(c.Fault),
		})
	}
	return r
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	views, err := s.depot.Views(r.Context())
	if err != nil {
		done(w, err)
		return
	}
	rows := make([]row, 0, len(views))
	for _, v := range views {
		rows = append(rows, rowOf(v))
	}
	write(w, http.StatusOK, rows)
}

func (s *Server) one(w http.ResponseWriter, r *http.Request) {
	st, ok := s.depot.Station(r.PathValue("id"))
	if !ok {
		fail(w, http.StatusNotFound, fmt.Errorf("there is no charger %q", r.PathValue("id")))
		return
	}
	v, err := st.Look(r.Context())
	if err != nil {
		done(w, err)
		return
	}
	write(w, http.StatusOK, rowOf(v))
}

// badRequest is a fault of the one who asks.
type badRequest struct{ error }

// done answers with nothing, or with what went wrong.
func done(w http.ResponseWriter, err error) {
	var bad badRequest
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.As(err, &bad):
		fail(w, http.StatusBadRequest, err)
	case errors.Is(err, charger.ErrRefused):
		fail(w, http.StatusConflict, err)
	case errors.Is(err, charger.ErrStopped):
		fail(w, http.StatusServiceUnavailable, err)
	default:
		fail(w, http.StatusInternalServerError, err)
	}
}

func fail(w http.ResponseWriter, status int, err error) {
	write(w, status, map[string]string{"error": err.Error()})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // to somebody who may have gone
}
