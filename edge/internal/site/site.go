package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// OfflinePolicy says who may charge while the manager is out of reach.
type OfflinePolicy string

// The offline policies.
const (
	OfflineKnown OfflinePolicy = "known" // tokens of the local list and the cache
	OfflineAll   OfflinePolicy = "all"   // every token that is not refused there
	OfflineNone  OfflinePolicy = "none"  // nobody: each token is confirmed by the manager
)

// Config is what an installer decides about a site. Zero values mean the
// defaults named beside them.
type Config struct {
	Stations  []Admission   // of the gateway's own file
	Heartbeat time.Duration // between heartbeats, held within 60 s and 15 min; 5 min

	Offline    OfflinePolicy // known
	Ask        time.Duration // how long a charger waits for the manager; 3 s
	Cache      time.Duration // how long an answer is remembered; 24 h
	CacheLimit int           // answers remembered; 10,000

	RefreshAfter time.Duration // after a connection without boot and status the station is asked; 30 s
	StatusAfter  time.Duration // then a connector without status is unknown; 60 s
	InferAfter   time.Duration // a session on a connector that stays available is over; 60 s
	Fold         time.Duration // identical repeats fold into one event in such a time; 1 min

	// Observe is how long the effect of an accepted command may take, by type.
	Observe map[event.CommandType]time.Duration
	// OfflineWait is how long start, stop and unlock wait for a station that is
	// not connected; 30 s. Others wait until they expire.
	OfflineWait time.Duration
	// LookAfter is how long a station that comes back after a crash of the
	// gateway is given to tell of itself what became of a command; 10 s.
	LookAfter time.Duration
	// PendUnknown has stations that nobody named boot as pending: they may be
	// configured, and may not charge, until somebody names them.
	PendUnknown bool
	// MasterPassGroup is the group whose tokens end every session and start none
	// (OCPP 2.0.1 C16); empty: there is none.
	MasterPassGroup string
	// RefuseConcurrent refuses a token that is charging already.
	RefuseConcurrent bool
	// TotalCost prices a session for a station that shows it to the driver, in its
	// currency with taxes, without waiting for anybody; nil result: unknown. Nil:
	// no session has a price.
	TotalCost func(SessionCost) *float64
	// Signer signs the certificates with which stations connect; nil: the manager
	// is asked, as it is for certificates of any other kind.
	Signer Signer
	// Self carries out the commands for the gateway itself; nil: they are
	// unsupported.
	Self Device
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.Heartbeat, 5*time.Minute)
	c.Heartbeat = min(max(c.Heartbeat, time.Minute), 15*time.Minute) // some take 0 or an hour badly
	set(&c.Ask, 3*time.Second)
	set(&c.Cache, 24*time.Hour)
	set(&c.RefreshAfter, 30*time.Second)
	set(&c.StatusAfter, time.Minute)
	set(&c.InferAfter, time.Minute)
	set(&c.Fold, time.Minute)
	set(&c.OfflineWait, 30*time.Second)
	set(&c.LookAfter, 10*time.Second)
	if c.CacheLimit <= 0 {
		c.CacheLimit = 10_000
	}
	if c.Offline == "" {
		c.Offline = OfflineKnown
	}
	return c
}

// Errors of this package that a caller may tell apart.
var (
	// ErrStopped says that the site has come to its end.
	ErrStopped = errors.New("site has stopped")
	// ErrBusy says that a station has no room for another order now: try again.
	ErrBusy = errors.New("station is busy")
	// ErrPlanRefused says that a site plan would overload a circuit.
	ErrPlanRefused = errors.New("site plan refused")
)

// Site is the depot: its stations and what holds for all of them.
type Site struct {
	cfg     Config
	journal Journal
	clock   Clock
	manager Manager
	log     *slog.Logger
	static  map[event.StationID]Admission
	tokens  *tokenBook
	alarms  alarmBook

	refusals refusedBook

	changed atomic.Uint64 // counts what Live shows
	damaged int           // records that could not be read; fixed by New
	owing   []*Station    // whom an earlier start left something with a deadline; fixed by New
	done    chan struct{} // closed when Run's context ends
	running sync.WaitGroup

	mu       sync.Mutex // guards what follows; never held over a channel, a commit or a device
	stopped  bool
	stations map[event.StationID]*Station
	self     *Station // takes the commands for the gateway itself; not in stations
	admitted map[event.StationID]Admission
	floors   map[event.StationID]int64 // highest transaction that the manager knows
	welcomed bool                      // the manager has told its highest transactions
	plan     Plan
	planned  bool // somebody has said what the plan is since this start
	commands map[event.CommandID]*command

	credentials map[event.StationID]credential
	inUse       map[string][]event.SessionID // by token; only with RefuseConcurrent
}

// New returns a Site with the state of restored records. A record that cannot be
// read is reported by an alarm and left alone. Nothing runs before Run.
func New(cfg Config, j Journal, c Clock, m Manager, restored []Record, log *slog.Logger) (*Site, error) {
	cfg = cfg.withDefaults()
	if !slices.Contains([]OfflinePolicy{OfflineKnown, OfflineAll, OfflineNone}, cfg.Offline) {
		return nil, fmt.Errorf("offline policy: expected known, all or none, got %q", cfg.Offline)
	}
	s := &Site{
		cfg: cfg, journal: j, clock: c, manager: m, log: log,
		static:   make(map[event.StationID]Admission, len(cfg.Stations)),
		tokens:   newTokenBook(cfg.CacheLimit),
		done:     make(chan struct{}),
		stations: make(map[event.StationID]*Station),
		floors:   make(map[event.StationID]int64),
		commands: make(map[event.CommandID]*command),

		credentials: make(map[event.StationID]credential),
	}
	for _, a := range cfg.Stations {
		if a.Station == "" {
			return nil, errors.New("stations: expected an identity, got an empty one")
		}
		s.static[a.Station] = a
	}
	s.self = newStation(s, "")
	if cfg.Self != nil {
		s.self.device, s.self.conn = cfg.Self, 1
	}
	s.restore(restored)
	return s, nil
}

// Run keeps the site until ctx ends; then every station finishes what is posted
// and Run returns nil. The journal must outlive it.
func (s *Site) Run(ctx context.Context) error {
	for _, st := range s.owing {
		if err := st.Post(ctx, st.resume); err != nil {
			break // ctx has ended
		}
	}
	if s.damaged > 0 {
		s.Alarm(ctx, event.GatewayAlarm{Alarm: "records_unreadable", Severity: "warning", Text: fmt.Sprintf(
			"%d records of an earlier start could not be read: sessions that ran then may end as recovered ones", s.damaged)})
	}
	tidy := time.NewTicker(time.Hour)
	defer tidy.Stop()
	fold := time.NewTicker(s.cfg.Fold)
	defer fold.Stop()
	idle := time.NewTicker(restEvery)
	defer idle.Stop()
	for {
		select {
		case <-idle.C:
			for _, st := range s.all() {
				st.rest()
			}
		case <-tidy.C:
			s.tidy(ctx)
		case <-fold.C:
			s.foldAlarms(ctx)
			s.foldRefusals()
		case <-ctx.Done():
			s.mu.Lock()
			s.stopped = true
			var begun []*Station
			for _, st := range append(slices.Collect(maps.Values(s.stations)), s.self) {
				if st.inbox != nil {
					begun = append(begun, st)
				}
			}
			s.mu.Unlock()
			close(s.done)
			for _, st := range begun {
				s.running.Go(st.stop) // it may be busy for a while
			}
			s.running.Wait()
			return nil
		}
	}
}

// Station returns the station called id, made on first use: the caller has
// admitted it.
func (s *Site) Station(id event.StationID) *Station {
	if id == "" {
		return s.self
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.station(id)
}

// station needs s.mu.
func (s *Site) station(id event.StationID) *Station {
	st := s.stations[id]
	if st == nil {
		st = newStation(s, id)
		st.raise(s.floors[id])
		s.stations[id] = st
	}
	return st
}

// Admitted tells whether a station is known by the gateway's own file or by the
// desired stations; the file comes first.
func (s *Site) Admitted(id event.StationID) (Admission, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.named(id)
	a.PasswordHashes = s.passwords(id, a.PasswordHashes)
	return a, a.Station != ""
}

// named is what was said of a station; zero: nobody said anything. It needs s.mu.
func (s *Site) named(id event.StationID) Admission {
	if a, ok := s.static[id]; ok {
		return a
	}
	return s.admitted[id]
}

// RoomFor tells whether a station may become known: it is already, somebody has
// named it, or fewer than most stations are known that nobody named. Each of
// those costs memory until the gateway starts again.
func (s *Site) RoomFor(id event.StationID, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := func(id event.StationID) bool {
		_, file := s.static[id]
		_, desired := s.admitted[id]
		return file || desired
	}
	if s.stations[id] != nil || named(id) {
		return true
	}
	unnamed := 0
	for known := range s.stations {
		if !named(known) {
			unnamed++
		}
	}
	return unnamed < most
}

// SetStations replaces the stations that the manager admits. Who is connected
// stays so, and is asked to start again where that changes its registration.
func (s *Site) SetStations(list []Admission) {
	admitted := make(map[event.StationID]Admission, len(list))
	for _, a := range list {
		admitted[a.Station] = a
	}
	s.mu.Lock()
	s.admitted = admitted
	s.mu.Unlock()
	for _, st := range s.all() {
		st.live.mu.Lock()
		connected := st.live.info.Connected
		st.live.mu.Unlock()
		if connected {
			s.readmit(st)
		}
	}
}

// readmit has a station say again that it started where it is to be told
// otherwise now, at once or as soon as it has room.
func (s *Site) readmit(st *Station) {
	err := st.TryPost(func() {
		// A rejected one is left alone and comes by itself. OCPP 2.0.1 B03.FR.03
		if st.device != nil && st.bootedConn && st.registered != st.Registration() && st.registered != RegistrationRejected {
			st.device.Refresh(nil)
		}
	})
	if errors.Is(err, ErrBusy) {
		time.AfterFunc(time.Second, func() { s.readmit(st) })
	}
}

// RaiseTransactions makes sure that no transaction number up to highest is given
// again: the manager remembers more than a restored card.
func (s *Site) RaiseTransactions(highest map[event.StationID]int64) {
	var change Change
	s.mu.Lock()
	s.welcomed = true
	for id, n := range highest {
		if n <= s.floors[id] || n > maxTransaction {
			continue
		}
		st := s.stations[id]
		if st != nil && st.transaction.Load() >= n {
			continue
		}
		s.floors[id] = n
		if st != nil {
			st.raise(n)
		}
		change.Put = append(change.Put, floorRecord(id, n))
	}
	s.mu.Unlock()
	if len(change.Put) == 0 {
		return
	}
	if err := s.journal.Commit(context.Background(), change); err != nil {
		// held in memory, and told again by the next welcome
		s.log.Warn("transaction numbers raised only in memory", "stations", len(change.Put), "err", err)
	}
}

// firstTransaction is the number above which a station without any begins: after
// a fresh start that has not heard the manager, a random multiple of 4,096 below
// 2^23, so that a lost card does not give an old number twice.
func (s *Site) firstTransaction() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.welcomed {
		return 0
	}
	return 4096 * (1 + rand.Int64N(1<<23/4096-1))
}

// known tells whether there is or may be a station called id.
func (s *Site) known(id event.StationID) bool {
	if _, ok := s.Admitted(id); ok {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.stations[id]
	return ok
}

// all returns every station.
func (s *Site) all() []*Station {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.stations))
}

// now is the time by which leases end: the manager's, else the gateway's own.
func (s *Site) now() time.Time {
	if t, ok := s.clock.Judge(); ok {
		return t
	}
	return s.clock.Stamp().Time
}

// draft fills in the envelope of an event.
func draft(stamp Stamp, at event.Address, when time.Time, data event.Payload) event.Draft {
	return event.Draft{Address: at, Time: when, Recorded: stamp.Time, Boot: stamp.Boot, Clock: stamp.Clock, Data: data}
}
