package site

import (
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Admission lets a station connect.
type Admission struct {
	Station event.StationID
	// PasswordHashes are the passwords that are good, the newest first: more than
	// one while a password is being changed. None: the station needs no password;
	// an empty one among others: it needs none yet.
	PasswordHashes []string
	// SecurityProfile is the least with which the station may connect, 0 to 3.
	SecurityProfile int
	// Registration is pending or rejected for a station that may connect and not
	// charge; empty means accepted.
	Registration string
}

// The words of a registration. OCPP 2.0.1 RegistrationStatusEnumType.
const (
	RegistrationAccepted = "accepted"
	RegistrationPending  = "pending"
	RegistrationRejected = "rejected"
)

// Registration is what the station was told at its boot, or would be: accepted,
// pending or rejected. While it is not accepted the station may be configured and
// triggered, and may not charge (OCPP 1.6 §4.2, OCPP 2.0.1 B02, B03).
func (st *Station) Registration() string {
	if st.id == "" {
		return RegistrationAccepted
	}
	r := st.site.registration(st.id)
	if r == RegistrationAccepted && st.info.Pending {
		return RegistrationPending
	}
	return r
}

func (s *Site) registration(id event.StationID) string {
	a, known := s.Admitted(id)
	switch {
	case known && slices.Contains([]string{RegistrationPending, RegistrationRejected}, a.Registration):
		return a.Registration
	case !known && s.cfg.PendUnknown:
		return RegistrationPending
	}
	return RegistrationAccepted
}

// barred tells why a station that is not accepted gets no order of a type; empty:
// it does. OCPP 2.0.1 B02.FR.05, B03.FR.03.
func (st *Station) barred(t event.CommandType) string {
	if t.ForGateway() {
		return ""
	}
	switch now := st.Registration(); now {
	case RegistrationAccepted:
		return ""
	case RegistrationRejected:
		return "the station is rejected: it gets no orders until somebody admits it"
	default:
		switch t {
		case event.CommandGetConfiguration, event.CommandSetConfiguration, event.CommandTrigger, event.CommandReset,
			event.CommandInstallCertificate, event.CommandDeleteCertificate, event.CommandListCertificates, event.CommandSignCertificate,
			event.CommandUpdateFirmware, event.CommandGetLog, event.CommandSendData, event.CommandCall:
			return ""
		}
		return "the station is " + now + ": it may be configured and may not charge until somebody admits it"
	}
}

// Boot is what the station said of itself at its last start, also over an earlier
// connection or before a restart of the gateway; zero: it never said anything.
func (st *Station) Boot() BootReport { return st.boot }

// PasswordChanged says that the station is about to get a new password: its hash
// is good from now on, and the ones before until PasswordSeen.
func (st *Station) PasswordChanged(hash string) error {
	return st.site.passwordChanged(st.id, hash)
}

// PasswordSeen says that a station has connected with the password of hash: those
// before it are no good any more. It may be called on any goroutine.
func (s *Site) PasswordSeen(id event.StationID, hash string) {
	s.passwordSeen(id, hash)
}

// Refused records that the handshake refused somebody who says to be station id;
// known tells whether there is such a station. Event is FailedAuthentication,
// InvalidChargingStationCertificate, UnknownStation or a word like them; repeats
// fold into one event a minute. It may be called on any goroutine.
func (s *Site) Refused(id event.StationID, r SecurityReport, known bool) {
	s.refused(id, r, known, time.Now())
}
