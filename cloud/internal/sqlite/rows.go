package sqlite

import (
	"database/sql"
	"encoding/json"
	"fmt"

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
		&r.Connected, &connected.ms, &connected.boot, &r.Transaction, &r.Orphans, &r.Since)
	r.ConnectedAt = connected.to()
	return r, err
}

const stationColumns = `id, tenant, gateway, identity, protocol, vendor, model, serial, firmware,
	connected, connected_at, connected_boot, trx, orphans, since`

// Station implements fleet.Tx.
func (t *tx) Station(id string) (*fleet.StationRow, error) {
	return get(t, readStation, `SELECT `+stationColumns+` FROM stations WHERE id = ?`, id)
}

// StationsOf implements fleet.Tx.
func (t *tx) StationsOf(g event.GatewayID) ([]fleet.StationRow, error) {
	return collect(t, readStation, `SELECT `+stationColumns+` FROM stations WHERE gateway = ? ORDER BY id`, g)
}

// PutStation implements fleet.Tx.
func (t *tx) PutStation(r fleet.StationRow, fresh bool) error {
	if fresh {
		_, err := t.exec(`INSERT INTO stations (`+stationColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			r.ID, r.Tenant, r.Gateway, r.Identity, r.Protocol, r.Vendor, r.Model, r.Serial, r.Firmware,
			r.Connected, at(&r.ConnectedAt), boot(&r.ConnectedAt), r.Transaction, r.Orphans, r.Since)
		return err
	}
	_, err := t.exec(`UPDATE stations SET protocol = ?, vendor = ?, model = ?, serial = ?, firmware = ?,
		connected = ?, connected_at = ?, connected_boot = ?, trx = ?, orphans = ? WHERE id = ?`,
		r.Protocol, r.Vendor, r.Model, r.Serial, r.Firmware,
		r.Connected, at(&r.ConnectedAt), boot(&r.ConnectedAt), r.Transaction, r.Orphans, r.ID)
	return err
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

// PutEVSE implements fleet.Tx.
func (t *tx) PutEVSE(r fleet.EVSERow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO evses (`+evseColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Station, r.Tenant, r.EVSE, r.Gone, text(string(r.Session)), r.LimitA, r.LimitW, ms(r.Until), r.Since)
	return err
}

func readPlace(scan scanner) (r fleet.PlaceRow, err error) {
	var asOf, start moment
	err = scan(&r.Station, &r.EVSE, &r.Connector, &r.Tenant, &r.Gateway, &r.Gone, &r.Status, &r.ErrorCode, &r.Info,
		&asOf.ms, &asOf.boot, &r.Intervals, &start.ms, &r.Since)
	r.AsOf, r.From = asOf.to(), start.to().At
	return r, err
}

const placeColumns = `station, evse, connector, tenant, gateway, gone, status, error_code, info, as_of, as_of_boot, intervals, start, since`

// Place implements fleet.Tx.
func (t *tx) Place(p fleet.PlaceKey) (*fleet.PlaceRow, error) {
	return get(t, readPlace, `SELECT `+placeColumns+` FROM places WHERE station = ? AND evse = ? AND connector = ?`, p.Station, p.EVSE, p.Connector)
}

// PlacesOf implements fleet.Tx.
func (t *tx) PlacesOf(station string) ([]fleet.PlaceRow, error) {
	return collect(t, readPlace, `SELECT `+placeColumns+` FROM places WHERE station = ? ORDER BY evse, connector`, station)
}

// PutPlace implements fleet.Tx.
func (t *tx) PutPlace(r fleet.PlaceRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO places (`+placeColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Station, r.EVSE, r.Connector, r.Tenant, r.Gateway, r.Gone, r.Status, r.ErrorCode, r.Info,
		at(&r.AsOf), boot(&r.AsOf), r.Intervals, r.From.UnixMilli(), r.Since)
	return err
}

func readInterval(scan scanner) (r fleet.IntervalRow, err error) {
	var told, start moment
	err = scan(&r.Station, &r.EVSE, &r.Connector, &r.Number, &r.Tenant, &r.Gateway, &r.Status, &r.ErrorCode,
		&told.ms, &told.boot, &start.ms, &r.Since)
	r.Told, r.From = told.to(), start.to().At
	return r, err
}

const intervalColumns = `station, evse, connector, number, tenant, gateway, status, error_code, told, told_boot, start, since`

// Interval implements fleet.Tx.
func (t *tx) Interval(p fleet.PlaceKey, number int64) (*fleet.IntervalRow, error) {
	return get(t, readInterval, `SELECT `+intervalColumns+` FROM intervals WHERE station = ? AND evse = ? AND connector = ? AND number = ?`,
		p.Station, p.EVSE, p.Connector, number)
}

// Intervals implements fleet.Tx.
func (t *tx) Intervals(p fleet.PlaceKey, number int64) ([]fleet.IntervalRow, error) {
	return collect(t, readInterval, `SELECT `+intervalColumns+` FROM intervals WHERE station = ? AND evse = ? AND connector = ? AND number >= ? ORDER BY number`,
		p.Station, p.EVSE, p.Connector, number)
}

// IntervalsOf implements fleet.Tx.
func (t *tx) IntervalsOf(g event.GatewayID, boot string) (map[fleet.PlaceKey]int64, error) {
	out := map[fleet.PlaceKey]int64{}
	err := t.all(`SELECT station, evse, connector, min(number) FROM intervals WHERE gateway = ? AND told_boot = ? GROUP BY 1, 2, 3`,
		[]any{g, boot}, func(scan func(...any) error) error {
			var p fleet.PlaceKey
			var number int64
			err := scan(&p.Station, &p.EVSE, &p.Connector, &number)
			out[p] = number
			return err
		})
	return out, err
}

const intervalCount = 12

var insertInterval, insertIntervals = func() (one, many string) {
	one, many = insert("intervals ("+intervalColumns+")", intervalCount)
	const mended = ` ON CONFLICT DO UPDATE SET told = excluded.told, start = excluded.start`
	return one + mended, many + mended
}()

// PutIntervals implements fleet.Tx.
func (t *tx) PutIntervals(rows []fleet.IntervalRow) error {
	args := make([]any, 0, len(rows)*intervalCount)
	for i := range rows {
		r := &rows[i]
		args = append(args, r.Station, r.EVSE, r.Connector, r.Number, string(r.Tenant), string(r.Gateway), string(r.Status), r.ErrorCode,
			at(&r.Told), boot(&r.Told), r.From.UnixMilli(), r.Since)
	}
	return t.insertRows(insertInterval, insertIntervals, intervalCount, args)
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

// PutSession implements fleet.Tx.
func (t *tx) PutSession(r fleet.SessionRow, fresh bool) error {
	detail, err := json.Marshal(&r.Detail)
	if err != nil {
		return fmt.Errorf("detail of session %s: %w", r.ID, err)
	}
	token, err := jsonOrNull(r.Token)
	if err != nil {
		return fmt.Errorf("token of session %s: %w", r.ID, err)
	}
	var key any
	if r.Token != nil {
		key = wire.TokenKey(r.Token.Value)
	}
	values := []any{
		r.EVSE, r.Connector, r.Protocol, r.Transaction, r.Status, r.ChargingState, key, token,
		at(&r.At), boot(&r.At), at(r.Started), boot(r.Started), at(r.Ended), boot(r.Ended), r.Reason,
		r.MeterStartWh, r.MeterStopWh, r.MeterWh, r.EnergyWh, detail, r.Unsynced(), string(r.ID),
	}
	if fresh {
		_, err = t.exec(`INSERT INTO sessions (evse, connector, protocol, trx, status, charging_state, token, token_json,
			at, at_boot, started, started_boot, ended, ended_boot, reason,
			meter_start_wh, meter_stop_wh, meter_wh, energy_wh, detail, unsynced, id,
			tenant, gateway, station, identity, since)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			append(values, r.Tenant, r.Gateway, r.Station, r.Identity, r.Since)...)
	} else {
		_, err = t.exec(`UPDATE sessions SET evse = ?, connector = ?, protocol = ?, trx = ?, status = ?, charging_state = ?, token = ?, token_json = ?,
			at = ?, at_boot = ?, started = ?, started_boot = ?, ended = ?, ended_boot = ?, reason = ?,
			meter_start_wh = ?, meter_stop_wh = ?, meter_wh = ?, energy_wh = ?, detail = ?, unsynced = ? WHERE id = ?`, values...)
	}
	return err
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

const sampleCount = 8

var insertSample, insertSamples = func() (one, many string) {
	one, many = insert("samples (station, evse, boot, time, tenant, session, sample, since)", sampleCount)
	// One moment told in two parts becomes one sample.
	const merge = ` ON CONFLICT DO UPDATE SET session = ifnull(excluded.session, session), sample = json_patch(sample, excluded.sample)`
	return one + merge, many + merge
}()

// PutSamples implements fleet.Tx.
func (t *tx) PutSamples(rows []fleet.SampleRow) error {
	args := make([]any, 0, len(rows)*sampleCount)
	for i := range rows {
		r := &rows[i]
		args = append(args, r.Station, r.EVSE, r.Told.Boot, r.Told.At.UnixMilli(), string(r.Tenant), text(string(r.Session)), string(r.JSON), r.Since)
	}
	return t.insertRows(insertSample, insertSamples, sampleCount, args)
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

// PutLatest implements fleet.Tx.
func (t *tx) PutLatest(r fleet.LatestRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO latest (`+latestColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Station, r.EVSE, r.Tenant, r.Gateway, r.Told.At.UnixMilli(), boot(&r.Told), text(string(r.Session)), r.PowerW, r.EnergyWh, r.SoC, r.Since)
	return err
}
