package event

import (
	"encoding/json"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

// appender is a Payload that writes its own JSON: those that come with nearly
// every call of a charger. Of a payload without it encoding/json takes care.
// What an appender writes reads back as what encoding/json would have written.
type appender interface {
	AppendJSON(b []byte) []byte
}

// appendData appends the JSON of a payload.
func appendData(b []byte, p Payload) ([]byte, error) {
	if a, ok := p.(appender); ok {
		return a.AppendJSON(b), nil
	}
	data, err := json.Marshal(p)
	return append(b, data...), err
}

// AppendJSON appends the payload as JSON.
func (s *StationStatus) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("status", string(s.Status))
	o.TextIf("raw", s.Raw)
	o.TextIf("error_code", s.ErrorCode)
	o.TextIf("vendor_id", s.VendorID)
	o.TextIf("vendor_error_code", s.VendorErrorCode)
	o.TextIf("info", s.Info)
	o.TextIf("device_time", s.DeviceTime)
	o.IntIf("count", int64(s.Count))
	return o.Close()
}

// AppendJSON appends the token as JSON.
func (t *Token) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("type", t.Type)
	o.Text("value", t.Value)
	return o.Close()
}

func (a *Authorization) members(o *Object) {
	o.Text("decision", a.Decision)
	o.Text("by", a.By)
	o.TextIf("reason", a.Reason)
}

// AppendJSON appends the decision as JSON.
func (a *Authorization) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	a.members(&o)
	return o.Close()
}

// AppendJSON appends the payload as JSON.
func (t *TokenAuthorized) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Append("token", t.Token.AppendJSON)
	t.members(&o)
	o.TextIf("parent", t.Parent)
	o.TimeAt("expires", t.Expires)
	o.Text("context", t.Context)
	o.IntIf("count", int64(t.Count))
	return o.Close()
}

func (o *Object) tokenAt(t *Token) {
	if t != nil {
		o.Append("token", t.AppendJSON)
	}
}

func (o *Object) flagsIf(flags []Flag) {
	if len(flags) == 0 {
		return
	}
	o.name("flags")
	o.b = appendList(o.b, flags, func(f *Flag, b []byte) []byte { return lenient.AppendString(b, string(*f)) })
}

// AppendJSON appends the payload as JSON.
func (s *SessionStarted) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("session", string(s.Session))
	o.Text("transaction", s.Transaction)
	o.Text("protocol", s.Protocol)
	o.tokenAt(s.Token)
	if s.Authorization != nil {
		o.Append("authorization", s.Authorization.AppendJSON)
	}
	o.IntAt("meter_wh", s.MeterWh)
	o.TextIf("charging_state", s.ChargingState)
	o.TextIf("trigger", s.Trigger)
	o.IntIf("reservation", int64(s.Reservation))
	o.TextIf("command", string(s.Command))
	o.TextIf("device_time", s.DeviceTime)
	o.flagsIf(s.Flags)
	return o.Close()
}

// AppendJSON appends the payload as JSON.
func (s *SessionUpdated) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("session", string(s.Session))
	o.Text("transaction", s.Transaction)
	o.TextIf("charging_state", s.ChargingState)
	o.tokenAt(s.Token)
	if s.Authorization != nil {
		o.Append("authorization", s.Authorization.AppendJSON)
	}
	o.IntAt("meter_wh", s.MeterWh)
	o.TextIf("trigger", s.Trigger)
	if s.Reading != nil {
		o.Append("reading", s.Reading.AppendJSON)
	}
	o.IntIf("phases_used", int64(s.PhasesUsed))
	o.IntIf("cable_a", int64(s.CableA))
	o.TextIf("command", string(s.Command))
	o.TextIf("device_time", s.DeviceTime)
	o.flagsIf(s.Flags)
	return o.Close()
}

// AppendJSON appends the payload as JSON.
func (s *SessionEnded) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("session", string(s.Session))
	o.Text("transaction", s.Transaction)
	o.Text("reason", s.Reason)
	o.tokenAt(s.Token)
	o.TimeAt("started", s.Started)
	o.IntAt("meter_start_wh", s.MeterStartWh)
	o.IntAt("meter_stop_wh", s.MeterStopWh)
	o.IntAt("energy_wh", s.EnergyWh)
	o.Int("duration_s", s.DurationS)
	o.TextIf("trigger", s.Trigger)
	o.TextIf("command", string(s.Command))
	if len(s.Readings) > 0 {
		o.name("readings")
		o.b = appendList(o.b, s.Readings, (*Sample).AppendJSON)
	}
	o.TextIf("device_time", s.DeviceTime)
	o.flagsIf(s.Flags)
	return o.Close()
}

// AppendJSON appends the payload as JSON.
func (m *MeterRead) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Append("reading", m.Reading.AppendJSON)
	return o.Close()
}

// AppendJSON appends the payload as JSON.
func (s *SessionSampled) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("session", string(s.Session))
	o.Text("transaction", s.Transaction)
	o.name("samples")
	o.b = appendList(o.b, s.Samples, (*Sample).AppendJSON)
	return o.Close()
}

// AppendJSON appends the payload as JSON.
func (m *MeterSampled) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.name("samples")
	o.b = appendList(o.b, m.Samples, (*Sample).AppendJSON)
	return o.Close()
}

// AppendJSON appends the sample as JSON.
func (s *Sample) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Time("time", s.Time)
	o.TextIf("context", s.Context)
	o.IntAt("energy_wh", s.EnergyWh)
	o.IntAt("export_wh", s.ExportWh)
	o.NumberAt("power_w", s.PowerW)
	o.NumberAt("power_offered_w", s.PowerOfferedW)
	if s.CurrentA != nil {
		o.Append("current_a", s.CurrentA.AppendJSON)
	}
	o.NumberAt("current_offered_a", s.CurrentOfferedA)
	if s.VoltageV != nil {
		o.Append("voltage_v", s.VoltageV.AppendJSON)
	}
	o.NumberAt("soc_percent", s.SoCPercent)
	o.NumberAt("frequency_hz", s.FrequencyHz)
	o.NumberAt("temperature_c", s.TemperatureC)
	if len(s.Other) > 0 {
		o.name("other")
		o.b = appendList(o.b, s.Other, (*Value).AppendJSON)
	}
	if len(s.Signed) > 0 {
		o.name("signed")
		o.b = appendList(o.b, s.Signed, (*Signed).AppendJSON)
	}
	o.TextIf("device_time", s.DeviceTime)
	return o.Close()
}

// AppendJSON appends the values as JSON.
func (p *Phases) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.NumberAt("l1", p.L1)
	o.NumberAt("l2", p.L2)
	o.NumberAt("l3", p.L3)
	o.NumberAt("n", p.N)
	return o.Close()
}

// AppendJSON appends the value as JSON.
func (v *Value) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("measurand", v.Measurand)
	o.NumberAt("value", v.Value)
	o.TextIf("raw", v.Raw)
	o.TextIf("unit", v.Unit)
	o.TextIf("phase", v.Phase)
	o.TextIf("location", v.Location)
	return o.Close()
}

// AppendJSON appends the signed value as JSON.
func (s *Signed) AppendJSON(b []byte) []byte {
	o := OpenObject(b)
	o.Text("data", s.Data)
	o.TextIf("method", s.Method)
	o.TextIf("encoding", s.Encoding)
	o.TextIf("key", s.Key)
	return o.Close()
}
