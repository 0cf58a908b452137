package fleet

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// maxReadings bounds the readings that one session keeps of its updates.
const maxReadings = 500

// sameEnd is how far apart two reports of one end may lie.
const sameEnd = 2 * time.Second

// session returns the row of a session, following an alias; a new one is filled
// with the place of the event.
func (w *word) session(id event.SessionID, transaction string) (*cached[SessionRow], error) {
	s, err := w.sessions.get(id, w.tx.Session)
	if err != nil {
		return nil, err
	}
	if !s.found && w.station.row.Orphans {
		alias, err := w.tx.Alias(id)
		if err != nil {
			return nil, err
		}
		if alias != nil {
			if s, err = w.sessions.get(alias.Session, w.tx.Session); err != nil {
				return nil, err
			}
		}
	}
	row := &s.row
	if s.found {
		if row.Gateway != w.from.Gateway || row.Station != w.station.row.ID {
			return nil, senseless("session %s is one of station %s of gateway %s", id, row.Identity, row.Gateway)
		}
	} else {
		st := &w.station.row
		*row = SessionRow{
			ID: id, Tenant: st.Tenant, Gateway: st.Gateway, Station: st.ID, Identity: st.Identity,
			Protocol: st.Protocol, Transaction: transaction, Status: SessionActive, At: w.at, Since: w.position,
		}
	}
	if a := w.in.Address; a.EVSE > 0 && row.EVSE == 0 {
		row.EVSE, row.Connector = a.EVSE, a.Connector
	} else if a.EVSE == row.EVSE && a.Connector > 0 && row.Connector == 0 {
		row.Connector = a.Connector
	}
	return s, nil
}

func (w *word) sessionStarted(p *event.SessionStarted) error {
	s, err := w.session(p.Session, p.Transaction)
	if err != nil {
		return err
	}
	fresh := !s.found
	row := s.touch()
	start := w.at
	row.Started, row.At = &start, start
	row.Detail.Begun, row.Detail.StartFlags = true, p.Flags
	row.Transaction = or(p.Transaction, row.Transaction)
	row.Protocol = or(p.Protocol, row.Protocol)
	if p.Token != nil {
		row.Token = p.Token
	}
	if p.Authorization != nil || row.Detail.Authorization == nil { // a begin that comes late does not repeat it
		row.Detail.Authorization = p.Authorization
	}
	if row.Status == SessionActive {
		row.ChargingState = or(row.ChargingState, p.ChargingState) // an update that came before is newer
	}
	if p.MeterWh != nil && (row.MeterStartWh == nil || row.Ended == nil) {
		row.MeterStartWh = p.MeterWh
	}
	if row.MeterWh == nil {
		row.MeterWh = p.MeterWh
	}
	recovered := slices.Contains(p.Flags, event.FlagRecovered)
	w.transaction(p.Transaction, !recovered)
	if row.Status == SessionEnded { // the end came first
		row.settleEnergy()
		return nil
	}
	if recovered {
		w.station.touch().Orphans = true
	} else if fresh && w.station.row.Orphans {
		if err := w.adopt(s); err != nil {
			return err
		}
	}
	return w.occupy(row)
}

func (w *word) sessionUpdated(p *event.SessionUpdated) error {
	s, err := w.session(p.Session, p.Transaction)
	if err != nil {
		return err
	}
	row := s.touch()
	if !row.Detail.Begun {
		w.station.touch().Orphans = true
		w.transaction(p.Transaction, false)
	}
	row.Transaction = or(row.Transaction, p.Transaction)
	if row.Status == SessionActive {
		row.ChargingState = or(p.ChargingState, row.ChargingState)
	}
	if p.Token != nil {
		row.Token = p.Token
	}
	if p.Authorization != nil { // OCPP 2.0.1 E05: the token may come after the start
		row.Detail.Authorization = p.Authorization
	}
	// A begin reading that comes late tells where the session began, not where it
	// stands.
	begin := p.Reading != nil && p.Reading.Context == "begin"
	if p.MeterWh != nil && row.MeterStopWh == nil && (row.MeterWh == nil || !begin) {
		row.MeterWh = p.MeterWh
	}
	row.Detail.UpdateFlags = union(row.Detail.UpdateFlags, p.Flags)
	if p.Reading != nil && len(row.Detail.Readings) < maxReadings {
		r, err := w.reading(*p.Reading)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(row.Detail.Readings, r.equal) {
			row.Detail.Readings = append(row.Detail.Readings, r)
		}
	}
	return w.occupy(row)
}

func (w *word) sessionEnded(p *event.SessionEnded) error {
	s, err := w.session(p.Session, p.Transaction)
	if err != nil {
		return err
	}
	row := s.touch()
	row.Transaction = or(row.Transaction, p.Transaction)
	if !row.Detail.Begun {
		w.station.touch().Orphans = true
		w.transaction(p.Transaction, false)
	}
	joined := row.ID != p.Session
	if row.Ended != nil && !assumed(row.Detail.EndFlags) {
		own := !slices.Contains(row.Detail.EndFlags, event.FlagRecovered)
		if assumed(p.Flags) || joined && own {
			return nil // the real stop is known already
		}
	}
	if err := w.end(row, p); err != nil {
		return err
	}
	if joined {
		row.Detail.EndFlags = union(row.Detail.EndFlags, []event.Flag{event.FlagRecovered})
		row.settleEnergy()
	}
	if err := w.vacate(row); err != nil {
		return err
	}
	if row.orphan() && !joined {
		return w.join(s)
	}
	return nil
}

// end writes an end, or another one, into row.
func (w *word) end(row *SessionRow, p *event.SessionEnded) error {
	ended := w.at
	row.Status, row.ChargingState, row.Ended, row.Reason = SessionEnded, "", &ended, p.Reason
	if row.Started == nil && p.Started != nil {
		start, err := w.Unit.at(w.from, w.in.Event, *p.Started)
		if err != nil {
			return err
		}
		row.Started, row.At = &start, start
	}
	// The end names the register that its energy was counted from: a signed begin
	// reading may have replaced the one of the start.
	if p.MeterStartWh != nil || !row.Detail.Begun {
		row.MeterStartWh = p.MeterStartWh
	}
	row.MeterStopWh, row.EnergyWh = p.MeterStopWh, p.EnergyWh
	if p.MeterStopWh != nil {
		row.MeterWh = p.MeterStopWh
	}
	row.Detail.StopToken, row.Detail.DurationS, row.Detail.EndFlags = p.Token, p.DurationS, p.Flags
	row.Detail.EndReadings = nil
	for _, sample := range p.Readings {
		r, err := w.reading(sample)
		if err != nil {
			return err
		}
		row.Detail.EndReadings = append(row.Detail.EndReadings, r)
	}
	return nil
}

// orphan tells whether nobody has seen row begin: the stop, or a value, of a
// transaction that its gateway did not know.
func (row *SessionRow) orphan() bool {
	return !row.Detail.Begun || slices.Contains(row.Detail.StartFlags, event.FlagRecovered)
}

// joinable tells whether a transaction's id is worth looking for: some stations
// give -1 or 0 to every transaction without an answer.
func joinable(transaction string) bool {
	return transaction != "" && transaction != "0" && transaction != "-1"
}

// join looks for the session that orphan, which has ended, is the end of, and
// gives the end to it. Where time, meter or EVSE contradict, both stay, flagged.
func (w *word) join(orphan *cached[SessionRow]) error {
	o := &orphan.row
	if !joinable(o.Transaction) {
		return nil
	}
	others, err := w.sessionsWith(o.Transaction)
	if err != nil {
		return err
	}
	for _, other := range others {
		row := &other.row
		if row.ID == o.ID || row.orphan() {
			continue
		}
		if row.contradicts(o) {
			o.Detail.JoinFlags = union(o.Detail.JoinFlags, []event.Flag{event.FlagSuspect})
			orphan.touch()
			row.Detail.JoinFlags = union(row.Detail.JoinFlags, []event.Flag{event.FlagSuspect})
			other.touch()
			return nil // never an older one of the same number
		}
		return w.absorb(other, orphan)
	}
	return nil
}

// adopt looks for an orphan that came before the start of s and is its end.
func (w *word) adopt(s *cached[SessionRow]) error {
	if !joinable(s.row.Transaction) {
		return nil
	}
	others, err := w.sessionsWith(s.row.Transaction)
	if err != nil {
		return err
	}
	for _, other := range others {
		row := &other.row
		if row.ID == s.row.ID || !row.orphan() || row.Ended == nil {
			continue
		}
		if s.row.contradicts(row) {
			continue
		}
		return w.absorb(s, other)
	}
	return nil
}

// sessionsWith lists the sessions of the event's station that bear a
// transaction, newest first.
func (w *word) sessionsWith(transaction string) ([]*cached[SessionRow], error) {
	if err := w.Flush(); err != nil {
		return nil, err
	}
	rows, err := w.tx.SessionsWith(w.station.row.ID, transaction)
	if err != nil {
		return nil, err
	}
	var out []*cached[SessionRow]
	for _, r := range rows {
		s, err := w.sessions.get(r.ID, func(event.SessionID) (*SessionRow, error) { return &r, nil })
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// contradicts tells whether o, an orphan's end, cannot be the end of row.
func (row *SessionRow) contradicts(o *SessionRow) bool {
	if row.EVSE > 0 && o.EVSE > 0 && row.EVSE != o.EVSE {
		return true
	}
	// A time without a clock proves nothing.
	if row.Started != nil && o.Ended != nil && row.Started.Boot == "" && o.Ended.Boot == "" && o.Ended.At.Before(row.Started.At) {
		return true
	}
	if o.MeterStopWh != nil {
		for _, low := range []*int64{row.MeterStartWh, row.MeterWh} {
			if low != nil && *o.MeterStopWh < *low {
				return true
			}
		}
	}
	if row.Ended == nil || assumed(row.Detail.EndFlags) {
		return false
	}
	// Its own stop is known: the orphan may only be the same one, told again.
	sameMeter := row.MeterStopWh == o.MeterStopWh || row.MeterStopWh != nil && o.MeterStopWh != nil && *row.MeterStopWh == *o.MeterStopWh
	sameTime := o.Ended != nil && o.Ended.At.Sub(row.Ended.At).Abs() <= sameEnd
	return !sameMeter || !sameTime
}

// absorb gives the end of orphan to s, of which it was a part, and remembers
// where it went.
func (w *word) absorb(s, orphan *cached[SessionRow]) error {
	row, o := &s.row, &orphan.row
	if row.Ended == nil || assumed(row.Detail.EndFlags) {
		row.Status, row.ChargingState, row.Ended, row.Reason = SessionEnded, "", o.Ended, o.Reason
		row.MeterStopWh, row.EnergyWh = o.MeterStopWh, nil
		row.Detail.StopToken, row.Detail.EndReadings = o.Detail.StopToken, o.Detail.EndReadings
		row.Detail.EndFlags = union(o.Detail.EndFlags, []event.Flag{event.FlagRecovered})
		row.Detail.DurationS = 0
		if row.EVSE == 0 {
			row.EVSE, row.Connector = o.EVSE, o.Connector
		}
		if o.MeterStopWh != nil {
			row.MeterWh = o.MeterStopWh
		}
		row.settleEnergy()
	}
	row.Detail.UpdateFlags = union(row.Detail.UpdateFlags, o.Detail.UpdateFlags)
	for _, r := range o.Detail.Readings {
		if len(row.Detail.Readings) < maxReadings && !slices.ContainsFunc(row.Detail.Readings, r.equal) {
			row.Detail.Readings = append(row.Detail.Readings, r)
		}
	}
	s.touch()
	if err := w.vacate(row); err != nil {
		return err
	}
	if !orphan.fresh {
		if err := w.tx.DeleteSession(o.ID); err != nil {
			return err
		}
	}
	alias := AliasRow{Alias: o.ID, Session: row.ID, Tenant: row.Tenant, Since: o.Since}
	if err := w.tx.PutAlias(alias); err != nil {
		return err
	}
	if err := w.vacate(o); err != nil {
		return err
	}
	delete(w.sessions, o.ID)
	return nil
}

// settleEnergy works out the energy of an ended session whose start and end
// came apart.
func (row *SessionRow) settleEnergy() {
	if row.EnergyWh != nil || row.MeterStartWh == nil || row.MeterStopWh == nil || *row.MeterStopWh < *row.MeterStartWh {
		return
	}
	energy := *row.MeterStopWh - *row.MeterStartWh
	row.EnergyWh = &energy
	row.Detail.EndFlags = slices.DeleteFunc(slices.Clone(row.Detail.EndFlags), func(f event.Flag) bool { return f == event.FlagUnknownEnergy })
}

// occupy makes an active session the running one of its EVSE.
func (w *word) occupy(row *SessionRow) error {
	if row.Status != SessionActive || row.EVSE == 0 {
		return nil
	}
	e, err := w.evse(&w.station.row, row.EVSE, w.position)
	if err != nil {
		return err
	}
	if e.row.Session != row.ID || e.row.Gone {
		newer, err := w.newer(e.row.Session, row)
		if err != nil || newer && !e.row.Gone {
			return err
		}
		r := e.touch()
		r.Session, r.Gone = row.ID, false
	}
	return nil
}

// newer tells whether the session called id runs and began after row, which was
// told later: its station had kept that one back.
func (w *word) newer(id event.SessionID, row *SessionRow) (bool, error) {
	if id == "" || id == row.ID {
		return false, nil
	}
	s, err := w.sessions.get(id, w.tx.Session)
	if err != nil || !s.found {
		return false, err
	}
	other := &s.row
	return other.Status == SessionActive && other.At.Boot == "" && row.At.Boot == "" && other.At.At.After(row.At.At), nil
}

// vacate is what occupy was until the session ended.
func (w *word) vacate(row *SessionRow) error {
	if row.EVSE == 0 {
		return nil
	}
	e, err := w.evse(&w.station.row, row.EVSE, w.position)
	if err != nil {
		return err
	}
	if e.row.Session == row.ID {
		e.touch().Session = ""
	}
	return nil
}

// assumed tells whether an end was concluded and not reported.
func assumed(flags []event.Flag) bool {
	return slices.Contains(flags, event.FlagInferred) || slices.Contains(flags, event.FlagSuperseded)
}

func (w *word) reading(s event.Sample) (Reading, error) {
	m, err := w.Unit.at(w.from, w.in.Event, s.Time)
	s.Time = m.At
	return Reading{Sample: s, Boot: m.Boot}, err
}

// equal compares what a reader would see.
func (r Reading) equal(other Reading) bool {
	if r.Boot != other.Boot || !r.Sample.Time.Equal(other.Sample.Time) || r.Sample.Context != other.Sample.Context {
		return false
	}
	a, errA := json.Marshal(r)
	b, errB := json.Marshal(other)
	return errA == nil && errB == nil && string(a) == string(b)
}

// Told tells whether some time of the session was told during boot.
func (row *SessionRow) Told(boot string) bool {
	return row.anyMoment(func(b string) bool { return b == boot })
}

// Unsynced tells whether some time of the session was told without a clock.
func (row *SessionRow) Unsynced() bool {
	return row.anyMoment(func(b string) bool { return b != "" })
}

func (row *SessionRow) anyMoment(is func(boot string) bool) bool {
	if is(row.At.Boot) || row.Started != nil && is(row.Started.Boot) || row.Ended != nil && is(row.Ended.Boot) {
		return true
	}
	told := func(r Reading) bool { return is(r.Boot) }
	return slices.ContainsFunc(row.Detail.Readings, told) || slices.ContainsFunc(row.Detail.EndReadings, told)
}

var flagOrder = []event.Flag{
	event.FlagRecovered, event.FlagSuperseded, event.FlagInferred, event.FlagSuspect, event.FlagGap, event.FlagMeterRegression,
	event.FlagClock, event.FlagUnknownEnergy, event.FlagOffline, event.FlagUnauthorized,
}

// Flags returns what is unusual about the session: the words of the closed list
// in its order, then any that this manager does not know.
func (row *SessionRow) Flags() []event.Flag {
	all := union(union(union(row.Detail.StartFlags, row.Detail.UpdateFlags), row.Detail.EndFlags), row.Detail.JoinFlags)
	if !row.Detail.Begun {
		all = union(all, []event.Flag{event.FlagRecovered})
	}
	if row.EnergyWh != nil { // it was unknown at first
		all = slices.DeleteFunc(slices.Clone(all), func(f event.Flag) bool { return f == event.FlagUnknownEnergy })
	}
	out := make([]event.Flag, 0, len(all))
	for _, f := range flagOrder {
		if slices.Contains(all, f) {
			out = append(out, f)
		}
	}
	for _, f := range all {
		if !slices.Contains(flagOrder, f) {
			out = append(out, f)
		}
	}
	return out
}

// View is the session as the API shows it.
func (row *SessionRow) View() Session {
	s := Session{
		ID: row.ID, Tenant: row.Tenant, Gateway: row.Gateway, Station: row.Station, Identity: row.Identity,
		EVSE: row.EVSE, Connector: row.Connector, Protocol: row.Protocol, Transaction: row.Transaction,
		Status: row.Status, ChargingState: row.ChargingState, Token: row.Token, StopToken: row.Detail.StopToken,
		Authorization: row.Detail.Authorization, Reason: row.Reason,
		MeterStartWh: row.MeterStartWh, MeterStopWh: row.MeterStopWh, MeterWh: row.MeterWh, EnergyWh: row.EnergyWh,
		DurationS: row.Detail.DurationS, Flags: row.Flags(),
	}
	if row.Started != nil {
		s.Started = &row.Started.At
	}
	if row.Ended != nil {
		s.Ended = &row.Ended.At
	}
	if s.DurationS == 0 && s.Started != nil && s.Ended != nil {
		s.DurationS = max(0, int64(s.Ended.Sub(*s.Started).Seconds()))
	}
	if s.Status == SessionActive && s.MeterStartWh != nil && s.MeterWh != nil && *s.MeterWh >= *s.MeterStartWh {
		soFar := *s.MeterWh - *s.MeterStartWh
		s.EnergyWh = &soFar
	}
	for _, list := range [][]Reading{row.Detail.Readings, row.Detail.EndReadings} {
		for _, r := range list {
			s.Readings = append(s.Readings, r.Sample)
		}
	}
	return s
}

func union(a, b []event.Flag) []event.Flag {
	out := a
	for _, f := range b {
		if !slices.Contains(out, f) {
			out = append(slices.Clip(out), f)
		}
	}
	return out
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
