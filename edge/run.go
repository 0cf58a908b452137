package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/chargeyard/chargeyard/edge/internal/clock"
	"github.com/chargeyard/chargeyard/edge/internal/config"
	"github.com/chargeyard/chargeyard/edge/internal/console"
	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/desired"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v21"
	"github.com/chargeyard/chargeyard/edge/internal/outbox"
	"github.com/chargeyard/chargeyard/edge/internal/pki"
	"github.com/chargeyard/chargeyard/edge/internal/recorder"
	"github.com/chargeyard/chargeyard/edge/internal/self"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/edge/internal/uplink"
	"github.com/chargeyard/chargeyard/shared/event"
)

// stopWithin is how long the gateway may take to finish what is in flight.
const stopWithin = 10 * time.Second

// errRestart ends a run that the manager ordered to begin anew.
var errRestart = errors.New("restart")

// runCommand serves the site until a signal comes, or a fault that no waiting
// mends.
func runCommand(path string, problems io.Writer) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	log := newLogger(cfg.Log, problems).With("gateway", string(cfg.Gateway))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err = run(ctx, cfg, log)
	if errors.Is(err, errRestart) {
		stop()
		return again()
	}
	return err
}

// again becomes a new process of the same program.
func again() error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	return fmt.Errorf("start again: %w", syscall.Exec(program, os.Args, os.Environ()))
}

// newLogger writes text to a terminal and JSON to everything else.
func newLogger(cfg config.Log, to io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil { // checked by config
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	text := cfg.Format == "text"
	if f, ok := to.(*os.File); ok && cfg.Format == "auto" {
		info, err := f.Stat()
		text = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if text {
		return slog.New(slog.NewTextHandler(to, options))
	}
	return slog.New(slog.NewJSONHandler(to, options))
}

// gateway is everything that runs, wired.
type gateway struct {
	cfg      config.Config
	log      *slog.Logger
	clock    *clock.Clock
	outbox   *outbox.Outbox
	pki      *pki.Authority
	seen     *credential.Seen
	recorder *recorder.Recorder // nil: nothing is recorded
	uplink   *uplink.Uplink
	site     *site.Site
	desired  *desired.Store
	server   *ocpp.Server
	console  *console.Console
	self     *self.Self
	again    func() // ends the run to begin anew; set before the site runs
}

// run serves the site until ctx ends. It returns errRestart when the manager
// wants the process to begin anew.
func run(ctx context.Context, cfg config.Config, log *slog.Logger) (err error) {
	if cfg.MQTT.Plain() {
		log.Warn("mqtt: the way to the broker is not encrypted: use mqtts:// outside a test")
	}
	boot := uuid.NewString()
	g := &gateway{cfg: cfg, log: log, clock: clock.New(boot, buildTime(built), log)}
	g.clock.Raise(outbox.Newest(cfg.DataDir))
	g.outbox, err = outbox.Open(outbox.Config{
		Dir: cfg.DataDir, Gateway: cfg.Gateway, Boot: boot, SamplesFlush: cfg.Samples.Flush,
		EventsBytes: int64(cfg.Limits.Events), SamplesBytes: int64(cfg.Limits.Samples), BallastBytes: ballast(cfg.Limits.Ballast),
	}, g.clock, log)
	if err != nil {
		return err
	}
	defer func() { // after everything that commits has ended
		err = errors.Join(err, g.outbox.Close())
	}()
	if err := g.wire(boot); err != nil {
		return err
	}
	if err := g.announce(ctx, boot); err != nil {
		log.Error("start of the gateway not recorded", "err", err) // a full disk is no reason not to start
	}
	g.desired.Load(ctx)
	return g.serve(ctx)
}

// ballast says "none" in the outbox's words.
func ballast(b config.Bytes) int64 {
	if b == 0 {
		return -1
	}
	return int64(b)
}

// wire makes everything, top to bottom. Nothing runs yet.
func (g *gateway) wire(boot string) error {
	cfg, log := g.cfg, g.log
	transport, err := uplink.NewMQTT(uplink.MQTTConfig{
		URL: cfg.MQTT.URL, Gateway: cfg.Gateway, Password: cfg.MQTT.Password, CAFile: cfg.MQTT.CAFile, Clock: g.clock,
	})
	if err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	lanes := map[event.Lane]uplink.Lane{}
	for _, l := range event.Lanes {
		lanes[l] = g.outbox.Lane(l)
	}
	g.uplink = uplink.New(uplink.Config{Gateway: cfg.Gateway, Version: version, Boot: boot}, lanes, transport, g.clock, log)
	doing := self.Config{CAFile: cfg.MQTT.CAFile, Clock: g.clock}
	if cfg.Recorder.Station > 0 {
		g.recorder = recorder.New(recorder.Config{StationBytes: int(cfg.Recorder.Station), TotalBytes: int(cfg.Recorder.Total)})
		doing.Frames = g.recorder
	}
	if g.self, err = self.New(doing, log); err != nil {
		return err
	}
	g.pki = pki.New(pkiConfig(cfg, func(ctx context.Context, a event.GatewayAlarm) { g.site.Alarm(ctx, a) }), g.clock, log)
	g.seen = credential.OpenSeen(filepath.Join(cfg.DataDir, "config", "security-profiles.json"), log)
	g.site, err = site.New(siteConfig(cfg, g.self, g.pki), g.outbox, g.clock, g.uplink, g.outbox.Restored(), log)
	if err != nil {
		return err
	}
	g.self.Bind(g.site.Station(""), func() { g.again() })
	g.desired = desired.New(filepath.Join(cfg.DataDir, "config", "desired"), g.outbox, g.clock, g.site, log)
	serving, err := g.serverConfig()
	if err != nil {
		return err
	}
	g.server, err = ocpp.New(serving, g.site, g.clock, log, v16.New(), v201.New(v201.V201()), v21.New())
	if err != nil {
		return err
	}
	g.console, err = console.New(console.Config{Listen: cfg.Console.Listen, Gateway: cfg.Gateway, Version: version}, g.sources(), log)
	return err
}

func siteConfig(cfg config.Config, self site.Device, signer site.Signer) site.Config {
	c := site.Config{
		Heartbeat: cfg.OCPP.Heartbeat, Offline: site.OfflinePolicy(cfg.Authorization.Offline),
		Ask: cfg.Authorization.Ask, Cache: cfg.Authorization.Cache, RefreshAfter: cfg.OCPP.RefreshAfter, Self: self,
		PendUnknown: cfg.OCPP.UnknownStations == "pending", MasterPassGroup: cfg.Authorization.MasterPassGroup,
		RefuseConcurrent: cfg.Authorization.Concurrent == "refuse",
	}
	if cfg.OCPP.TLS.On() { // without TLS nobody needs our signature, and the manager may know another authority
		c.Signer = signer
	}
	for _, s := range cfg.Stations {
		a := site.Admission{Station: s.Identity, PasswordHashes: passwords(s.PasswordHash), Registration: s.Registration}
		if s.SecurityProfile != nil {
			a.SecurityProfile = *s.SecurityProfile
		}
		c.Stations = append(c.Stations, a)
	}
	return c
}

// passwords lists the password of a station, if it has one.
func passwords(hash string) []string {
	if hash == "" {
		return nil
	}
	return []string{hash}
}

func pkiConfig(cfg config.Config, alarm func(context.Context, event.GatewayAlarm)) pki.Config {
	t := cfg.OCPP.TLS
	c := pki.Config{
		Dir: filepath.Join(cfg.DataDir, "pki"), Gateway: cfg.Gateway, Names: t.Names, ClientCAs: t.ClientCAs,
		Organisation: t.Organisation, AcceptExpired: t.AcceptExpired, CommonNames: map[event.StationID]string{}, Alarm: alarm,
	}
	for _, pair := range t.Certificates {
		c.Certificates = append(c.Certificates, pki.KeyPair{Certificate: pair.Certificate, Key: pair.Key})
	}
	for _, s := range cfg.Stations {
		if s.CertificateCN != "" {
			c.CommonNames[s.Identity] = s.CertificateCN
		}
	}
	return c
}

func (g *gateway) serverConfig() (ocpp.Config, error) {
	cfg := g.cfg
	book, err := stationprofile.Load(cfg.OCPP.StationProfiles)
	if err != nil {
		return ocpp.Config{}, fmt.Errorf("ocpp.station_profiles: %w", err)
	}
	c := ocpp.Config{
		Listen: cfg.OCPP.Listen, Profiles: cfg.OCPP.Profiles, AcceptUnknown: cfg.OCPP.UnknownStations != "refuse", UnknownLimit: cfg.OCPP.UnknownLimit,
		Trust: g.pki, Seen: g.seen, Compress: compressed(cfg.OCPP.Compression), StationProfiles: book,
		AssumeProtocol: cfg.OCPP.AssumeProtocol,
		Ping:           cfg.OCPP.Ping, ReadDeadlineMinimum: cfg.OCPP.ReadDeadlineMinimum, FrameLimit: int64(cfg.OCPP.FrameLimit),
		Heartbeat: cfg.OCPP.Heartbeat, Timeout: cfg.OCPP.Timeout, TimeoutsToClose: cfg.OCPP.TimeoutsToClose,
		BootWait: cfg.OCPP.BootWait, Stations: map[event.StationID]ocpp.Station{}, Aliases: map[event.StationID]event.StationID{},
	}
	if g.recorder != nil {
		c.Recorder = g.recorder
	}
	if t := cfg.OCPP.TLS; t.On() {
		c.Listeners = append(c.Listeners, ocpp.Listener{Address: t.Listen, TLS: true, Profiles: t.Profiles})
	}
	for _, l := range cfg.OCPP.Listeners {
		c.Listeners = append(c.Listeners, ocpp.Listener{Address: l.Listen, TLS: l.TLS, Profiles: l.Profiles})
	}
	for i := range cfg.Stations {
		s := &cfg.Stations[i]
		c.Stations[s.Identity] = stationConfig(s)
		for _, alias := range s.Aliases {
			c.Aliases[alias] = s.Identity
		}
	}
	return c, nil
}

func stationConfig(s *config.Station) ocpp.Station {
	station := ocpp.Station{
		AssumeProtocol: s.AssumeProtocol, SecurityProfile: s.SecurityProfile, CommonName: s.CertificateCN,
		Timeout: s.Timeout, NoPing: s.Ping != nil && !*s.Ping, MinimumA: s.MinimumA,
		Strict: s.Strict, StationProfile: s.Profile, Behaviour: s.Behaviour,
	}
	for _, k := range s.Connectors {
		station.Connectors = append(station.Connectors, ocpp.Connector{Number: k.Number, EVSE: k.EVSE, Connector: k.Connector})
	}
	return station
}

// compressed lists the subprotocols whose frames may be compressed.
func compressed(word string) []string {
	switch word {
	case "on":
		return []string{"ocpp1.6", "ocpp2.0.1", "ocpp2.1"}
	case "off":
		return nil
	}
	return []string{"ocpp2.0.1", "ocpp2.1"}
}

// announce records the start.
func (g *gateway) announce(ctx context.Context, boot string) error {
	return g.record(ctx, &event.GatewayStarted{Version: version, Boot: boot, OS: runtime.GOOS, Arch: runtime.GOARCH})
}

// record commits an event of the gateway itself.
func (g *gateway) record(ctx context.Context, p event.Payload) error {
	now := g.clock.Stamp()
	return g.outbox.Commit(ctx, site.Change{Events: []event.Draft{
		{Time: now.Time, Recorded: now.Time, Boot: now.Boot, Clock: now.Clock, Data: p},
	}})
}

// serve runs everything until ctx ends; then each layer ends after the one that
// leans on it: stations first, then the site, then the way to disk and manager.
func (g *gateway) serve(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	g.again = func() { end(errRestart) }

	group, failed := errgroup.WithContext(ctx)
	siteCtx, endSite := context.WithCancel(context.WithoutCancel(ctx))
	defer endSite()
	lowCtx, endLow := context.WithCancel(context.WithoutCancel(ctx))
	defer endLow()
	group.Go(func() error {
		defer endSite()
		return g.server.Run(failed)
	})
	group.Go(func() error { return g.console.Run(failed) })
	group.Go(func() error { return g.self.Run(failed) })
	group.Go(func() error { return g.seen.Run(lowCtx) })
	if g.cfg.OCPP.TLS.On() {
		group.Go(func() error { return g.pki.Run(failed) })
	}
	group.Go(func() error {
		defer endLow()
		return g.site.Run(siteCtx)
	})
	group.Go(func() error { return g.uplink.Run(lowCtx, g.site, g.desired) })
	group.Go(func() error { return g.outbox.Run(lowCtx) })
	group.Go(func() error {
		return g.clock.Run(lowCtx, func(ctx context.Context, c event.GatewayClock) error { return g.record(ctx, &c) })
	})
	group.Go(func() error {
		tune(lowCtx)
		return nil
	})
	group.Go(func() error {
		if g.server.Address(failed) != nil {
			g.notify("READY=1")
		}
		<-failed.Done()
		g.notify("STOPPING=1")
		g.log.Info("stopping", "within", stopWithin.String())
		return nil
	})
	finished := make(chan error, 1)
	go func() { finished <- group.Wait() }()
	select {
	case err := <-finished:
		return errors.Join(err, restarting(ctx))
	case <-failed.Done():
	}
	select {
	case err := <-finished:
		return errors.Join(err, restarting(ctx))
	case <-time.After(stopWithin - time.Second):
		return fmt.Errorf("not everything ended within %v", stopWithin)
	}
}

func restarting(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errRestart) {
		return errRestart
	}
	return nil
}

func (g *gateway) notify(state string) {
	if err := notify(state); err != nil {
		g.log.Warn("service manager not told", "state", state, "err", err)
	}
}
