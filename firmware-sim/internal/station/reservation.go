package station

import (
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// reservedFor tells whether a token may use a connector, with regard to
// reservations of it and of any connector.
func (s *Station) reservedFor(c *connector, tag, parent string) bool {
	s.expireReservations()
	if r, ok := s.state.Reservations[int64(c.id)]; ok {
		return r.matches(tag, parent)
	}
	r, ok := s.state.Reservations[0]
	if !ok || r.matches(tag, parent) {
		return true
	}
	free := 0
	for _, other := range s.connectors { // one has to stay free for the reservation of any
		_, own := s.state.Reservations[int64(other.id)]
		if other.id != c.id && !own && s.running(other) == nil && s.usable(other) == nil && other.outlet.Car() == nil {
			free++
		}
	}
	return free > 0
}

func (r Reservation) matches(tag, parent string) bool {
	return strings.EqualFold(r.IDTag, tag) || r.Parent != "" && strings.EqualFold(r.Parent, parent)
}

// useReservation takes the reservation that a starting transaction fulfils.
func (s *Station) useReservation(c *connector, tag, parent string) *int64 {
	for _, connector := range []int64{int64(c.id), 0} {
		if r, ok := s.state.Reservations[connector]; ok && r.matches(tag, parent) {
			delete(s.state.Reservations, connector)
			s.Dirty()
			return &r.ID
		}
	}
	return nil
}

func (s *Station) reserve(req *ocpp16.ReserveNowRequest) ocpp16.ReservationStatus {
	s.expireReservations()
	var candidates []*connector
	if req.ConnectorID == 0 {
		if !s.keys.Bool(keys.ReserveConnectorZero) {
			return ocpp16.ReservationStatusRejected
		}
		candidates = s.connectors
	} else if c := s.connector(req.ConnectorID); c != nil {
		candidates = []*connector{c}
	} else {
		return ocpp16.ReservationStatusRejected
	}
	if !req.ExpiryDate.Time.After(s.Now()) {
		return ocpp16.ReservationStatusRejected
	}
	verdict := ocpp16.ReservationStatusOccupied
	for _, c := range candidates {
		held, ok := s.state.Reservations[int64(c.id)]
		f := s.broken(c)
		switch {
		case f != nil && !f.warning():
			verdict = ocpp16.ReservationStatusFaulted
		case s.inoperative(c):
			verdict = ocpp16.ReservationStatusUnavailable
		case c.outlet.Car() != nil, c.waiting != nil, s.running(c) != nil, ok && held.ID != req.ReservationID:
			verdict = ocpp16.ReservationStatusOccupied
		default:
			verdict = ocpp16.ReservationStatusAccepted
		}
		if verdict == ocpp16.ReservationStatusAccepted {
			break
		}
	}
	if held, ok := s.state.Reservations[req.ConnectorID]; ok && held.ID != req.ReservationID {
		verdict = ocpp16.ReservationStatusOccupied
	}
	if verdict != ocpp16.ReservationStatusAccepted {
		return verdict
	}
	s.cancelReservation(req.ReservationID) // the same id replaces
	s.state.Reservations[req.ConnectorID] = Reservation{
		ID: req.ReservationID, Connector: int(req.ConnectorID), IDTag: req.IDTag, Parent: req.ParentIDTag, Expiry: req.ExpiryDate.Time,
	}
	s.Dirty()
	s.expireReservations()
	return verdict
}

func (s *Station) cancelReservation(id int64) bool {
	for connector, r := range s.state.Reservations {
		if r.ID == id {
			delete(s.state.Reservations, connector)
			s.Dirty()
			return true
		}
	}
	return false
}

// endReservations ends the reservation of a connector that breaks or goes out of
// service; for connector 0, all of them (§5.13).
func (s *Station) endReservations(connector int64) {
	if connector == 0 {
		clear(s.state.Reservations)
	}
	delete(s.state.Reservations, connector)
	s.Dirty()
}

// expireReservations ends what is over, and comes back for the next.
func (s *Station) expireReservations() {
	var next []time.Time
	for connector, r := range s.state.Reservations {
		if !r.Expiry.After(s.Now()) {
			delete(s.state.Reservations, connector)
			s.Dirty()
			continue
		}
		next = append(next, r.Expiry)
	}
	s.Off("reservation")
	if len(next) > 0 {
		s.In("reservation", slices.MinFunc(next, time.Time.Compare).Sub(s.Now()), s.expireReservations)
	}
}
