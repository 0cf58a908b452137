package site

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// say makes an event of what the station says of itself, unless it repeats
// itself, and moves the commands on whose effect f shows.
func (st *Station) say(key uint64, when time.Time, stamp Stamp, data event.Payload, f fact) error {
	var c Change
	if key == 0 || !st.repeated(key, 1, st.at(0, 0), data) {
		c.Events = append(c.Events, draft(stamp, st.at(0, 0), when, data))
	}
	hits := st.effects(f)
	st.addEffects(&c, hits, stamp)
	if len(c.Events) == 0 {
		return nil
	}
	if err := st.commit(c); err != nil {
		st.forgetFold(key)
		return err
	}
	st.applyEffects(hits)
	return nil
}

// Firmware takes progress of a firmware update.
func (st *Station) Firmware(r FirmwareReport) error {
	stamp := st.site.clock.Stamp()
	ev := &event.StationFirmware{Status: r.Status, Request: r.Request, Publish: r.Publish, Locations: r.Locations, Info: r.Info}
	f := fact{kind: factPublish, word: r.Status, request: r.Request}
	if !r.Publish {
		f.kind, ev.Command = factFirmware, st.jobOf(event.CommandUpdateFirmware, r.Request)
	}
	key := hash("firmware", r.Status, wh64(r.Request), strconv.FormatBool(r.Publish), r.Info, string(ev.Command))
	return st.say(key, stamp.Time, stamp, ev, f)
}

// Log takes progress of a log upload.
func (st *Station) Log(r LogReport) error {
	stamp := st.site.clock.Stamp()
	ev := &event.StationLog{Status: r.Status, Request: r.Request, File: r.File, Command: st.jobOf(event.CommandGetLog, r.Request)}
	return st.say(hash("log", r.Status, wh64(r.Request), r.File, string(ev.Command)), stamp.Time, stamp, ev,
		fact{kind: factLog, word: r.Status, request: r.Request})
}

// Security takes a security event.
func (st *Station) Security(r SecurityReport) error {
	stamp := st.site.clock.Stamp()
	return st.say(hash("security", r.Event, r.Info), stamp.Time, stamp,
		&event.StationSecurity{Event: r.Event, Info: r.Info, DeviceTime: r.DeviceTime}, fact{kind: factSecurity, word: r.Event})
}

// Data keeps a message that has no unified word.
func (st *Station) Data(r DataReport) error {
	stamp := st.site.clock.Stamp()
	if len(r.Payload) > 0 && !json.Valid(r.Payload) {
		r.Text, r.Payload = join(r.Text, string(r.Payload)), nil
	}
	ev := &event.DataReceived{Action: r.Action, Vendor: r.Vendor, Message: r.Message, Payload: r.Payload, Text: r.Text, Reason: r.Reason}
	return st.say(hash("data", r.Action, r.Vendor, r.Message, string(r.Payload), r.Text, r.Reason), stamp.Time, stamp, ev, fact{})
}

// Configuration reports variables of the station. It never folds: somebody asked.
func (st *Station) Configuration(r ConfigurationReport) error {
	stamp := st.site.clock.Stamp()
	return st.say(0, stamp.Time, stamp,
		&event.StationConfiguration{
			Variables: r.Variables, Unknown: r.Unknown, Command: r.Command,
			Report: r.Report, Part: r.Part, More: r.More, Complete: r.Complete,
		}, fact{})
}

// ComponentDeviations is the component under which Deviations stand.
const ComponentDeviations = "Deviations"

// Deviations reports how often the station departed from its protocol since this
// start of the gateway: one variable of ComponentDeviations per kind, its value the
// count.
func (st *Station) Deviations(counts []event.Variable) error {
	if len(counts) == 0 {
		return nil
	}
	for i := range counts {
		counts[i].Component, counts[i].ReadOnly = ComponentDeviations, true
	}
	return st.Configuration(ConfigurationReport{Variables: counts})
}

// Reservation says that the station has given up a reservation.
func (st *Station) Reservation(r ReservationReport) error {
	stamp := st.site.clock.Stamp()
	status := "expired"
	if r.Status == "removed" {
		status = "cancelled"
	}
	known := reservation{ID: r.Reservation}
	var c Change
	for i := range st.reservations {
		if st.reservations[i].ID == r.Reservation {
			known = st.reservations[i]
			c.Delete = append(c.Delete, known.key(st.id))
		}
	}
	ev := known.event(status, "")
	if known.Token.Value == "" {
		ev.Token = nil
	}
	c.Events = append(c.Events, draft(stamp, st.at(known.EVSE, 0), stamp.Time, ev))
	hits := st.effects(fact{kind: factReservation, word: r.Status, request: r.Reservation})
	st.addEffects(&c, hits, stamp)
	if err := st.commit(c); err != nil {
		return err
	}
	st.applyEffects(hits)
	st.dropReservation(r.Reservation)
	return nil
}

// ExternalLimit says that somebody else has limited the station.
func (st *Station) ExternalLimit(r ExternalLimit) error {
	stamp := st.site.clock.Stamp()
	ev := &event.ProfileUpdated{Status: "effective", LimitA: r.LimitA, LimitW: r.LimitW, Source: r.Source, Reason: r.Info}
	if r.Cleared {
		ev.Status = "ended"
	}
	return st.commit(Change{Events: []event.Draft{draft(stamp, st.at(r.EVSE, 0), stamp.Time, ev)}})
}

// Certificate takes a station's wish to have its certificate signed. The site's
// own CA signs it, else the manager is asked; the chain goes to the device as a
// Standing order. Where nobody signs a command may bring the chain later.
func (st *Station) Certificate(r CertificateReport) error {
	stamp := st.site.clock.Stamp()
	payload, err := json.Marshal(struct {
		CSR  string `json:"csr"`
		Kind string `json:"kind,omitempty"`
	}{r.CSR, r.Kind})
	if err != nil {
		return notKept("certificate request", err)
	}
	ev := &event.DataReceived{Action: "SignCertificate", Payload: payload, Reason: "a request to sign a certificate"}
	if err := st.say(hash("certificate", r.CSR, r.Kind), stamp.Time, stamp, ev, fact{kind: factCertificate, word: r.CSR}); err != nil {
		return err
	}
	st.sign(r)
	return nil
}

func wh64(n int) string {
	v := int64(n)
	return wh(&v)
}
