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
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Config is how the endpoint behaves.
type Config struct {
	Listen              string        // plain, for security profiles 0 and 1; empty: Listeners alone
	Profiles            []int         // security profiles that Listen admits; none: 0 and 1
	Listeners           []Listener    // further ones
	Trust               Trust         // behind every listener with TLS
	Seen                Seen          // profiles of earlier connections; nil: not remembered
	Compress            []string      // subprotocols whose frames may be compressed
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
	StationProfiles     *stationprofile.Book                // nil: none
	Recorder            Recorder                            // nil: none
}

// Station is what is configured for one station.
type Station struct {
	AssumeProtocol  string
	SecurityProfile *int          // the least one; nil: none below the one that was seen last
	CommonName      string        // of its certificate, where an authority of others made it; empty: its identity
	Timeout         time.Duration // of its answers; 0: Config.Timeout
	NoPing          bool
	MinimumA        float64                  // it ends sessions below this current; 0: it does not
	Strict          bool                     // whatever is off the schema is refused, for tests against the standard
	StationProfile  string                   // by which it is treated; empty: the one that fits its model
	Behaviour       stationprofile.Behaviour // comes before the profile; the fields above come before it
	Connectors      []Connector              // where they are not EVSE n, connector 1
}

// Connector says at which EVSE a connector of OCPP 1.6 stands.
type Connector struct {
	Number    int // as OCPP 1.6 counts
	EVSE      int
	Connector int // of that EVSE
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
	guard     *guard
	pace      *pace
	listeners []*listener
	upgrader  websocket.Upgrader

	scores  scores
	notKept atomic.Pointer[time.Time] // when something last was not

	life context.Context // ends when the site is about to stop
	kill context.CancelFunc
	work sync.WaitGroup // connections, and what they leave to be done

	arrived  atomic.Int64 // connections
	sweeping atomic.Bool

	knocking sync.WaitGroup  // handshakes
	lobby    context.Context // ends when those have to
	hurry    context.CancelFunc

	mu       sync.Mutex // guards what follows
	open     map[event.StationID]*Conversation
	shown    map[*Conversation]*shown // certificates of those who have one
	guests   map[net.Conn]struct{}    // in the handshake
	unpacked map[event.StationID]bool // who broke a compressed frame
	draining bool
	turned   map[string]time.Time
	away     []Turned // oldest first
}

// New returns a Server that speaks dialects; it opens nothing.
func New(cfg Config, s *site.Site, clock Clock, log *slog.Logger, dialects ...Dialect) (*Server, error) {
	if cfg.UnknownLimit <= 0 {
		cfg.UnknownLimit = 2000
	}
	if cfg.WriteWait <= 0 {
		cfg.WriteWait = 10 * time.Second
	}
	if cfg.Seen == nil {
		cfg.Seen = forgetful{}
	}
	half := max(1, runtime.GOMAXPROCS(0)/2) // the other half serves those who are in
	p, err := credential.NewPasswords(int64(half))
	if err != nil {
		return nil, err
	}
	srv := &Server{
		cfg: cfg, site: s, clock: clock, log: log,
		dialects:  map[string]Dialect{},
		stations:  map[event.StationID]*Station{},
		metrics:   newMetrics(),
		passwords: p,
		guard:     newGuard(),
		pace:      newPace(runtime.GOMAXPROCS(0)),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: cfg.WriteWait,
			ReadBufferSize:   256, // most short messages fit; larger ones are read around it
			WriteBufferSize:  1 << 10,
			WriteBufferPool:  &sync.Pool{},
			CheckOrigin:      func(*http.Request) bool { return true }, // stations send odd ones
			Error:            noteRefusal,
		},
		open:     map[event.StationID]*Conversation{},
		shown:    map[*Conversation]*shown{},
		guests:   map[net.Conn]struct{}{},
		unpacked: map[event.StationID]bool{},
		turned:   map[string]time.Time{},
	}
	if err := srv.listen(); err != nil {
		return nil, err
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
	srv.lobby, srv.hurry = context.WithCancel(srv.life)
	return srv, nil
}

// Listening tells whether stations can connect.
func (s *Server) Listening() bool {
	select {
	case <-s.listeners[0].bound:
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
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go s.keepScores(ctx)
	var doors sync.WaitGroup
	doors.Go(func() {
		if err := s.attend(ctx, s.listeners[0], func() {}); err != nil {
			end(err)
		}
	})
	for _, l := range s.listeners[1:] {
		doors.Go(func() { s.attendAgain(ctx, l) })
	}
	doors.Go(func() { s.inspect(ctx) })
	<-ctx.Done()
	doors.Wait()
	s.shut()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// shut ends everything, the patient way first.
func (s *Server) shut() {
	const patience = 5 * time.Second
	s.showOut(time.Second)
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
func (s *Server) enter(c *Conversation, by proof) bool {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return false
	}
	before := s.open[c.id]
	s.open[c.id] = c
	if by.client != nil {
		s.shown[c] = &shown{client: *by.client}
	}
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
	delete(s.shown, c)
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
