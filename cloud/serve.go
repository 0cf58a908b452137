package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/api"
	"github.com/chargeyard/chargeyard/cloud/internal/broker"
	"github.com/chargeyard/chargeyard/cloud/internal/commander"
	"github.com/chargeyard/chargeyard/cloud/internal/config"
	"github.com/chargeyard/chargeyard/cloud/internal/files"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/cloud/internal/ingest"
	"github.com/chargeyard/chargeyard/cloud/internal/mqtt"
	"github.com/chargeyard/chargeyard/cloud/internal/sqlite"
	"github.com/chargeyard/chargeyard/cloud/internal/web"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// stopWithin is how long requests under way may take after the word to stop.
const stopWithin = 5 * time.Second

// bus is the way to the gateways: the embedded broker or a connection to
// another.
type bus interface {
	Publish(topic string, payload []byte, qos byte, retained bool) error
	Run(ctx context.Context) error
	Ready() error
	Metrics() []prometheus.Collector
}

type serveCommand struct{ settings }

// Run runs the manager until it is told to stop.
func (c *serveCommand) Run(env *surroundings) error {
	conf, err := c.load()
	if err != nil {
		return err
	}
	log := logger(env.stderr, conf.Log.Level)
	return serve(env.ctx, conf, os.Getenv("CHARGEYARD_ADMIN_TOKEN"), log)
}

// serve wires everything together and runs it until ctx ends.
func serve(ctx context.Context, conf config.Config, adminToken string, log *slog.Logger) (err error) {
	unlock, err := lock(conf.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	store, err := sqlite.Open(ctx, conf.SQLite(), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := firstToken(ctx, store, adminToken, log); err != nil {
		return err
	}

	m := &manager{log: log}
	gateways := directory{store}
	if conf.Broker.Embedded != nil {
		// Nobody can be connected to a broker that has not begun, and a gateway that
		// never comes back never says so itself.
		if err := store.Disconnected(ctx, seam.Now()); err != nil {
			return err
		}
	}
	b, err := newBus(conf.Broker, knocker{store}, m.message, log)
	if err != nil {
		return err
	}
	m.commander = commander.New(store, gateways, b, log, seam.Now)
	m.hub = api.NewHub(gateways, log, seam.Now)
	m.ingest = ingest.New(store, b, m.commander, m.commander, log, seam.Now)
	m.ingest.Subscribe(m.hub.Applied)
	m.ingest.Subscribe(m.commander.Applied)
	m.ingest.SubscribeStatus(m.hub.Status)

	desk := files.New(files.Config{
		Dir: filepath.Join(conf.DataDir, "files"), PublicURL: conf.HTTP.PublicURL,
		Limit: int64(conf.Files.MaxMB) << 20, Total: int64(conf.Files.TotalMB) << 20, Keep: time.Duration(conf.Files.KeepDays) * 24 * time.Hour,
	}, store, log, seam.Now)
	mux := http.NewServeMux()
	desk.Register(mux)
	api.New(mux, store, m.commander, b, m.hub, desk, log, seam.Now)
	if err := web.Register(mux); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, part := range []interface{ Metrics() []prometheus.Collector }{b, m.commander, m.hub, m.ingest, desk} {
		registry.MustRegister(part.Metrics()...)
	}
	watch := newWatch(registry)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { tell(w, log, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		tell(w, log, errors.Join(store.Ping(ctx), b.Ready()))
	})

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.ingest.Run(ctx) })
	g.Go(func() error { return m.commander.Run(ctx) })
	g.Go(func() error { return m.hub.Run(ctx) })
	g.Go(func() error { return desk.Run(ctx) })
	g.Go(func() error { return b.Run(ctx) })
	g.Go(func() error { return listen(ctx, conf.HTTP, watch.around(api.Problems(mux, log)), log) })
	log.Info("manager starts", "version", programVersion(), "data", conf.DataDir)
	err = g.Wait()
	log.Info("manager has stopped", "err", err)
	return err
}

// newBus is the embedded broker, or the connection to another one.
func newBus(conf config.Broker, gateways broker.Gateways, handle func(string, []byte), log *slog.Logger) (bus, error) {
	if e := conf.Embedded; e != nil {
		return broker.New(broker.Config{
			Listen: e.Listen, ListenTLS: e.ListenTLS, CertFile: e.CertFile, KeyFile: e.KeyFile, MaxConns: e.MaxConns,
		}, gateways, handle, log)
	}
	return mqtt.New(mqtt.Config{
		URL: conf.URL, Username: conf.Username, Password: conf.Password, ClientID: conf.ClientID, CAFile: conf.CAFile,
	}, handle, log)
}

// manager passes what gateways say to whom it concerns.
type manager struct {
	log       *slog.Logger
	ingest    *ingest.Ingest
	commander *commander.Commander
	hub       *api.Hub
}

// message takes a message of a gateway in the goroutine that read it.
func (m *manager) message(topic string, payload []byte) {
	g, kind, _, err := wire.ParseTopic(topic)
	if err != nil {
		m.log.Debug("message on a topic that is not ours", "topic", topic)
		return
	}
	switch kind {
	case wire.KindLive:
		m.hub.Live(g, payload)
	case wire.KindAsk:
		m.commander.Ask(g, payload)
	case wire.KindStatus:
		m.ingest.Handle(topic, payload)
		if s, err := wire.Decode[wire.Status](payload); err == nil {
			m.commander.Status(g, s)
		}
	default:
		m.ingest.Handle(topic, payload)
	}
}

// knocker tells the embedded broker who may connect.
type knocker struct{ fleet.Store }

// Knocked keeps that an unknown gateway tried to connect.
func (k knocker) Knocked(ctx context.Context, id event.GatewayID) error {
	_, err := k.Hello(ctx, id, fleet.HelloFacts{At: seam.Now()})
	if errors.Is(err, fleet.ErrNotFound) {
		return nil
	}
	return err
}

// firstToken makes the token that the environment names known as an admin's, in
// the place of the one that it named before.
func firstToken(ctx context.Context, store fleet.Writes, secret string, log *slog.Logger) error {
	if secret == "" {
		return nil
	}
	hash := api.HashToken(secret)
	_, err := store.Access(ctx, hash)
	if err == nil || !errors.Is(err, fleet.ErrNotFound) {
		return err
	}
	log.Info("admin token of the environment is valid from now on")
	return store.AddAccess(ctx, fleet.Access{
		ID: "environment", Name: "admin", Tenant: fleet.DefaultTenant, Role: fleet.RoleAdmin,
	}, hash)
}

// listen serves HTTP until ctx ends and lets requests under way finish.
func listen(ctx context.Context, conf config.HTTP, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	l, err := net.Listen("tcp", conf.Listen)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	failed := make(chan error, 1)
	go func() {
		if conf.CertFile != "" {
			failed <- server.ServeTLS(l, conf.CertFile, conf.KeyFile)
			return
		}
		failed <- server.Serve(l)
	}()
	log.Info("http listens", "address", l.Addr().String(), "tls", conf.CertFile != "")
	select {
	case err := <-failed:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if err := server.Shutdown(late); err != nil {
		err = errors.Join(err, server.Close())
		log.Warn("http requests under way were cut", "err", err)
	}
	<-failed // http.ErrServerClosed
	return nil
}

// tell answers a question about health.
func tell(w http.ResponseWriter, log *slog.Logger, err error) {
	status, text := http.StatusOK, "ok\n"
	if err != nil {
		status, text = http.StatusServiceUnavailable, err.Error()+"\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write([]byte(text)); err != nil {
		log.Debug("write health", "err", err)
	}
}
