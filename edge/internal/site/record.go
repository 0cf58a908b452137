package site

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// The kinds of records. Their values are this package's own JSON; short names,
// because a card wears out.
const (
	kindStation     Kind = "station"     // boot data and topology
	kindCounter     Kind = "counter"     // numbers given
	kindFloor       Kind = "floor"       // highest transaction that the manager told
	kindSession     Kind = "session"     // by session id
	kindCommand     Kind = "command"     // by command id
	kindToken       Kind = "token"       // remembered answer, by token
	kindReservation Kind = "reservation" // by number
	kindLimit       Kind = "limit"       // lease, by EVSE
	kindCredential  Kind = "credential"  // passwords changed since they were named
	kindStanding    Kind = "standing"    // what a device holds of the site plan
)

// record encodes v, which is made of plain fields and cannot fail.
func record(k Key, v any) Record {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("record %v: %v", k, err))
	}
	return Record{Key: k, Value: b}
}

type stationState struct {
	Boot     *BootReport `json:"b,omitempty"`
	Places   [][2]int    `json:"p,omitempty"` // EVSE, connector
	Protocol string      `json:"v,omitempty"`
}

func (st *Station) stationRecord(boot BootReport, places []connector) Record {
	v := stationState{Protocol: st.info.Protocol}
	if boot != (BootReport{}) {
		v.Boot = &boot
	}
	for i := range places {
		v.Places = append(v.Places, [2]int{places[i].evse, places[i].number})
	}
	return record(Key{Kind: kindStation, Station: st.id}, v)
}

type counterState struct {
	Transaction int64 `json:"t,omitempty"`
	Request     int   `json:"r,omitempty"`
}

func (st *Station) counterRecord() Record {
	return record(Key{Kind: kindCounter, Station: st.id}, counterState{st.transaction.Load(), st.request})
}

func floorRecord(id event.StationID, n int64) Record {
	return Record{Key: Key{Kind: kindFloor, Station: id}, Value: strconv.AppendInt(nil, n, 10)}
}

func sessionKey(station event.StationID, id event.SessionID) Key {
	return Key{Kind: kindSession, Station: station, ID: string(id)}
}

type sessionState struct {
	Transaction string          `json:"t"`
	EVSE        int             `json:"e,omitempty"`
	Connector   int             `json:"c,omitempty"`
	Protocol    string          `json:"v,omitempty"`
	StartKey    uint64          `json:"k,omitempty"`
	Decision    string          `json:"d,omitempty"`
	Parent      string          `json:"p,omitempty"`
	Expires     *time.Time      `json:"x,omitempty"`
	Token       *event.Token    `json:"o,omitempty"`
	Started     time.Time       `json:"s,omitzero"`
	Claim       time.Time       `json:"sc,omitzero"`
	Clock       event.Clock     `json:"sk,omitempty"`
	Boot        string          `json:"sb,omitempty"`
	MeterStart  *int64          `json:"m,omitempty"`
	Signed      bool            `json:"ms,omitempty"`
	Begun       bool            `json:"g,omitempty"`
	Register    *int64          `json:"r,omitempty"`
	RegisterAt  time.Time       `json:"ra,omitzero"`
	Gained      int64           `json:"rg,omitempty"`
	Drops       []drop          `json:"rd,omitempty"`
	Regressed   bool            `json:"rr,omitempty"`
	Fell        bool            `json:"rf,omitempty"`
	Reading     uint64          `json:"rk,omitempty"`
	Flags       flagSet         `json:"f,omitempty"`
	Command     event.CommandID `json:"q,omitempty"`
	End         endKind         `json:"z,omitempty"`
	EndedAt     time.Time       `json:"za,omitzero"`
	StopKey     uint64          `json:"zk,omitempty"`
	EndWh       *int64          `json:"zm,omitempty"`

	Own         bool       `json:"w,omitempty"`
	Alias       string     `json:"wa,omitempty"`
	State       string     `json:"ws,omitempty"`
	Last        *int64     `json:"wl,omitempty"`
	Holes       [][2]int64 `json:"wh,omitempty"`
	Keys        []uint64   `json:"wk,omitempty"`
	NewestClaim time.Time  `json:"wt,omitzero"`
	Guess       startGuess `json:"wg,omitempty"`
	Energised   bool       `json:"we,omitempty"`
	Reservation int        `json:"wn,omitempty"`
	HeardAt     time.Time  `json:"wb,omitzero"`
	Phases      int        `json:"wp,omitempty"`
	CableA      int        `json:"wc,omitempty"`
	Bare        *bareEnd   `json:"wx,omitempty"`
}

func (st *Station) sessionRecord(s *session) Record {
	v := sessionState{
		Transaction: s.transaction, EVSE: s.evse, Connector: s.connector, Protocol: s.protocol, StartKey: s.startKey,
		Decision: s.answer.Decision, Parent: s.answer.Parent, Expires: s.answer.Expires, Token: s.token,
		Started: s.started, Claim: s.startClaim, Clock: s.startClock, Boot: s.startBoot,
		MeterStart: s.meterStart, Signed: s.signed, Begun: s.begun,
		Register: s.register, RegisterAt: s.registerAt, Gained: s.rises.gained, Drops: s.rises.drops,
		Regressed: s.regressed, Fell: s.fell,
		Reading: s.reading, Flags: s.flags, Command: s.command,
		End: s.end, EndedAt: s.endedAt, StopKey: s.stopKey, EndWh: s.endWh,
		Own: s.own, Alias: s.alias, Bare: s.bare,
	}
	if s.own && s.end != stopped {
		v.State, v.Last, v.Holes, v.Keys, v.NewestClaim = s.state, s.trail.last, s.trail.holes, s.trail.keys, s.trail.at
		v.Guess, v.Energised, v.Reservation, v.HeardAt = s.guess, s.energised, s.reservation, s.heardAt
		v.Phases, v.CableA = s.phases, s.cableA
	}
	return record(sessionKey(st.id, s.id), v)
}

func (v *sessionState) session(id string) *session {
	return &session{
		id: event.SessionID(id), transaction: v.Transaction, evse: v.EVSE, connector: v.Connector, protocol: v.Protocol,
		startKey: v.StartKey, answer: AuthorizeResult{Decision: v.Decision, Parent: v.Parent, Expires: v.Expires}, token: v.Token,
		started: v.Started, startClaim: v.Claim, startClock: v.Clock, startBoot: v.Boot,
		meterStart: v.MeterStart, signed: v.Signed, begun: v.Begun,
		register: v.Register, registerAt: v.RegisterAt, rises: rises{v.Gained, v.Drops},
		regressed: v.Regressed, fell: v.Fell,
		reading: v.Reading, flags: v.Flags, command: v.Command,
		end: v.End, endedAt: v.EndedAt, stopKey: v.StopKey, endWh: v.EndWh,
		own: v.Own, alias: v.Alias, state: v.State, guess: v.Guess, energised: v.Energised, reservation: v.Reservation, heardAt: v.HeardAt,
		phases: v.Phases, cableA: v.CableA, bare: v.Bare,
		// what waited for the disk when the gateway died left no trace
		trail: trail{last: v.Last, holes: v.Holes, keys: v.Keys, at: v.NewestClaim, loose: true},
	}
}

type tokenState struct {
	Token    event.Token `json:"o"`
	Decision string      `json:"d"`
	Parent   string      `json:"p,omitempty"`
	Expires  *time.Time  `json:"x,omitempty"`
	Until    time.Time   `json:"u"`
}

func tokenRecord(key string, k known) Record {
	return record(Key{Kind: kindToken, ID: key}, tokenState{k.token, k.decision, k.parent, k.expires, k.until})
}

// restore takes up what an earlier start of the gateway left. What cannot be
// read costs itself only.
func (s *Site) restore(records []Record) {
	for i := range records {
		if err := s.restoreOne(&records[i]); err != nil {
			s.log.Error("record not readable, leaving it alone", "kind", string(records[i].Key.Kind),
				"station", string(records[i].Key.Station), "id", records[i].Key.ID, "err", err)
			s.damaged++
		}
	}
	for _, st := range s.stations {
		slices.SortFunc(st.open, func(a, b *session) int { return a.started.Compare(b.started) })
		slices.SortStableFunc(st.ended, func(a, b *session) int { return a.endedAt.Compare(b.endedAt) })
		st.raise(s.floors[st.id])
		for _, sess := range st.open {
			st.showSession(sess)
		}
	}
	s.restoreCommands()
}

func (s *Site) restoreOne(r *Record) error {
	into := func(v any) error { return json.Unmarshal(r.Value, v) }
	switch r.Key.Kind {
	case kindStation:
		var v stationState
		if err := into(&v); err != nil {
			return err
		}
		st := s.station(r.Key.Station)
		st.info.Protocol = v.Protocol
		if v.Boot != nil {
			st.boot, st.booted = *v.Boot, true
		}
		for _, p := range v.Places {
			st.learnConnector(p[0], p[1])
		}
		st.showLink()
	case kindCounter:
		var v counterState
		if err := into(&v); err != nil {
			return err
		}
		st := s.self // of commands for the gateway itself
		if r.Key.Station != "" {
			st = s.station(r.Key.Station)
		}
		st.raise(v.Transaction)
		st.request = max(st.request, v.Request)
	case kindFloor:
		n, err := strconv.ParseInt(string(r.Value), 10, 64)
		if err != nil {
			return err
		}
		s.floors[r.Key.Station] = max(n, s.floors[r.Key.Station])
	case kindSession:
		var v sessionState
		if err := into(&v); err != nil {
			return err
		}
		st := s.station(r.Key.Station)
		sess := v.session(r.Key.ID)
		if v.End == running {
			st.open = append(st.open, sess)
			if v.Register != nil {
				st.noteRegister(v.EVSE, v.Connector, *v.Register)
			}
		} else {
			st.ended = append(st.ended, sess)
		}
		if n, err := strconv.ParseInt(v.Transaction, 10, 64); err == nil && n <= maxTransaction {
			st.raise(n) // damaged files may have lost the counter
		}
	case kindToken:
		var v tokenState
		if err := into(&v); err != nil {
			return err
		}
		s.tokens.remember(r.Key.ID, known{v.Token, v.Decision, v.Parent, v.Expires, v.Until})
	case kindReservation:
		var v reservation
		if err := into(&v); err != nil {
			return err
		}
		st := s.station(r.Key.Station)
		st.reservations = append(st.reservations, v)
	case kindLimit:
		var v limit
		if err := into(&v); err != nil {
			return err
		}
		st := s.station(r.Key.Station)
		st.limits = append(st.limits, v)
	case kindStanding:
		var v standingState
		if err := into(&v); err != nil {
			return err
		}
		s.station(r.Key.Station).standing.restore(v)
	case kindCredential:
		var v credential
		if err := into(&v); err != nil {
			return err
		}
		s.credentials[r.Key.Station] = v
	case kindCommand:
		return s.restoreCommand(r)
	default:
		return fmt.Errorf("expected a kind of this version, got %q", r.Key.Kind)
	}
	return nil
}

// tidy forgets, every hour, what nobody can ask for any more.
func (s *Site) tidy(ctx context.Context) {
	if stamp := s.clock.Stamp(); stamp.Clock == event.ClockSynced {
		s.tokens.outdate(stamp.Time)
	}
	s.dropTokens()
	s.forgetCommands(ctx)
}
