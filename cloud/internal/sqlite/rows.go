package sqlite

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

var _ fleet.Tx = (*tx)(nil)

// scanner is Scan of a row.
type scanner = func(...any) error

// get reads the row that query finds with read.
func get[R any](t *tx, read func(scanner) (R, error), query string, args ...any) (*R, error) {
	var out *R
	err := t.all(query, args, func(scan func(...any) error) error {
		r, err := read(scan)
		out = &r
		return err
	})
	return out, err
}

// collect reads the rows that query finds with read.
func collect[R any](t *tx, read func(scanner) (R, error), query string, args ...any) ([]R, error) {
	var out []R
	err := t.all(query, args, func(scan func(...any) error) error {
		r, err := read(scan)
		out = append(out, r)
		return err
	})
	return out, err
}

// moment is a time column and its boot.
type moment struct {
	ms   sql.NullInt64
	boot sql.NullString
}

func (m *moment) to() fleet.Moment {
	out := fleet.Moment{Boot: m.boot.String}
	if m.ms.Valid {
		out.At = fromMS(m.ms.Int64)
	}
	return out
}

func (m *moment) toPointer() *fleet.Moment {
	if !m.ms.Valid {
		return nil
	}
	out := m.to()
	return &out
}

func at(m *fleet.Moment) any {
	if m == nil || m.At.IsZero() {
		return nil
	}
	return m.At.UnixMilli()
}

func boot(m *fleet.Moment) any {
	if m == nil {
		return nil
	}
	return text(m.Boot)
}

func readClock(scan scanner) (r fleet.ClockRow, err error) {
	err = scan(&r.Gateway, &r.Tenant, &r.Boot, &r.OffsetMS, &r.Source, &r.Since)
	return r, err
}

// Clock implements fleet.Tx.
func (t *tx) Clock(g event.GatewayID, boot string) (*fleet.ClockRow, error) {
	return get(t, readClock, `SELECT gateway, tenant, boot, offset_ms, source, since FROM clocks WHERE gateway = ? AND boot = ?`, g, boot)
}

// PutClock implements fleet.Tx.
func (t *tx) PutClock(r fleet.ClockRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO clocks (gateway, tenant, boot, offset_ms, source, since) VALUES (?, ?, ?, ?, ?, ?)`,
		r.Gateway, r.Tenant, r.Boot, r.OffsetMS, r.Source, r.Since)
	return err
}

func readGateway(scan scanner) (r fleet.GatewayRow, err error) {
	var started moment
	err = scan(&r.Gateway, &r.Tenant, &r.Version, &r.Boot, &started.ms, &started.boot, &r.Clock, &r.Since)
	r.Started = started.to()
	return r, err
}

const gatewayColumns = `gateway, tenant, version, boot, started, started_boot, clock, since`

// Gateway implements fleet.Tx.
func (t *tx) Gateway(g event.GatewayID) (*fleet.GatewayRow, error) {
	return get(t, readGateway, `SELECT `+gatewayColumns+` FROM gateway_facts WHERE gateway = ?`, g)
}

// PutGateway implements fleet.Tx.
func (t *tx) PutGateway(r fleet.GatewayRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO gateway_facts (`+gatewayColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Gateway, r.Tenant, r.Version, r.Boot, at(&r.Started), boot(&r.Started), r.Clock, r.Since)
	return err
}

func readAlarm(scan scanner) (r fleet.AlarmRow, err error) {
	var raised moment
	err = scan(&r.Gateway, &r.Tenant, &r.Alarm, &r.Severity, &r.Text, &raised.ms, &raised.boot, &r.Since)
	r.Raised = raised.to()
	return r, err
}

const alarmColumns = `gateway, tenant, alarm, severity, text, raised, raised_boot, since`

// Alarms implements fleet.Tx.
func (t *tx) Alarms(g event.GatewayID) ([]fleet.AlarmRow, error) {
	return collect(t, readAlarm, `SELECT `+alarmColumns+` FROM alarms WHERE gateway = ? ORDER BY alarm`, g)
}

// PutAlarm implements fleet.Tx.
func (t *tx) PutAlarm(r fleet.AlarmRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO alarms (`+alarmColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Gateway, r.Tenant, r.Alarm, r.Severity, r.Text, at(&r.Raised), boot(&r.Raised), r.Since)
	return err
}

// DeleteAlarm implements fleet.Tx.
func (t *tx) DeleteAlarm(g event.GatewayID, alarm string) error {
	_, err := t.exec(`DELETE FROM alarms WHERE gateway = ? AND alarm = ?`, g, alarm)
	return err
}

func readStation(scan scanner) (r fleet.StationRow, err error) {
	var connected moment
	err = scan(&r.ID, &r.Tenant, &r.Gateway, &r.Identity, &r.Protocol, &r.Vendor, &r.Model, &r.Serial, &r.Firmware,
		&r.Connected, &connected.ms, &connected.boot, &r.Transaction, &r.Orphans, &r.Registration, &r.Since)
	r.ConnectedAt = connected.to()
	return r, err
}

const stationColumns = `id, tenant, gateway, identity, protocol, vendor, model, serial, firmware,
	connected, connected_at, connected_boot, trx, orphans, registration, since`

// Station implements fleet.Tx.
func (t *tx) Station(id string) (*fleet.StationRow, error) {
	return get(t, readStation, `SELECT `+stationColumns+` FROM stations WHERE id = ?`, id)
}

// StationsOf implements fleet.Tx.
func (t *tx) StationsOf(g event.GatewayID) ([]fleet.StationRow, error) {
	return collect(t, readStation, `SELECT `+stationColumns+` FROM stations WHERE gateway = ? ORDER BY id`, g)
}

var insertStations = insert("stations ("+stationColumns+")", 16, `ON CONFLICT DO UPDATE SET protocol = excluded.protocol,
	vendor = excluded.vendor, model = excluded.model, serial = excluded.serial, firmware = excluded.firmware,
	connected = excluded.connected, connected_at = excluded.connected_at, connected_boot = excluded.connected_boot,
	trx = excluded.trx, orphans = excluded.orphans, registration = excluded.registration`)

// PutStations implements fleet.Tx.
func (t *tx) PutStations(rows []fleet.StationRow) error {
	args := make([]any, 0, len(rows)*insertStations.columns)
	for i := range rows {
		r := &rows[i]
		args = append(args, r.ID, string(r.Tenant), string(r.Gateway), string(r.Identity), r.Protocol, r.Vendor, r.Model, r.Serial, r.Firmware,
			r.Connected, at(&r.ConnectedAt), boot(&r.ConnectedAt), r.Transaction, r.Orphans, r.Registration, r.Since)
	}
	return t.insert(insertStations, args)
}

func readEVSE(scan scanner) (r fleet.EVSERow, err error) {
	var session sql.NullString
	var until sql.NullInt64
	err = scan(&r.Station, &r.Tenant, &r.EVSE, &r.Gone, &session, &r.LimitA, &r.LimitW, &until, &r.Since)
	r.Session = event.SessionID(session.String)
	if until.Valid {
		u := fromMS(until.Int64)
		r.Until = &u
	}
	return r, err
}

const evseColumns = `station, tenant, evse, gone, session, limit_a, limit_w, until, since`

// EVSE implements fleet.Tx.
func (t *tx) EVSE(station string, evse int) (*fleet.EVSERow, error) {
	return get(t, readEVSE, `SELECT `+evseColumns+` FROM evses WHERE station = ? AND evse = ?`, station, evse)
}

// EVSEsOf implements fleet.Tx.
func (t *tx) EVSEsOf(station string) ([]fleet.EVSERow, error) {
	return collect(t, readEVSE, `SELECT `+evseColumns+` FROM evses WHERE station = ? ORDER BY evse`, station)
}

var insertEVSEs = insert("evses ("+evseColumns+")", 9, `ON CONFLICT DO UPDATE SET gone = excluded.gone, session = excluded.session,
	limit_a = excluded.limit_a, limit_w = excluded.limit_w, until = excluded.until`)

// PutEVSEs implements fleet.Tx.
func (t *tx) PutEVSEs(rows []fleet.EVSERow) error {
	args := make([]any, 0, len(rows)*insertEVSEs.columns)
	for i := range rows {
		r := &rows[i]
		args = append(args, r.Station, string(r.Tenant), r.EVSE, r.Gone, text(string(r.Session)), r.LimitA, r.LimitW, ms(r.Until), r.Since)
	}
	return t.insert(insertEVSEs, args)
}

func readPlace(scan scanner) (r fleet.PlaceRow, err error) {
	var asOf, start moment
	err = scan(&r.Station, &r.EVSE, &r.Connector, &r.Tenant, &r.Gateway, &r.Gone, &r.Status, &r.ErrorCode, &r.Info,
		&asOf.ms, &asOf.boot, &r.Intervals, &start.ms, &r.Since)
	r.AsOf, r.From = asOf.to(), start.to().At
	return r, err
}

// placeID is the key of a place: a hash, so that intervals need not spell it.
func placeID(p fleet.PlaceKey) int64 {
	h := fnv.New64a()
	var b [64]byte
	text := append(b[:0], p.Station...)
	text = binary.AppendVarint(append(text, 0), int64(p.EVSE))
	h.Write(binary.AppendVarint(text, int64(p.Connector))) //nolint:errcheck // a hash takes everything
	return int64(h.Sum64() >> 1)
}

const placeColumns = `station, evse, connector, tenant, gateway, gone, status, error_code, info, as_of, as_of_boot, intervals, start, since`

// Place implements fleet.Tx.
func (t *tx) Place(p fleet.PlaceKey) (*fleet.PlaceRow, error) {
	return get(t, readPlace, `SELECT `+placeColumns+` FROM places WHERE id = ?`, placeID(p))
}

// PlacesOf implements fleet.Tx.
func (t *tx) PlacesOf(station string) ([]fleet.PlaceRow, error) {
	return collect(t, readPlace, `SELECT `+placeColumns+` FROM places WHERE station = ? ORDER BY evse, connector`, station)
}

var insertPlaces = insert("places (id, "+placeColumns+")", 15, `ON CONFLICT (id) DO UPDATE SET gone = excluded.gone, status = excluded.status,
	error_code = excluded.error_code, info = excluded.info, as_of = excluded.as_of, as_of_boot = excluded.as_of_boot,
	intervals = excluded.intervals, start = excluded.start`)

// PutPlaces implements fleet.Tx.
func (t *tx) PutPlaces(rows []fleet.PlaceRow) error {
	args := make([]any, 0, len(rows)*insertPlaces.columns)
	for i := range rows {
		r := &rows[i]
		args = append(args, placeID(r.PlaceKey), r.Station, r.EVSE, r.Connector, string(r.Tenant), string(r.Gateway), r.Gone, string(r.Status), r.ErrorCode, r.Info,
			at(&r.AsOf), boot(&r.AsOf), r.Intervals, r.From.UnixMilli(), r.Since)
	}
	return t.insert(insertPlaces, args)
}

// readInterval reads an interval of a place.
func readInterval(p fleet.PlaceKey) func(scanner) (fleet.IntervalRow, error) {
	return func(scan scanner) (fleet.IntervalRow, error) {
		r := fleet.IntervalRow{PlaceKey: p}
		var told, start moment
		err := scan(&r.Number, &r.Tenant, &r.Status, &r.ErrorCode, &told.ms, &told.boot, &start.ms, &r.Since)
		r.Told, r.From = told.to(), start.to().At
		return r, err
	}
}

const intervalColumns = `number, tenant, status, error_code, told, told_boot, start, since`

// Interval implements fleet.Tx.
func (t *tx) Interval(p fleet.PlaceKey, number int64) (*fleet.IntervalRow, error) {
	return get(t, readInterval(p), `SELECT `+intervalColumns+` FROM intervals WHERE place = ? AND number = ?`, placeID(p), number)
}

// Intervals implements fleet.Tx.
func (t *tx) Intervals(p fleet.PlaceKey, number int64) ([]fleet.IntervalRow, error) {
	return collect(t, readInterval(p), `SELECT `+intervalColumns+` FROM intervals WHERE place = ? AND number >= ? ORDER BY number`, placeID(p), number)
}

// IntervalsOf implements fleet.Tx.
func (t *tx) IntervalsOf(g event.GatewayID, boot string) (map[fleet.PlaceKey]int64, error) {
	out := map[fleet.PlaceKey]int64{}
	err := t.all(`SELECT p.station, p.evse, p.connector, min(i.number) FROM intervals i JOIN places p ON p.id = i.place
		WHERE i.told_boot = ? AND p.gateway = ? GROUP BY i.place`,
		[]any{boot, g}, func(scan func(...any) error) error {
			var p fleet.PlaceKey
			var number int64
			err := scan(&p.Station, &p.EVSE, &p.Connector, &number)
			out[p] = number
			return err
		})
	return out, err
}

var insertIntervals = insert("intervals (place, "+intervalColumns+")", 9, "")

// PutIntervals implements fleet.Tx.
func (t *tx) PutIntervals(rows []fleet.IntervalRow) error {
	args := make([]any, 0, len(rows)*insertIntervals.columns)
	for i := range rows {
		r := &rows[i]
		args = append(args, placeID(r.PlaceKey), r.Number, string(r.Tenant), string(r.Status), r.ErrorCode,
			at(&r.Told), boot(&r.Told), r.From.UnixMilli(), r.Since)
	}
	return t.insert(insertIntervals, args)
}

// MendIntervals implements fleet.Tx.
func (t *tx) MendIntervals(rows []fleet.IntervalRow) error {
	for i := range rows {
		r := &rows[i]
		_, err := t.exec(`UPDATE intervals SET told = ?, start = ? WHERE place = ? AND number = ?`,
			at(&r.Told), r.From.UnixMilli(), placeID(r.PlaceKey), r.Number)
		if err != nil {
			return err
		}
	}
	return nil
}

func readSession(scan scanner) (r fleet.SessionRow, err error) {
	var at, started, ended moment
	var token, detail []byte
	err = scan(&r.ID, &r.Tenant, &r.Gateway, &r.Station, &r.Identity, &r.EVSE, &r.Connector, &r.Protocol, &r.Transaction,
		&r.Status, &r.ChargingState, &token, &at.ms, &at.boot, &started.ms, &started.boot, &ended.ms, &ended.boot, &r.Reason,
		&r.MeterStartWh, &r.MeterStopWh, &r.MeterWh, &r.EnergyWh, &detail, &r.Since)
	if err != nil {
		return r, err
	}
	r.At, r.Started, r.Ended = at.to(), started.toPointer(), ended.toPointer()
	if r.Token, err = fromJSON[event.Token](token); err != nil {
		return r, fmt.Errorf("token of session %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(detail, &r.Detail); err != nil {
		return r, fmt.Errorf("detail of session %s: %w", r.ID, err)
	}
	return r, nil
}

const sessionColumns = `id, tenant, gateway, station, identity, evse, connector, protocol, trx,
	status, charging_state, token_json, at, at_boot, started, started_boot, ended, ended_boot, reason,
	meter_start_wh, meter_stop_wh, meter_wh, energy_wh, detail, since`

// Session implements fleet.Tx.
func (t *tx) Session(id event.SessionID) (*fleet.SessionRow, error) {
	return get(t, readSession, `SELECT `+sessionColumns+` FROM sessions WHERE id = ?`, id)
}

// SessionsWith implements fleet.Tx.
func (t *tx) SessionsWith(station, transaction string) ([]fleet.SessionRow, error) {
	return collect(t, readSession, `SELECT `+sessionColumns+` FROM sessions WHERE station = ? AND trx = ? ORDER BY at DESC, id DESC`, station, transaction)
}

// SessionsOf implements fleet.Tx.
func (t *tx) SessionsOf(g event.GatewayID, boot string) ([]fleet.SessionRow, error) {
	all, err := collect(t, readSession, `SELECT `+sessionColumns+` FROM sessions WHERE gateway = ? AND unsynced = 1 ORDER BY id`, g)
	var out []fleet.SessionRow
	for _, r := range all {
		if r.Told(boot) {
			out = append(out, r)
		}
	}
	return out, err
}

var insertSessions = insert(`sessions (evse, connector, protocol, trx, charging_state, token_json, started, started_boot, ended, ended_boot,
	reason, meter_start_wh, meter_stop_wh, meter_wh, energy_wh, detail, status, token, at, at_boot, unsynced, id,
	tenant, gateway, station, identity, since)`, 27, "")

// The columns of indexes are written only where they change: it is they that
// cost.
const (
	updateSession = `UPDATE sessions SET evse = ?, connector = ?, protocol = ?, trx = ?, charging_state = ?, token_json = ?,
		started = ?, started_boot = ?, ended = ?, ended_boot = ?, reason = ?,
		meter_start_wh = ?, meter_stop_wh = ?, meter_wh = ?, energy_wh = ?, detail = ?`
	updateSessionRest  = updateSession + ` WHERE id = ?`
	updateSessionEnd   = updateSession + `, status = ? WHERE id = ?`
	updateSessionWhole = updateSession + `, status = ?, token = ?, at = ?, at_boot = ?, unsynced = ? WHERE id = ?`
)

// PutSessions implements fleet.Tx.
func (t *tx) PutSessions(changes []fleet.SessionChange) error {
	var fresh []any
	for i := range changes {
		r, old := &changes[i].Row, changes[i].Old
		detail, err := json.Marshal(&r.Detail)
		if err != nil {
			return fmt.Errorf("detail of session %s: %w", r.ID, err)
		}
		token, err := jsonOrNull(r.Token)
		if err != nil {
			return fmt.Errorf("token of session %s: %w", r.ID, err)
		}
		args := []any{
			r.EVSE, r.Connector, r.Protocol, r.Transaction, r.ChargingState, token,
			at(r.Started), boot(r.Started), at(r.Ended), boot(r.Ended), r.Reason,
			r.MeterStartWh, r.MeterStopWh, r.MeterWh, r.EnergyWh, detail,
		}
		id, key, unsynced := string(r.ID), sessionToken(r), r.Unsynced()
		moved := old == nil || r.At != old.At || key != sessionToken(old) || unsynced != old.Unsynced()
		switch {
		case old == nil:
			fresh = append(append(fresh, args...), r.Status, key, at(&r.At), boot(&r.At), unsynced, id,
				string(r.Tenant), string(r.Gateway), r.Station, string(r.Identity), r.Since)
		case moved:
			_, err = t.exec(updateSessionWhole, append(args, r.Status, key, at(&r.At), boot(&r.At), unsynced, id)...)
		case r.Status != old.Status:
			_, err = t.exec(updateSessionEnd, append(args, r.Status, id)...)
		default:
			_, err = t.exec(updateSessionRest, append(args, id)...)
		}
		if err != nil {
			return err
		}
	}
	return t.insert(insertSessions, fresh)
}

// sessionToken is the token of a session as it is compared, nil without one.
func sessionToken(r *fleet.SessionRow) any {
	if r.Token == nil {
		return nil
	}
	return wire.TokenKey(r.Token.Value)
}

// DeleteSession implements fleet.Tx.
func (t *tx) DeleteSession(id event.SessionID) error {
	_, err := t.exec(`DELETE FROM sessions WHERE id = ?`, id)
	return err
}

// Alias implements fleet.Tx.
func (t *tx) Alias(id event.SessionID) (*fleet.AliasRow, error) {
	return get(t, func(scan scanner) (r fleet.AliasRow, err error) {
		err = scan(&r.Alias, &r.Session, &r.Tenant, &r.Since)
		return r, err
	}, `SELECT alias, session, tenant, since FROM session_aliases WHERE alias = ?`, id)
}

// PutAlias implements fleet.Tx.
func (t *tx) PutAlias(r fleet.AliasRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO session_aliases (alias, session, tenant, since) VALUES (?, ?, ?, ?)`, r.Alias, r.Session, r.Tenant, r.Since)
	return err
}

// Command implements fleet.Tx.
func (t *tx) Command(id event.CommandID) (*fleet.CommandRow, error) {
	return get(t, func(scan scanner) (r fleet.CommandRow, err error) {
		var result []byte
		var updated int64
		err = scan(&r.Command, &r.Gateway, &r.Status, &r.Reason, &result, &updated)
		r.Result, r.Updated = result, fromMS(updated)
		return r, err
	}, `SELECT id, gateway, status, reason, result, updated FROM commands WHERE id = ?`, id)
}

// PutCommand implements fleet.Tx.
func (t *tx) PutCommand(r fleet.CommandRow) error {
	_, err := t.exec(`UPDATE commands SET status = ?, reason = ?, result = ?, updated = ?, open = ? WHERE id = ?`,
		r.Status, r.Reason, blob(r.Result), r.Updated.UnixMilli(), !r.Status.Final(), r.Command)
	return err
}

func blob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func readStep(scan scanner) (r fleet.StepRow, err error) {
	var told moment
	var result []byte
	err = scan(&r.Command, &r.Tenant, &r.Gateway, &r.State, &r.Reason, &result, &told.ms, &told.boot, &r.Since)
	r.At, r.Result = told.to(), result
	return r, err
}

const stepColumns = `command, tenant, gateway, state, reason, result, at, at_boot, since`

// Steps implements fleet.Tx.
func (t *tx) Steps(id event.CommandID) ([]fleet.StepRow, error) {
	return collect(t, readStep, `SELECT `+stepColumns+` FROM command_steps WHERE command = ? ORDER BY id`, id)
}

// StepsOf implements fleet.Tx.
func (t *tx) StepsOf(g event.GatewayID, boot string) ([]fleet.StepRow, error) {
	return collect(t, readStep, `SELECT `+stepColumns+` FROM command_steps WHERE gateway = ? AND at_boot = ? ORDER BY id`, g, boot)
}

// PutStep implements fleet.Tx.
func (t *tx) PutStep(r fleet.StepRow) error {
	_, err := t.exec(`INSERT INTO command_steps (`+stepColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (command, since) WHERE since > 0 DO UPDATE SET state = excluded.state, reason = excluded.reason,
			result = excluded.result, at = excluded.at, at_boot = excluded.at_boot`,
		r.Command, r.Tenant, r.Gateway, r.State, r.Reason, blob(r.Result), at(&r.At), boot(&r.At), r.Since)
	return err
}

// One moment told in two parts becomes one sample, with the lists of both.
var insertSamples = insert("samples (station, evse, boot, time, context, tenant, session, sample, since)", 9,
	`ON CONFLICT DO UPDATE SET session = ifnull(excluded.session, session), 
		sample = CASE WHEN json_valid(sample) AND json_valid(excluded.sample)
			THEN json_patch(json_patch(sample, excluded.sample), json_object(`+bothLists("other")+`, `+bothLists("signed")+`)) ELSE excluded.sample END`)

// bothLists is a member of an object for json_patch: the elements of a list of
// either sample, each once, and null, which takes it out, where neither has one.
func bothLists(name string) string {
	return `'` + name + `', json(CASE WHEN json_type(sample, '$.` + name + `') = 'array' AND json_type(excluded.sample, '$.` + name + `') = 'array' THEN (
		SELECT json_group_array(json(value)) FROM (
			SELECT value FROM json_each(sample, '$.` + name + `') WHERE type = 'object'
			UNION SELECT value FROM json_each(excluded.sample, '$.` + name + `') WHERE type = 'object'))
		ELSE json_extract(json_patch(sample, excluded.sample), '$.` + name + `') END)`
}

// PutSamples implements fleet.Tx.
func (t *tx) PutSamples(rows []fleet.SampleRow) error {
	args := make([]any, 0, len(rows)*insertSamples.columns)
	for i := range rows {
		r := &rows[i]
		args = append(args, r.Station, r.EVSE, r.Told.Boot, r.Told.At.UnixMilli(), r.Context, string(r.Tenant), text(string(r.Session)), string(r.JSON), r.Since)
	}
	return t.insert(insertSamples, args)
}

func readLatest(scan scanner) (r fleet.LatestRow, err error) {
	var told moment
	var session sql.NullString
	err = scan(&r.Station, &r.EVSE, &r.Tenant, &r.Gateway, &told.ms, &told.boot, &session, &r.PowerW, &r.EnergyWh, &r.SoC, &r.Since)
	r.Told, r.Session = told.to(), event.SessionID(session.String)
	return r, err
}

const latestColumns = `station, evse, tenant, gateway, time, boot, session, power_w, energy_wh, soc_percent, since`

// Latest implements fleet.Tx.
func (t *tx) Latest(station string, evse int) (*fleet.LatestRow, error) {
	return get(t, readLatest, `SELECT `+latestColumns+` FROM latest WHERE station = ? AND evse = ?`, station, evse)
}

var insertLatest = insert("latest ("+latestColumns+")", 11, `ON CONFLICT DO UPDATE SET time = excluded.time, boot = excluded.boot,
	session = excluded.session, power_w = excluded.power_w, energy_wh = excluded.energy_wh, soc_percent = excluded.soc_percent, since = excluded.since`)

// PutLatest implements fleet.Tx.
func (t *tx) PutLatest(rows []fleet.LatestRow) error {
	args := make([]any, 0, len(rows)*insertLatest.columns)
	for i := range rows {
		r := &rows[i]
		args = append(args, r.Station, r.EVSE, string(r.Tenant), string(r.Gateway), r.Told.At.UnixMilli(), boot(&r.Told), text(string(r.Session)),
			r.PowerW, r.EnergyWh, r.SoC, r.Since)
	}
	return t.insert(insertLatest, args)
}
