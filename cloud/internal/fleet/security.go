package fleet

import (
	"slices"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
)

// MaxPending is how many stations that nobody has admitted are remembered of one
// gateway: whoever invents names crowds out other inventions.
const MaxPending = 200

// UnknownStation is the security event of a station at the door that nobody has
// admitted.
const UnknownStation = "UnknownStation"

// Why a station is pending.
const (
	PendingUnknown = "unknown" // refused at the door
	PendingBooted  = "pending" // connected and told to wait
)

// criticalEvents are those that OCPP calls critical, in any version's spelling.
// OCPP 2.1 appendix 1; OCPP 1.6 security whitepaper, list of security events.
var criticalEvents = []string{
	"firmwareupdated", "settingsystemtime", "startupofthedevice", "resetorreboot", "securitylogwascleared",
	"memoryexhaustion", "tamperdetectionactivated", "invalidfirmwaresignature", "invalidfirmwaresigningcertificate",
	"invalidcsmscertificate", "invalidcentralsystemcertificate", "invalidchargingstationcertificate",
	"invalidchargepointcertificate", "discardedrenewedclientcertificate", "invalidtlsversion", "invalidtlsciphersuite",
	"maintenanceloginaccepted", "maintenanceloginfailed",
}

// Critical tells whether OCPP calls a security event critical.
func Critical(name string) bool { return slices.Contains(criticalEvents, strings.ToLower(name)) }

// SecurityRow is a security event. Its time stays as told.
type SecurityRow struct {
	Position int64
	Tenant   Tenant
	Gateway  event.GatewayID
	Station  string
	Identity event.StationID
	event.StationSecurity
	Critical bool
	Told     Moment
}

// PendingRow is a station that waits to be admitted. Times stay as told.
type PendingRow struct {
	Gateway  event.GatewayID
	Tenant   Tenant
	Identity event.StationID
	Reason   string
	Protocol string
	Remote   string
	Vendor   string
	Model    string
	Serial   string
	Firmware string
	Info     string
	First    Moment
	Last     Moment
	Count    int64
	Seen     int64 // position of the newest event about it
	Since    int64
}

// stranger tells whether an event is about a station that nobody has admitted:
// it does not become one of the manager's stations, or whoever invents names
// would fill the list.
func stranger(p event.Payload) bool {
	s, ok := p.(*event.StationSecurity)
	return ok && s.Event == UnknownStation
}

// stationSecurity keeps a security event, and who knocked.
func (w *word) stationSecurity(p *event.StationSecurity) error {
	row := SecurityRow{
		Position: w.position, Tenant: w.from.Tenant, Gateway: w.from.Gateway, StationSecurity: *p,
		Critical: Critical(p.Event), Told: w.told(),
	}
	row.Station, row.Identity = w.in.Station, w.in.Address.Station
	if err := w.tx.PutSecurity(row); err != nil || !stranger(p) {
		return err
	}
	return w.pending(max(1, int64(p.Count)), func(r *PendingRow) {
		r.Reason, r.Info = PendingUnknown, p.Info
		r.take(p.Info)
	})
}

// registered notes what became of a boot.
func (w *word) registered(p *event.StationBooted) error {
	st := w.station.touch()
	if p.Registration != "" {
		st.Registration = p.Registration
	}
	switch p.Registration {
	case "accepted":
		return w.tx.DeletePending(st.Gateway, st.Identity)
	case "pending", "rejected":
		return w.pending(max(1, int64(p.Count)), func(r *PendingRow) {
			r.Reason, r.Protocol, r.Info = PendingBooted, or(p.Protocol, st.Protocol), ""
			r.Vendor, r.Model, r.Serial, r.Firmware = p.Vendor, p.Model, p.Serial, p.Firmware
		})
	}
	return nil
}

// pending changes the row of the station that the event is about. An event that
// it knows already counts no second time.
func (w *word) pending(count int64, change func(*PendingRow)) error {
	old, err := w.tx.Pending(w.from.Gateway, w.in.Address.Station)
	if err != nil {
		return err
	}
	row := PendingRow{Gateway: w.from.Gateway, Tenant: w.from.Tenant, Identity: w.in.Address.Station, First: w.told(), Since: w.position}
	if old != nil {
		if row = *old; w.position <= old.Seen {
			return nil
		}
	}
	change(&row)
	row.Last, row.Seen = w.told(), w.position
	row.Count += count
	return w.tx.PutPending(row)
}

// take reads the stranger's address from the info of its event, which ends with
// "(from 192.0.2.1)".
func (r *PendingRow) take(info string) {
	if i := strings.LastIndex(info, "(from "); i >= 0 {
		r.Remote = strings.TrimSuffix(info[i+len("(from "):], ")")
	}
}
