// Package console is the gateway's own small web site, for whoever stands beside
// the box: is it well, what does it count, which stations does it see. It works
// without the manager and changes nothing.
package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Config says where the console listens and whom it belongs to.
type Config struct {
	Listen  string // empty: nowhere
	Gateway event.GatewayID
	Version string
	Retry   time.Duration // between attempts to get a taken address; 0: 10 s
}

// Check is one thing that has to be right for the gateway to be well.
type Check struct {
	Name string
	Fine func() error
}

// Fact is one line about the gateway for the page: "manager: reachable".
type Fact struct {
	Name  string
	Value func() string
}

// Turned is somebody who was not let in.
type Turned struct {
	At     time.Time
	Name   string // that it connected with; may be empty
	Remote string
	Reason string
}

// Sources is what the console shows.
type Sources struct {
	Turned     func() []Turned // newest first; nil: not shown
	Checks     []Check
	Facts      []Fact
	Stations   func() []site.StationInfo
	Scores     func() []Score // nil: none
	Frames     Frames         // nil: nothing is recorded
	Collectors []prometheus.Collector
	// Alarm says that something needs a person; nil: nobody is told.
	Alarm func(context.Context, event.GatewayAlarm)
}

// Console serves the page, /healthz and /metrics.
type Console struct {
	cfg      Config
	sources  Sources
	registry *prometheus.Registry
	log      *slog.Logger
}

// New returns a Console; it opens nothing. The error is that of metrics that
// contradict each other.
func New(cfg Config, sources Sources, log *slog.Logger) (*Console, error) {
	if cfg.Retry <= 0 {
		cfg.Retry = 10 * time.Second
	}
	registry := prometheus.NewRegistry()
	own := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, c := range append(own, sources.Collectors...) {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return &Console{cfg: cfg, sources: sources, registry: registry, log: log}, nil
}

// alarmDown is the word for a console that cannot be reached.
const alarmDown = "console_down"

// Run serves until ctx ends, then returns nil. An address that is taken is tried
// again and again: the chargers do not need the console.
func (c *Console) Run(ctx context.Context) error {
	if c.cfg.Listen == "" {
		<-ctx.Done()
		return nil
	}
	for down := false; ; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.cfg.Listen)
		if err == nil {
			if down {
				down = false
				c.alarm(ctx, event.GatewayAlarm{Alarm: alarmDown, Severity: "warning", Text: "the console listens on " + c.cfg.Listen, Cleared: true})
			}
			err = c.serve(ctx, listener)
		}
		if ctx.Err() != nil {
			if err != nil {
				c.log.Debug("console cut off", "err", err)
			}
			return nil
		}
		if !down { // once, not once per try
			down = true
			c.log.Error("console out of reach, trying again", "listen", c.cfg.Listen, "err", err)
			c.alarm(ctx, event.GatewayAlarm{Alarm: alarmDown, Severity: "warning", Text: fmt.Sprintf(
				"the local page and the metrics are out of reach: %v; free the address or set console.listen to another", err)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.cfg.Retry):
		}
	}
}

func (c *Console) alarm(ctx context.Context, a event.GatewayAlarm) {
	if c.sources.Alarm != nil {
		c.sources.Alarm(ctx, a)
	}
}

// serve answers on listener until ctx ends.
func (c *Console) serve(ctx context.Context, listener net.Listener) error {
	web := &http.Server{
		Handler:           c.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	c.log.Info("console", "address", "http://"+listener.Addr().String()+"/")
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the console: %w", err)
	case <-ctx.Done():
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := web.Shutdown(short); err != nil {
		err = web.Close()
		c.log.Debug("console cut off", "err", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the console: %w", err)
	}
	return nil
}

// Handler returns the console's pages.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.page)
	mux.HandleFunc("GET /healthz", c.health)
	if c.sources.Scores != nil {
		mux.HandleFunc("GET /scorecard", c.scorecard)
	}
	if c.sources.Frames != nil {
		mux.HandleFunc("GET /stations/{id}/frames", c.frames)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{}))
	return mux
}

// health answers 200 when everything is fine, 503 otherwise; the body says what
// is wrong. A manager out of reach is no illness of the gateway.
func (c *Console) health(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Status  string            `json:"status"`
		Gateway event.GatewayID   `json:"gateway"`
		Version string            `json:"version"`
		Wrong   map[string]string `json:"wrong,omitempty"`
		Facts   map[string]string `json:"facts,omitempty"`
	}{Status: "ok", Gateway: c.cfg.Gateway, Version: c.cfg.Version, Facts: map[string]string{}}
	status := http.StatusOK
	for _, check := range c.sources.Checks {
		if err := check.Fine(); err != nil {
			if answer.Wrong == nil {
				answer.Wrong = map[string]string{}
			}
			answer.Wrong[check.Name] = err.Error()
			answer.Status, status = "unwell", http.StatusServiceUnavailable
		}
	}
	for _, fact := range c.sources.Facts {
		answer.Facts[fact.Name] = fact.Value()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		c.log.Debug("health answer cut off", "err", err)
	}
}

const style = `body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em .8em .3em 0;border-bottom:1px solid #ddd;vertical-align:top}
.facts th{width:12em}.when{white-space:nowrap}.bad{color:#b00}.dim{color:#777}h1{font-size:1.4em}
@media(max-width:46em){body{margin:1em auto}table:not(.facts){display:block;overflow-x:auto}.facts th{width:7em}}`

// page shows the gateway and its stations as they are now.
func (c *Console) page(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	e := html.EscapeString
	fmt.Fprintf(&b, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"+
		"<meta http-equiv=refresh content=5><title>%s</title><style>%s</style><h1>Gateway %s <span class=dim>%s</span></h1><table class=facts>",
		e(string(c.cfg.Gateway)), style, e(string(c.cfg.Gateway)), e(c.cfg.Version))
	for _, check := range c.sources.Checks {
		if err := check.Fine(); err != nil {
			fmt.Fprintf(&b, "<tr><th>%s<td class=bad>%s", e(check.Name), e(err.Error()))
		}
	}
	for _, fact := range c.sources.Facts {
		fmt.Fprintf(&b, "<tr><th>%s<td>%s", e(fact.Name), e(fact.Value()))
	}
	b.WriteString("</table><h2>Stations</h2><table><tr><th>Station<th>Link<th>Model<th>Heard<th>Connectors")
	stations := c.sources.Stations()
	slices.SortFunc(stations, func(a, b site.StationInfo) int { return cmp.Compare(a.ID, b.ID) })
	for i := range stations {
		c.writeStation(&b, &stations[i])
	}
	if len(stations) == 0 {
		b.WriteString("<tr><td colspan=5 class=dim>None has connected yet.")
	}
	b.WriteString("</table>")
	c.writeTurned(&b)
	b.WriteString("<p class=dim>")
	if c.sources.Scores != nil {
		b.WriteString("<a href=/scorecard>scorecard</a> · ")
	}
	b.WriteString("<a href=/metrics>metrics</a> · <a href=/healthz>health</a></html>\n")
	c.show(w, b.String())
}

// writeTurned lists who was not let in lately.
func (c *Console) writeTurned(b *strings.Builder) {
	if c.sources.Turned == nil {
		return
	}
	turned := c.sources.Turned()
	if len(turned) == 0 {
		return
	}
	e := html.EscapeString
	b.WriteString("<h2>Turned away</h2><table><tr><th>When<th>Station<th>From<th>Why")
	for _, t := range turned {
		fmt.Fprintf(b, "<tr><td class=when>%s<td>%s<td>%s<td>%s", t.At.UTC().Format(time.DateTime), e(t.Name), e(t.Remote), e(t.Reason))
	}
	b.WriteString("</table>")
}

func (c *Console) writeStation(b *strings.Builder, s *site.StationInfo) {
	e := html.EscapeString
	link, heard := "<span class=bad>away</span>", "never"
	if s.Connected {
		link = fmt.Sprintf("%s from %s, security profile %d", e(s.Protocol), e(s.Remote), s.Security)
	}
	if s.Registration != "" && s.Registration != site.RegistrationAccepted {
		link += " <span class=bad>" + e(s.Registration) + "</span>"
	}
	if !s.Heard.IsZero() {
		heard = s.Heard.Format(time.DateTime)
	}
	name := e(string(s.ID))
	if c.sources.Frames != nil {
		name = fmt.Sprintf("<a href=\"/stations/%s/frames\">%s</a>", e(url.PathEscape(string(s.ID))), name)
	}
	fmt.Fprintf(b, "<tr><td>%s<td>%s<td>%s<td class=when>%s<td>", name, link,
		e(strings.TrimSpace(s.Boot.Vendor+" "+s.Boot.Model+" "+s.Boot.Firmware)), heard)
	slices.SortFunc(s.Connectors, func(a, b site.LiveConnector) int {
		return cmp.Or(cmp.Compare(a.EVSE, b.EVSE), cmp.Compare(a.Connector, b.Connector))
	})
	for _, k := range s.Connectors {
		fmt.Fprintf(b, "%d.%d %s", k.EVSE, k.Connector, e(string(k.Status)))
		if k.PowerW != nil {
			fmt.Fprintf(b, ", %.1f kW", *k.PowerW/1000)
		}
		if k.EnergyWh != nil {
			fmt.Fprintf(b, ", %.2f kWh", float64(*k.EnergyWh)/1000)
		}
		b.WriteString("<br>")
	}
}
