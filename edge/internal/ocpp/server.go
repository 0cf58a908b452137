// Package ocpp is the gateway's endpoint for charging stations that speak OCPP
// over WebSockets: handshake, authentication, and one conversation each.
//
// It knows what all versions of OCPP share: frames, ids, one call under way in
// each direction, deadlines. What a message means is the business of a dialect,
// chosen by the subprotocol that the handshake agreed on. Whatever one station
// sends, or fails to read, costs that station alone.
package ocpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Config is how the endpoint behaves.
type Config struct {
	Listen              string
	AcceptUnknown       bool          // stations that nobody named may connect
	UnknownLimit        int           // so many of them; 0: 2,000
	AssumeProtocol      string        // of stations that name none; empty: they are turned away
	Ping                time.Duration // between our pings; 0: none
	ReadDeadlineMinimum time.Duration // for a sign of life, at least
	FrameLimit          int64         // bytes
	Heartbeat           time.Duration // told to stations at their boot
	Timeout             time.Duration // of a station's answer
	TimeoutsToClose     int           // calls in a row without answer
	WriteWait           time.Duration // before a station that does not read is hung up on; 0: 10 s
	BootWait            time.Duration // before a station that said nothing is sent anything
	Stations            map[event.StationID]Station
	Aliases             map[event.StationID]event.StationID // other names that stations connect with
}

// Station is what is configured for one station.
type Station struct {
	AssumeProtocol string
	Timeout        time.Duration // of its answers; 0: Config.Timeout
	NoPing         bool
	MinimumA       float64     // it ends sessions below this current; 0: it does not
	Connectors     []Connector // where they are not EVSE n, connector 1
}

// Connector says at which EVSE a connector of OCPP 1.6 stands.
type Connector struct {
	Number    int // as OCPP 1.6 counts
	EVSE      int
	Connector int // of that EVSE
}

// readDeadline is how long a station may be silent: clearly longer than what it
// is asked to do.
func (c *Config) readDeadline() time.Duration {
	return max(3*c.Heartbeat, c.ReadDeadlineMinimum)
}

// Dialect is one version of OCPP.
type Dialect interface {
	// Protocol returns its subprotocol: ocpp1.6.
	Protocol() string
	// Actions lists the messages of the version, in both directions.
	Actions() []string
	// Converse returns the dialect's side of a new conversation.
	Converse(c *Conversation) Peer
}

// Peer gives one conversation its meaning. Its methods are called on the
// station's goroutine.
type Peer interface {
	site.Device
	// Joined is called once the site knows of the connection, before anything is
	// handled.
	Joined(connection site.Connection)
	// Handle deals with one CALL and appends the payload of its answer to b. A
	// *CallError is answered as such, an error that wraps site.ErrNotKept not at
	// all, any other as an internal error.
	Handle(b []byte, action string, payload []byte, received time.Time) ([]byte, error)
	// Damaged deals with a frame that may have been a CALL and could not be
	// parsed, as Handle does.
	Damaged(b []byte, frame []byte, damage *ocppj.ParseError, received time.Time) ([]byte, error)
}

// Clock tells the gateway's time.
type Clock interface {
	Stamp() site.Stamp
}

// Server accepts stations.
type Server struct {
	cfg       Config
	site      *site.Site
	clock     Clock
	dialects  map[string]Dialect
	stations  map[event.StationID]*Station // of cfg
	log       *slog.Logger
	metrics   *metrics
	passwords *credential.Passwords
	upgrader  websocket.Upgrader

	notKept atomic.Pointer[time.Time] // when something last was not

	life context.Context // ends when the site is about to stop
	kill context.CancelFunc
	work sync.WaitGroup // connections, and what they leave to be done

	mu       sync.Mutex // guards what follows
	open     map[event.StationID]*Conversation
	draining bool
	address  net.Addr
	bound    chan struct{} // closed once address is known
	turned   map[string]time.Time
}

// New returns a Server that speaks dialects; it opens nothing.
func New(cfg Config, s *site.Site, clock Clock, log *slog.Logger, dialects ...Dialect) (*Server, error) {
	if cfg.UnknownLimit <= 0 {
		cfg.UnknownLimit = 2000
	}
	if cfg.WriteWait <= 0 {
		cfg.WriteWait = 10 * time.Second
	}
	p, err := credential.NewPasswords(2)
	if err != nil {
		return nil, err
	}
	srv := &Server{
		cfg: cfg, site: s, clock: clock, log: log,
		dialects:  map[string]Dialect{},
		stations:  map[event.StationID]*Station{},
		metrics:   newMetrics(),
		passwords: p,
		upgrader: websocket.Upgrader{
			HandshakeTimeout: cfg.WriteWait,
			ReadBufferSize:   512, // most messages fit; larger ones are read around it
			WriteBufferSize:  1 << 10,
			WriteBufferPool:  &sync.Pool{},
			CheckOrigin:      func(*http.Request) bool { return true }, // stations send odd ones
			Error: func(w http.ResponseWriter, _ *http.Request, status int, why error) {
				http.Error(w, why.Error(), status)
			},
		},
		open:   map[event.StationID]*Conversation{},
		bound:  make(chan struct{}),
		turned: map[string]time.Time{},
	}
	for id, station := range cfg.Stations {
		srv.stations[id] = &station
	}
	for _, d := range dialects {
		srv.dialects[d.Protocol()] = d
		for _, action := range d.Actions() {
			srv.metrics.known[action] = true
		}
	}
	srv.life, srv.kill = context.WithCancel(context.Background())
	return srv, nil
}

// Address waits until the server listens and returns where, or nil when ctx ends.
func (s *Server) Address(ctx context.Context) net.Addr {
	select {
	case <-s.bound:
		return s.address
	case <-ctx.Done():
		return nil
	}
}

// Listening tells whether stations can connect.
func (s *Server) Listening() bool {
	select {
	case <-s.bound:
	default:
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.draining
}

// LastNotKept tells how long ago a station was hung up on because what it said
// could not be made durable; lost is false when that never happened.
func (s *Server) LastNotKept() (ago time.Duration, lost bool) {
	at := s.notKept.Load()
	if at == nil {
		return 0, false
	}
	return time.Since(*at), true
}

// Run accepts stations until ctx ends; then what is in flight is finished and
// answered, and every station told that the gateway goes away. Nothing of it is
// left when Run returns, at most eight seconds later.
func (s *Server) Run(ctx context.Context) error {
	defer s.kill()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for stations: %w", err)
	}
	s.address = listener.Addr()
	close(s.bound)
	web := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // port scanners
	}
	s.log.Info("waiting for stations", "listen", s.address.String())
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(escapes{listener}) }()
	select {
	case err = <-failed:
		err = fmt.Errorf("accept stations: %w", err)
	case <-ctx.Done():
	}
	s.shut(web)
	if err == nil {
		<-failed
	}
	return err
}

// shut ends everything, the patient way first.
func (s *Server) shut(web *http.Server) {
	const patience = 5 * time.Second
	short, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := web.Shutdown(short); err != nil {
		s.log.Debug("handshakes cut off", "err", web.Close())
	}
	s.mu.Lock()
	s.draining = true
	var open []*Conversation
	for _, c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.stop()
	}
	finished := make(chan struct{})
	go func() {
		s.work.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return
	case <-time.After(patience):
	}
	s.log.Warn("stations still busy, cutting them off", "after", patience.String())
	s.kill()
	for _, c := range open {
		c.drop()
	}
	select {
	case <-finished:
	case <-time.After(time.Second):
	}
}

// ServeHTTP is the handshake of one station. Everything is decided before the
// upgrade; the connection then lives on a goroutine of its own, so that what
// net/http holds for a request is given back.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := identity(r.URL)
	if err != nil {
		s.turnAway(w, r, "", http.StatusNotFound, "identity", err.Error())
		return
	}
	user := string(id) // a station that connects with an alias signs with it too
	if known, ok := s.cfg.Aliases[id]; ok {
		id = known
	}
	admission, known := s.site.Admitted(id)
	if !known && !s.cfg.AcceptUnknown {
		s.turnAway(w, r, id, http.StatusNotFound, "unknown", "unknown station: list it under stations: or set ocpp.unknown_stations: accept")
		return
	}
	if !known && !s.site.RoomFor(id, s.cfg.UnknownLimit) {
		s.turnAway(w, r, id, http.StatusServiceUnavailable, "full", "too many stations that nobody named: list those of the site under stations:")
		if s.first("full") {
			s.site.Alarm(r.Context(), event.GatewayAlarm{Alarm: "stations_full", Severity: "warning", Text: fmt.Sprintf(
				"%d stations that nobody named have connected, further ones are turned away: list those of the site under stations:, or raise ocpp.unknown_limit",
				s.cfg.UnknownLimit)})
		}
		return
	}
	profile := 0
	if known && len(admission.PasswordHashes) > 0 {
		profile = 1
		password, ok := credential.Basic(r.Header.Get("Authorization"), user)
		if ok {
			for _, hash := range admission.PasswordHashes {
				if hash == "" {
					continue
				}
				if ok, err = s.passwords.Matches(r.Context(), hash, password); ok || err != nil {
					if ok {
						s.site.PasswordSeen(id, hash)
					}
					break
				}
			}
		} else if r.Header.Get("Authorization") == "" && slices.Contains(admission.PasswordHashes, "") {
			profile, ok = 0, true // it was given its first one and has not taken it up
		}
		if err != nil {
			s.turnAway(w, r, id, http.StatusServiceUnavailable, "busy", "password not checked: "+err.Error())
			return
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="ocpp", charset="UTF-8"`)
			s.turnAway(w, r, id, http.StatusUnauthorized, "credentials", "wrong or missing credentials")
			return
		}
	}
	config := s.stations[id]
	if config == nil {
		config = nothing
	}
	s.upgrade(w, r, id, config, profile)
}

// nothing is configured for most stations.
var nothing = &Station{}

// upgrade completes the handshake and starts the conversation.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, id event.StationID, config *Station, profile int) {
	log := s.log.With("station", string(id))
	if utf8.RuneCountInString(string(id)) > longIdentity {
		log.Warn("identity longer than 48 characters, which other systems may refuse")
	}
	names := offered(r.Header)
	protocol, echo := s.choose(names)
	if len(names) == 0 {
		protocol = config.AssumeProtocol
		if protocol == "" {
			protocol = s.cfg.AssumeProtocol
		}
		if protocol != "" {
			s.metrics.deviated(id, "no_subprotocol")
		}
	}
	header := http.Header{}
	if echo != "" {
		header.Set("Sec-Websocket-Protocol", echo)
	}
	ws, err := s.upgrader.Upgrade(w, r, header)
	if err != nil {
		s.metrics.handshake("failed")
		log.Debug("handshake failed", "remote", r.RemoteAddr, "err", err)
		return
	}
	if _, ok := s.dialects[protocol]; !ok {
		// OCPP-J 1.6 §3.1.2: complete the handshake without the header, then close.
		s.metrics.handshake("protocol")
		if s.first(string(id) + " protocol") {
			log.Warn("no common subprotocol, closing: where the station names none, assume_protocol helps", "offered", names)
		}
		frame := websocket.FormatCloseMessage(websocket.CloseProtocolError, "no common subprotocol, expected "+s.spoken())
		if err := ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait)); err != nil {
			log.Debug("close frame not sent", "err", err)
		}
		if err := ws.Close(); err != nil {
			log.Debug("close socket", "err", err)
		}
		return
	}
	c := &Conversation{
		server: s, ws: ws, id: id, config: config,
		station: s.site.Station(id),
		info:    site.ConnectionInfo{Protocol: protocol, Remote: r.RemoteAddr, SecurityProfile: profile},
		ready:   make(chan struct{}),
		done:    make(chan struct{}),
	}
	if !s.enter(c) {
		c.farewell(websocket.CloseGoingAway, "gateway stops")
		c.drop()
		return
	}
	s.metrics.handshake("accepted")
	c.start(time.Duration(rand.Int64N(int64(max(s.cfg.Ping, 1))))) // spread
	s.work.Go(c.run)
}

// choose returns the first protocol of the client's that we speak, and how the
// client spells it.
func (s *Server) choose(names []string) (protocol, echo string) {
	for _, name := range names {
		if _, ok := s.dialects[strings.ToLower(name)]; ok {
			return strings.ToLower(name), name
		}
	}
	return "", ""
}

// spoken lists our protocols for people.
func (s *Server) spoken() string {
	var names []string
	for name := range s.dialects {
		names = append(names, name)
	}
	return strings.Join(names, " or ")
}

// enter makes c the connection of its station: the newest wins. The one before
// is closed at once, because it may hang in a write to a dead socket.
func (s *Server) enter(c *Conversation) bool {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return false
	}
	before := s.open[c.id]
	s.open[c.id] = c
	s.mu.Unlock()
	if before == nil {
		s.metrics.connections.Inc()
		return true
	}
	before.Log().Info("a newer connection takes over", "remote", before.info.Remote, "newer", c.info.Remote)
	before.hangUp(websocket.CloseNormalClosure, "a newer connection took over")
	return true
}

// leave forgets c unless a newer connection has taken its place.
func (s *Server) leave(c *Conversation) {
	s.mu.Lock()
	last := s.open[c.id] == c
	if last {
		delete(s.open, c.id)
	}
	s.mu.Unlock()
	if last {
		s.metrics.connections.Dec()
	}
}

// newest tells whether c is still the connection of its station.
func (s *Server) newest(c *Conversation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[c.id] == c
}

// turnAway refuses a handshake. A station that keeps knocking is logged once a
// minute.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, id event.StationID, status int, result, why string) {
	s.metrics.handshake(result)
	if s.first(string(id) + " " + result) {
		s.log.Warn("station turned away", "station", string(id), "remote", r.RemoteAddr, "status", status, "reason", why)
	}
	http.Error(w, http.StatusText(status), status)
}

// first tells whether what was not said within the last minute.
func (s *Server) first(what string) bool {
	const pause, most = time.Minute, 1024
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.turned[what]; ok && now.Sub(at) < pause {
		return false
	}
	if len(s.turned) >= most {
		clear(s.turned)
	}
	s.turned[what] = now
	return true
}

var errNoEscape = errors.New("request with an escape that is none")
