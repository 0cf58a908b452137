package station

import (
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// facts are what the status of a connector follows from.
type facts struct {
	fault       *fault
	transaction bool
	plugged     bool
	away        bool // unplugged on the EV's side in mid-transaction
	offered     bool // the outlet lets energy flow
	wants       bool // the car takes it
	finished    bool // a transaction has ended with this car
	authorized  bool // a token waits for the plug
	reserved    bool
	inoperative bool
}

// status works out the status of a connector (§4.9).
func status(f facts) ocpp16.ChargePointStatus {
	switch {
	case f.fault != nil && !f.fault.warning():
		return ocpp16.ChargePointStatusFaulted
	case f.transaction && (f.away || f.fault != nil && f.fault.code == ocpp16.ChargePointErrorCodeEVCommunicationError):
		return ocpp16.ChargePointStatusSuspendedEV
	case f.transaction && !f.offered: // has precedence over SuspendedEV
		return ocpp16.ChargePointStatusSuspendedEVSE
	case f.transaction && !f.wants:
		return ocpp16.ChargePointStatusSuspendedEV
	case f.transaction:
		return ocpp16.ChargePointStatusCharging
	case f.plugged && f.finished:
		return ocpp16.ChargePointStatusFinishing
	case f.inoperative:
		return ocpp16.ChargePointStatusUnavailable
	case f.authorized:
		return ocpp16.ChargePointStatusPreparing
	case f.reserved:
		return ocpp16.ChargePointStatusReserved
	case f.plugged:
		return ocpp16.ChargePointStatusPreparing
	}
	return ocpp16.ChargePointStatusAvailable
}

// current is what holds for a connector now.
func (s *Station) current(c *connector) report {
	f := s.broken(c)
	_, reserved := s.state.Reservations[int64(c.id)]
	r := report{code: ocpp16.ChargePointErrorCodeNoError, status: status(facts{
		fault: f, transaction: s.running(c) != nil, plugged: c.outlet.Car() != nil, away: c.away,
		offered: c.outlet.Offers(), wants: c.outlet.Wants(), finished: c.finished,
		authorized: c.waiting != nil || c.authorizing && c.outlet.Car() == nil,
		reserved:   reserved, inoperative: s.inoperative(c) || s.firmware.installing,
	})}
	if f != nil {
		r.code = f.code
	}
	if r.code == ocpp16.ChargePointErrorCodeEVCommunicationError && (c.outlet.Car() == nil || r.status == ocpp16.ChargePointStatusUnavailable || r.status == ocpp16.ChargePointStatusReserved) {
		r.code = ocpp16.ChargePointErrorCodeNoError // §4.9: it is said of some statuses only
	}
	return r
}

// whole is the status of the charge point as a whole, connector 0.
func (s *Station) whole() report {
	r := report{status: ocpp16.ChargePointStatusAvailable, code: ocpp16.ChargePointErrorCodeNoError}
	if s.state.Inoperative {
		r.status = ocpp16.ChargePointStatusUnavailable
	}
	if s.conflict {
		r.code = ocpp16.ChargePointErrorCodeLocalListConflict
	}
	if f := s.board; f != nil {
		r.code = f.code
		if !f.warning() {
			r.status = ocpp16.ChargePointStatusFaulted
		}
	}
	return r
}

// reportStatuses sends what the central system does not know yet. While there is
// no connection nothing is kept: §4.9, only the status that holds afterwards
// counts.
func (s *Station) reportStatuses() {
	if !s.Accepted() {
		return
	}
	if r := s.whole(); r != s.boardStatus {
		s.sayBoard(r)
	}
	hold := s.keys.Seconds(keys.MinimumStatusDuration)
	for _, c := range s.connectors {
		r := s.current(c)
		if r != c.seen {
			c.seen, c.seenAt = r, time.Now()
		}
		name := "status " + itoa(c.id)
		if r == c.reported {
			s.Off(name)
			continue
		}
		if wait := hold - time.Since(c.seenAt); wait > 0 && c.reported != (report{}) {
			s.In(name, wait, func() {})
			continue
		}
		s.sayStatus(c, r)
	}
}

func (s *Station) sayBoard(r report) *call {
	s.boardStatus = r
	info := ""
	if s.board != nil {
		info = s.board.info
	}
	return s.notify(0, r, info, func() { s.boardStatus = report{} })
}

func (s *Station) sayStatus(c *connector, r report) *call {
	c.reported = r
	info := c.info
	if f := s.broken(c); f != nil {
		info = f.info
	}
	return s.notify(c.id, r, info, func() { c.reported = report{} })
}

// notify sends a StatusNotification; lost is called when it got no answer
// because the connection went away.
func (s *Station) notify(connector int, r report, info string, lost func()) *call {
	return s.say(&ocpp16.StatusNotificationRequest{
		ConnectorID: int64(connector), ErrorCode: r.code, Status: r.status, Info: info, Timestamp: at(charger.Milliseconds(s.Now())),
	}, func(_ ocpp16.Response, err error) {
		if errors.Is(err, charger.ErrOffline) || errors.Is(err, charger.ErrTimeout) {
			lost()
		}
	})
}

// forgetUnconfirmedStatuses is called on a reconnect. Whatever was not answered
// has been forgotten by then; what changed since is reported at the end of the
// turn.
func (s *Station) forgetUnconfirmedStatuses() {
	for _, c := range s.connectors {
		c.seenAt = time.Time{}
	}
}
