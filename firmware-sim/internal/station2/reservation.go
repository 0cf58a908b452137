package station2

import (
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// held is the reservation of an EVSE, nil for none.
func (s *Station) held(e *evse) *Reservation {
	for _, r := range s.state.Reservations {
		if r.EVSE == e.id {
			return &r
		}
	}
	return nil
}

func (r Reservation) matches(t Token) bool {
	return strings.EqualFold(r.Token, t.ID) || r.Group != "" && strings.EqualFold(r.Group, t.Group)
}

// reservedFor tells whether a token may use an EVSE, with regard to reservations
// of it and of any EVSE (H01, H02).
func (s *Station) reservedFor(e *evse, t Token) bool {
	s.expireReservations()
	if r := s.held(e); r != nil {
		return r.matches(t)
	}
	others := 0
	for _, r := range s.state.Reservations {
		if r.EVSE == 0 {
			if r.matches(t) {
				return true
			}
			others++
		}
	}
	free := 0
	for _, other := range s.evses { // one has to stay free for each of them
		if other != e && s.held(other) == nil && s.running(other) == nil && s.usable(other) == nil && !other.plugged() {
			free++
		}
	}
	return free >= others
}

// useReservation takes the reservation that an authorization fulfils.
func (s *Station) useReservation(e *evse, t Token) *int64 {
	for _, evse := range []int{e.id, 0} {
		for id, r := range s.state.Reservations {
			if r.EVSE == evse && r.matches(t) {
				delete(s.state.Reservations, id)
				s.Dirty()
				return &id
			}
		}
	}
	return nil
}

func (s *Station) reserve(req *ocpp21.ReserveNowRequest) ocpp21.ReserveNowStatus {
	s.expireReservations()
	candidates, id := s.evses, int64(0)
	if req.EVSEID != nil && *req.EVSEID > 0 {
		e := s.evse(*req.EVSEID)
		if e == nil {
			return ocpp21.ReserveNowStatusRejected
		}
		candidates, id = []*evse{e}, *req.EVSEID
	} else if !s.model.Bool(model.NonEVSEReservation) {
		return ocpp21.ReserveNowStatusRejected
	}
	if !req.ExpiryDateTime.Time.After(s.Now()) {
		return ocpp21.ReserveNowStatusRejected
	}
	verdict := ocpp21.ReserveNowStatusOccupied
	for _, e := range candidates {
		f, r := s.broken(e), s.held(e)
		switch {
		case f != nil && !f.warning():
			verdict = ocpp21.ReserveNowStatusFaulted
		case s.inoperative(e):
			verdict = ocpp21.ReserveNowStatusUnavailable
		case e.outlet.Car() != nil, e.auth != nil, s.running(e) != nil, r != nil && r.ID != req.ID:
			verdict = ocpp21.ReserveNowStatusOccupied
		default:
			verdict = ocpp21.ReserveNowStatusAccepted
		}
		if verdict == ocpp21.ReserveNowStatusAccepted {
			break
		}
	}
	if verdict != ocpp21.ReserveNowStatusAccepted {
		return verdict
	}
	group := ""
	if req.GroupIDToken != nil {
		group = req.GroupIDToken.IDToken
	}
	s.state.Reservations[req.ID] = Reservation{ID: req.ID, EVSE: int(id), Token: req.IDToken.IDToken, Group: group, Expiry: req.ExpiryDateTime.Time}
	s.Dirty()
	s.expireReservations()
	return verdict
}

func (s *Station) cancelReservation(id int64) ocpp21.CancelReservationStatus {
	if _, ok := s.state.Reservations[id]; !ok {
		return ocpp21.CancelReservationStatusRejected
	}
	delete(s.state.Reservations, id)
	s.Dirty()
	return ocpp21.CancelReservationStatusAccepted
}

// endReservations ends those of an EVSE that breaks or goes out of service; for 0,
// all of them.
func (s *Station) endReservations(evse int64, why ocpp21.ReservationUpdateStatus) {
	for id, r := range s.state.Reservations {
		if evse == 0 || int64(r.EVSE) == evse {
			s.endReservation(id, why)
		}
	}
}

func (s *Station) endReservation(id int64, why ocpp21.ReservationUpdateStatus) {
	delete(s.state.Reservations, id)
	s.Dirty()
	s.keep(&ocpp21.ReservationStatusUpdateRequest{ReservationID: id, ReservationUpdateStatus: why})
}

// expireReservations ends what is over (H04), and comes back for the next.
func (s *Station) expireReservations() {
	var next []time.Time
	for id, r := range s.state.Reservations {
		if !r.Expiry.After(s.Now()) {
			s.endReservation(id, ocpp21.ReservationUpdateStatusExpired)
			continue
		}
		next = append(next, r.Expiry)
	}
	s.Off("reservation")
	if len(next) > 0 {
		s.In("reservation", slices.MinFunc(next, time.Time.Compare).Sub(s.Now()), s.expireReservations)
	}
}
