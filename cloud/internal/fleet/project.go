package fleet

import (
	"fmt"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Project applies one event, which stands at position in the log. An error that
// wraps ErrSenseless means that nothing was changed and that the event is a
// dead letter; any other is the store's.
func (u *Unit) Project(from Origin, position int64, in *Incoming) error {
	if in.Err != nil {
		return in.Err
	}
	if in.Payload == nil {
		return nil
	}
	e := in.Event
	if s, ok := in.Payload.(*sampled); ok {
		return u.sampled(from, position, in, s)
	}
	if e.Type.Lane() == event.LaneSamples {
		return nil // stream.thinned: the log is all that it changes
	}
	at, err := u.at(from, e, e.Time)
	if err != nil {
		return err
	}
	var st *cached[StationRow]
	if in.Address.Station != "" {
		if st, err = u.station(from, position, in); err != nil {
			return err
		}
	}
	w := &word{Unit: u, from: from, position: position, at: at, in: in, station: st}
	err = w.project()
	if err == nil && st != nil && !st.found && !stranger(in.Payload) {
		st.touch()
	}
	return err
}

// word is one event on its way into the rows.
type word struct {
	*Unit
	from     Origin
	position int64
	at       Moment
	in       *Incoming
	station  *cached[StationRow] // nil where the event is about no station
}

func (w *word) project() error {
	switch p := w.in.Payload.(type) {
	case *event.GatewayStarted:
		return w.gatewayStarted(p)
	case *event.GatewayClock:
		return w.gatewayClock(p)
	case *event.GatewayAlarm:
		return w.gatewayAlarm(p)
	case *event.StationConnected:
		return w.connectivity(true, p.Protocol)
	case *event.StationDisconnected:
		return w.connectivity(false, "")
	case *event.StationBooted:
		return w.stationBooted(p)
	case *event.StationStatus:
		return w.stationStatus(p)
	case *event.StationConfiguration:
		return w.stationConfiguration(p)
	case *event.StationSecurity:
		return w.stationSecurity(p)
	case *event.SessionStarted:
		return w.sessionStarted(p)
	case *event.SessionUpdated:
		return w.sessionUpdated(p)
	case *event.SessionEnded:
		return w.sessionEnded(p)
	case *event.ProfileUpdated:
		return w.profileUpdated(p)
	case *event.CommandUpdated:
		return w.commandUpdated(p)
	}
	return nil // the log is all that the others change
}

// station returns the row of a station, made at the first word of it.
func (u *Unit) station(from Origin, position int64, in *Incoming) (*cached[StationRow], error) {
	st, err := u.stations.get(in.Station, u.tx.Station)
	if err != nil {
		return nil, err
	}
	if !st.found {
		st.row = StationRow{ID: in.Station, Tenant: from.Tenant, Gateway: from.Gateway, Identity: in.Address.Station, Since: position}
	}
	return st, nil
}

func (u *Unit) evse(st *StationRow, evse int, position int64) (*cached[EVSERow], error) {
	e, err := u.evses.get(evseKey{st.ID, evse}, func(k evseKey) (*EVSERow, error) { return u.tx.EVSE(k.station, k.evse) })
	if err != nil {
		return nil, err
	}
	if !e.found {
		e.row = EVSERow{Station: st.ID, Tenant: st.Tenant, EVSE: evse, Since: position}
	}
	return e, nil
}

func (w *word) gatewayStarted(p *event.GatewayStarted) error {
	old, err := w.tx.Gateway(w.from.Gateway)
	if err != nil {
		return err
	}
	g := GatewayRow{Gateway: w.from.Gateway, Tenant: w.from.Tenant, Since: w.position}
	if old != nil {
		g.Since = old.Since
	}
	g.Version, g.Boot, g.Started, g.Clock = p.Version, p.Boot, w.at, w.in.Event.Clock
	if err := w.tx.PutGateway(g); err != nil {
		return err
	}
	// No connection outlives the process that held it.
	if err := w.drop(); err != nil {
		return err
	}
	stations, err := w.tx.StationsOf(w.from.Gateway)
	if err != nil {
		return err
	}
	for _, st := range stations {
		if !st.Connected {
			continue
		}
		st.Connected, st.ConnectedAt = false, w.at
		if err := w.tx.PutStations([]StationRow{st}); err != nil {
			return err
		}
	}
	return nil
}

func (w *word) gatewayAlarm(p *event.GatewayAlarm) error {
	if p.Cleared {
		return w.tx.DeleteAlarm(w.from.Gateway, p.Alarm)
	}
	alarms, err := w.tx.Alarms(w.from.Gateway)
	if err != nil {
		return err
	}
	a := AlarmRow{Gateway: w.from.Gateway, Tenant: w.from.Tenant, Alarm: p.Alarm, Severity: p.Severity, Text: p.Text, Raised: w.at, Since: w.position}
	for _, old := range alarms {
		if old.Alarm == p.Alarm {
			a.Raised, a.Since = old.Raised, old.Since
		}
	}
	return w.tx.PutAlarm(a)
}

func (w *word) connectivity(up bool, protocol string) error {
	st := w.station.touch()
	if st.Connected != up || st.ConnectedAt.At.IsZero() {
		st.Connected, st.ConnectedAt = up, w.at
	}
	if protocol != "" {
		st.Protocol = protocol
	}
	return nil
}

func (w *word) stationBooted(p *event.StationBooted) error {
	st := w.station.touch()
	replaced := changed(st.Vendor, p.Vendor) || changed(st.Model, p.Model) || changed(st.Serial, p.Serial)
	if p.Protocol != "" {
		st.Protocol = p.Protocol
	}
	st.Vendor, st.Model, st.Serial, st.Firmware = p.Vendor, p.Model, p.Serial, p.Firmware
	if err := w.registered(p); err != nil {
		return err
	}
	if !replaced {
		return nil
	}
	// Other hardware under the old identity may have fewer connectors: they are
	// there again once it speaks of them.
	id := st.ID
	if err := w.drop(); err != nil {
		return err
	}
	evses, err := w.tx.EVSEsOf(id)
	if err != nil {
		return err
	}
	for _, e := range evses {
		e.Gone = true
		if err := w.tx.PutEVSEs([]EVSERow{e}); err != nil {
			return err
		}
	}
	places, err := w.tx.PlacesOf(id)
	if err != nil {
		return err
	}
	for _, p := range places {
		p.Gone = true
		if err := w.tx.PutPlaces([]PlaceRow{p}); err != nil {
			return err
		}
	}
	return nil
}

func changed(was, is string) bool { return was != "" && is != "" && was != is }

func (w *word) stationStatus(p *event.StationStatus) error {
	st := &w.station.row
	key := PlaceKey{Station: st.ID, EVSE: w.in.Address.EVSE, Connector: w.in.Address.Connector}
	place, err := w.places.get(key, w.tx.Place)
	if err != nil {
		return err
	}
	fresh := !place.found
	if fresh {
		place.row = PlaceRow{PlaceKey: key, Tenant: st.Tenant, Gateway: st.Gateway, Since: w.position}
	}
	row := &place.row
	if fresh || row.Status != p.Status || row.ErrorCode != p.ErrorCode {
		from := w.at.At
		if row.Intervals > 0 && from.Before(row.From) {
			from = row.From
		}
		row.From = from
		row.Intervals++
		w.intervals = append(w.intervals, IntervalRow{
			PlaceKey: key, Tenant: st.Tenant, Number: row.Intervals,
			Status: p.Status, ErrorCode: p.ErrorCode, Told: w.at, From: from, Since: w.position,
		})
	}
	gone := p.Status == event.StatusUnknown && p.Raw == event.RawGone
	row.Gone, row.Status, row.ErrorCode, row.Info, row.AsOf = gone, p.Status, p.ErrorCode, p.Info, w.at
	place.touch()
	if key.EVSE == 0 {
		return nil
	}
	if gone {
		if fresh {
			return nil // nobody has seen it
		}
		return w.emptied(st.ID, key.EVSE)
	}
	evse, err := w.evse(st, key.EVSE, w.position)
	if err != nil {
		return err
	}
	if !evse.found || evse.row.Gone {
		evse.touch().Gone = false
	}
	return nil
}

// emptied takes an EVSE away whose last connector has gone.
func (w *word) emptied(station string, number int) error {
	if err := w.drop(); err != nil {
		return err
	}
	places, err := w.tx.PlacesOf(station)
	if err != nil {
		return err
	}
	for _, p := range places {
		if p.EVSE == number && !p.Gone {
			return nil
		}
	}
	e, err := w.tx.EVSE(station, number)
	if err != nil || e == nil || e.Session != "" {
		return err
	}
	e.Gone = true
	return w.tx.PutEVSEs([]EVSERow{*e})
}

func (w *word) profileUpdated(p *event.ProfileUpdated) error {
	evse, err := w.evse(&w.station.row, w.in.Address.EVSE, w.position)
	if err != nil {
		return err
	}
	switch p.Status {
	case "effective":
		row := evse.touch()
		row.Gone, row.LimitA, row.LimitW, row.Until = false, p.LimitA, p.LimitW, p.Until
	case "ended":
		row := evse.touch()
		row.LimitA, row.LimitW, row.Until = nil, nil, nil
	}
	return nil // a refused one leaves what held before
}

// transaction raises the highest number known of the station. Numbers that only
// a station claims count up to 2^30: a wild one must not use up the rest.
func (w *word) transaction(s string, given bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= w.station.row.Transaction || n >= 1<<31 || !given && n > 1<<30 {
		return
	}
	w.station.touch().Transaction = n
}

func (w *word) commandUpdated(p *event.CommandUpdated) error {
	c, err := w.tx.Command(p.Command)
	if err != nil {
		return err
	}
	if c != nil && c.Gateway != w.from.Gateway {
		return senseless("command %s was for gateway %s", p.Command, c.Gateway)
	}
	err = w.tx.PutStep(StepRow{
		Command: p.Command, Tenant: w.from.Tenant, Gateway: w.from.Gateway, State: p.State, Reason: p.Reason,
		Result: p.Result, At: w.at, Since: w.position,
	})
	if err != nil || c == nil { // unknown after a restore: kept, should anybody ask
		return err
	}
	return w.settleCommand(c)
}

// settleCommand works out anew what the steps of c say together.
func (u *Unit) settleCommand(c *CommandRow) error {
	steps, err := u.tx.Steps(c.Command)
	if err != nil {
		return err
	}
	step := Standing(steps)
	if step == nil {
		return nil
	}
	c.Status, c.Reason, c.Result, c.Updated = step.State, step.Reason, step.Result, step.At.At
	return u.tx.PutCommand(*c)
}

// Standing returns the step that tells the state of a command, of steps in the
// order in which they came to be known; nil where there is none. A state never
// undoes a later one. Once a command was sent its gateway decides: its end
// counts against the manager's, however late it comes, and only an
// indeterminate end may still be bettered.
func Standing(steps []StepRow) *StepRow {
	var standing *StepRow
	for i := range steps {
		if s := &steps[i]; standing == nil || overrides(standing, s) {
			standing = s
		}
	}
	return standing
}

func overrides(old, s *StepRow) bool {
	gateway, before := s.Since > 0, old.Since > 0
	switch {
	case s.State.Final() && old.State.Final():
		return gateway && (!before || old.State == event.StateIndeterminate && s.State != event.StateIndeterminate)
	case old.State.Final():
		// The manager gave it up, and yet it runs.
		return gateway && !before
	case !s.State.Final() && s.State.Rank() == old.State.Rank():
		return gateway && before // a new reason, as with "scheduled"
	}
	return s.State.Rank() > old.State.Rank()
}

// clockSet notes that the clock of boot stands right from now on.
func (w *word) clockSet(boot string) error {
	row, err := w.tx.Gateway(w.from.Gateway)
	if err != nil || row == nil || row.Boot != boot {
		return err
	}
	row.Clock = event.ClockSynced
	return w.tx.PutGateway(*row)
}

// gatewayClock mends every time that was told while the clock was not set, in
// what is there; what comes later is mended as it comes (Unit.at). Samples are
// mended by whoever reads them.
func (w *word) gatewayClock(p *event.GatewayClock) error {
	g := w.from.Gateway
	row := ClockRow{Gateway: g, Tenant: w.from.Tenant, Boot: p.Boot, OffsetMS: p.OffsetMS, Source: p.Source, Since: w.position}
	old, err := w.tx.Clock(g, p.Boot)
	if err != nil {
		return err
	}
	by := p.OffsetMS
	if old != nil {
		by, row.Since = by-old.OffsetMS, old.Since
	}
	if err := w.tx.PutClock(row); err != nil {
		return err
	}
	if err := w.clockSet(p.Boot); err != nil {
		return err
	}
	if err := w.drop(); err != nil {
		return err
	}
	m := mender{tx: w.tx, boot: p.Boot, by: time.Duration(by) * time.Millisecond}
	for _, part := range []func(event.GatewayID) error{m.gateway, m.alarms, m.stations, m.intervals, m.sessions, m.commands} {
		if err := part(g); err != nil {
			return fmt.Errorf("mend boot %s of %s: %w", p.Boot, g, err)
		}
	}
	return nil
}
