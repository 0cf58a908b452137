package site

import (
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// reservation is a place kept for a token.
type reservation struct {
	ID      int             `json:"n"`
	EVSE    int             `json:"e,omitempty"` // 0: any
	Token   event.Token     `json:"o"`
	Parent  string          `json:"p,omitempty"`
	Until   time.Time       `json:"u"`
	Command event.CommandID `json:"c,omitempty"`
}

func (r *reservation) key(station event.StationID) Key {
	return Key{Kind: kindReservation, Station: station, ID: strconv.Itoa(r.ID)}
}

func (r *reservation) event(status string, s event.SessionID) *event.ReservationUpdated {
	token := r.Token
	return &event.ReservationUpdated{Reservation: r.ID, Status: status, Token: &token, Session: s, Command: r.Command}
}

// reservationFor is the reservation that a start uses: one of its token or its
// group, the one that it names before one at the place; nil: none. Naming
// somebody else's is no use. EVSE 0 is any place.
func (st *Station) reservationFor(evse, named int, t event.Token) *reservation {
	var found *reservation
	for i := range st.reservations {
		r := &st.reservations[i]
		own := sameToken(r.Token.Value, t.Value) || r.Parent != "" && tokenKey(r.Parent) == tokenKey(st.site.tokens.parent(t.Value))
		switch {
		case !own:
		case named != 0 && r.ID == named:
			return r
		case found == nil && (r.EVSE == 0 || evse == 0 || r.EVSE == evse):
			found = r
		}
	}
	return found
}

func (st *Station) dropReservation(id int) {
	st.reservations = slices.DeleteFunc(st.reservations, func(r reservation) bool { return r.ID == id })
}

// endReservations ends what nobody used in time.
func (st *Station) endReservations() {
	if len(st.reservations) == 0 {
		return
	}
	now := st.site.now()
	stamp := st.site.clock.Stamp()
	for _, r := range slices.Clone(st.reservations) {
		if now.Before(r.Until) {
			continue
		}
		c := Change{
			Events: []event.Draft{draft(stamp, st.at(r.EVSE, 0), stamp.Time, r.event("expired", ""))},
			Delete: []Key{r.key(st.id)},
		}
		if err := st.commit(c); err != nil {
			st.logger().Warn("end of a reservation not kept, trying again", "reservation", r.ID, "err", err)
			return
		}
		st.dropReservation(r.ID)
	}
}
