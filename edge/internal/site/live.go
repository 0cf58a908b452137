package site

import (
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// LiveConnector is the newest state of a connector.
type LiveConnector struct {
	Station    event.StationID
	EVSE       int
	Connector  int
	Status     event.Status
	PowerW     *float64
	EnergyWh   *int64 // of the running session
	SoCPercent *float64
	Session    event.SessionID
	AsOf       time.Time
}

// LiveCommand is the state of a command that is not final.
type LiveCommand struct {
	Command event.CommandID
	State   event.CommandState
	Reason  string
}

// StationInfo is what there is to show of a station.
type StationInfo struct {
	ID           event.StationID
	Connected    bool
	Since        time.Time // of the connection
	Heard        time.Time // last frame; zero: never
	Protocol     string
	Remote       string
	Security     int    // the security profile of the connection, 0 to 3
	Registration string // accepted, pending or rejected
	Boot         BootReport
	OpenSessions int
	Connectors   []LiveConnector
}

// liveBook is what a station shows to others. Its goroutine writes it, anybody
// reads it; the lock is held for a few assignments.
type liveBook struct {
	mu         sync.Mutex
	info       StationInfo // without Connectors
	connectors []liveEntry
}

type liveEntry struct {
	LiveConnector
	begin int64     // register at the begin of the session
	known bool      // begin is known
	meter time.Time // of the newest sample
}

// entry needs b.mu.
func (b *liveBook) entry(id event.StationID, evse, connector int) *liveEntry {
	for i := range b.connectors {
		if c := &b.connectors[i]; c.EVSE == evse && c.Connector == connector {
			return c
		}
	}
	if len(b.connectors) >= maxConnectors {
		return nil
	}
	b.connectors = append(b.connectors, liveEntry{LiveConnector: LiveConnector{
		Station: id, EVSE: evse, Connector: connector, Status: event.StatusUnknown,
	}})
	return &b.connectors[len(b.connectors)-1]
}

func (st *Station) show(evse, connector int, f func(*liveEntry)) {
	if evse == 0 || connector == 0 {
		return
	}
	st.live.mu.Lock()
	if e := st.live.entry(st.id, evse, connector); e != nil {
		f(e)
	}
	st.live.mu.Unlock()
	st.site.changed.Add(1)
}

func (st *Station) showStatus(evse, connector int, s event.Status, asOf time.Time) {
	st.show(evse, connector, func(e *liveEntry) { e.Status, e.AsOf = s, asOf })
}

func (st *Station) showSession(s *session) {
	st.site.use(s)
	st.show(s.evse, s.connector, func(e *liveEntry) {
		e.Session, e.EnergyWh, e.PowerW, e.SoCPercent, e.AsOf = s.id, nil, nil, nil, s.started
		if e.known = s.meterStart != nil; e.known {
			e.begin = *s.meterStart
		}
	})
	st.showCount()
}

func (st *Station) hideSession(s *session) {
	st.site.disuse(s)
	st.show(s.evse, s.connector, func(e *liveEntry) {
		if e.Session == s.id {
			e.Session, e.EnergyWh, e.PowerW, e.SoCPercent, e.AsOf = "", nil, nil, nil, s.endedAt
		}
	})
	st.showCount()
}

func (st *Station) showCount() {
	st.live.mu.Lock()
	st.live.info.OpenSessions = len(st.open)
	st.live.mu.Unlock()
}

func (st *Station) showMeter(at event.Address, s *session, samples []event.Sample) {
	if s != nil && s.end != running {
		return
	}
	st.show(at.EVSE, at.Connector, func(e *liveEntry) {
		for i := range samples {
			v := &samples[i]
			if v.Time.Before(e.meter) {
				continue
			}
			e.meter = v.Time
			if v.Time.After(e.AsOf) {
				e.AsOf = v.Time
			}
			if v.PowerW != nil {
				e.PowerW = v.PowerW
			}
			if v.SoCPercent != nil {
				e.SoCPercent = v.SoCPercent
			}
			if v.EnergyWh != nil && e.known && s != nil {
				if gained := *v.EnergyWh - e.begin; gained >= 0 {
					e.EnergyWh = &gained
				}
			}
		}
	})
}

func (st *Station) hideConnector(evse, connector int) {
	st.live.mu.Lock()
	st.live.connectors = slices.DeleteFunc(st.live.connectors, func(e liveEntry) bool {
		return e.EVSE == evse && e.Connector == connector
	})
	st.live.mu.Unlock()
	st.site.changed.Add(1)
}

// showLink shows who is connected and what it said of itself.
func (st *Station) showLink() {
	now := st.site.clock.Stamp().Time
	st.live.mu.Lock()
	i := &st.live.info
	i.Connected, i.Protocol, i.Remote, i.Boot = st.device != nil, st.info.Protocol, st.info.Remote, st.boot
	i.Security, i.Registration = st.info.SecurityProfile, st.registered
	i.Since = time.Time{}
	if st.device != nil {
		i.Since = now.Add(-time.Since(st.since))
	}
	st.live.mu.Unlock()
	st.site.changed.Add(1)
}

// LiveVersion changes whenever Live would show something else.
func (s *Site) LiveVersion() uint64 { return s.changed.Load() }

// Live is a snapshot of every connector that has told something and of every
// running command. It waits for no station.
func (s *Site) Live() ([]LiveConnector, []LiveCommand) {
	var connectors []LiveConnector
	for _, st := range s.all() {
		st.live.mu.Lock()
		for i := range st.live.connectors {
			connectors = append(connectors, st.live.connectors[i].LiveConnector)
		}
		st.live.mu.Unlock()
	}
	var commands []LiveCommand
	s.mu.Lock()
	for id, c := range s.commands {
		if !c.shown.Final() {
			commands = append(commands, LiveCommand{Command: id, State: c.shown, Reason: c.shownReason})
		}
	}
	s.mu.Unlock()
	return connectors, commands
}

// Stations is a snapshot of every station, in no order. It waits for none.
func (s *Site) Stations() []StationInfo {
	var out []StationInfo
	for _, st := range s.all() {
		st.live.mu.Lock()
		i := st.live.info
		i.ID = st.id
		i.Connectors = make([]LiveConnector, 0, len(st.live.connectors))
		for k := range st.live.connectors {
			i.Connectors = append(i.Connectors, st.live.connectors[k].LiveConnector)
		}
		st.live.mu.Unlock()
		if n := st.heard.Load(); n != 0 {
			i.Heard = time.Unix(0, n).UTC()
		}
		out = append(out, i)
	}
	return out
}
