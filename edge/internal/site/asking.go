package site

import (
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// askLater has a station that has come back asked, once its queue has had some
// time, which of its transactions still run.
func (st *Station) askLater() {
	at := time.Now().Add(st.site.cfg.LookAfter)
	for _, s := range st.open {
		if s.own {
			s.askAt, s.goneAt, s.mute = at, time.Time{}, false
			st.wake(at)
		}
	}
}

// askTransactions asks about the transactions whose turn it is, and ends those
// that the station says are over. OCPP 2.0.1 E14.
func (st *Station) askTransactions(now time.Time) {
	for _, s := range slices.Clone(st.open) {
		if st.device == nil {
			s.askAt, s.goneAt = time.Time{}, time.Time{}
			continue
		}
		if !s.goneAt.IsZero() && !now.Before(s.goneAt) {
			if err := st.inferEnd(s, s.lastSeen()); err != nil {
				st.logger().Warn("inferred end not kept, trying again", "session", string(s.id), "err", err)
				s.goneAt = now.Add(retryAfter)
			}
			continue
		}
		if s.askAt.IsZero() || now.Before(s.askAt) {
			continue
		}
		s.askAt = time.Time{}
		asker, ok := st.device.(TransactionAsker)
		if !ok || st.Registration() != RegistrationAccepted {
			st.asked(s, nil, false, false)
			continue
		}
		conn := st.conn
		asker.AskTransaction(s.wireID(), func(ongoing *bool, queued, known bool) {
			if conn == st.conn && st.device != nil && s.end == running {
				st.asked(s, ongoing, queued, known)
			}
		})
	}
}

// asked takes the answer about a transaction.
func (st *Station) asked(s *session, ongoing *bool, queued, known bool) {
	now := time.Now()
	p := st.connector(s.evse, s.connector)
	switch {
	case !known:
		s.mute = true
		if p != nil && !p.freeSince.IsZero() {
			p.inferAt = now
			st.wake(now)
		}
	case ongoing == nil || *ongoing:
	case queued:
		s.askAt = now.Add(st.site.cfg.InferAfter)
		st.wake(s.askAt)
	default:
		s.goneAt = now.Add(st.site.cfg.InferAfter) // for what is under way
		st.wake(s.goneAt)
	}
}

// wireID is the protocol's id of s over this connection.
func (s *session) wireID() string {
	if s.alias != "" {
		return s.alias
	}
	return s.transaction
}

// lastSeen is the last sign of life of s.
func (s *session) lastSeen() time.Time {
	at := s.started
	if s.registerAt.After(at) {
		at = s.registerAt
	}
	if s.heardAt.After(at) {
		at = s.heardAt
	}
	return at
}

// mayBeOver tells whether a session whose connector has been available for long
// enough is over. One that the station numbers may run without a car: from the
// card on, or until the bay is left (OCPP 2.0.1 TxStartPoint, TxStopPoint). Where
// the station can be asked it is.
func (st *Station) mayBeOver(s *session, p *connector, now time.Time) bool {
	if !s.own {
		return true
	}
	if s.mute {
		plugged := s.energised || s.state == "ev_connected" || s.rises.gained > 0
		if plugged && s.state != "idle" {
			return true
		}
		p.occupied()
		return false
	}
	s.askAt, p.inferAt = now, now.Add(askAgain)
	st.wake(now)
	return false
}

// askAgain is when a station is asked again about a transaction that it says goes
// on although nothing is plugged in.
const askAgain = 15 * time.Minute

// goesOn tells whether r, an update, says that a session goes on which was taken to
// be over, at a place where no other has begun since.
func (st *Station) goesOn(s *session, r *TransactionReport) bool {
	return s.end == inferred && s.evse != 0 && r.Time.readable() && r.Time.Time.After(s.endedAt) && st.openAt(s.evse, s.connector) == nil
}

// resume takes back that s was taken to be over, with what that said of it.
func (s *session) resume() {
	s.end, s.endedAt, s.endWh = running, time.Time{}, nil
	s.flags &^= flagInferred | flagGap | flagUnknownEnergy
}

// reopen takes a session that goes on from the past ones to the running ones. As
// long as nothing else is heard of it the station is asked again.
func (st *Station) reopen(s *session) {
	if i := slices.Index(st.ended, s); i >= 0 {
		st.ended = slices.Delete(st.ended, i, i+1)
	}
	st.open = append(st.open, s)
	s.askAt = time.Now().Add(st.site.cfg.InferAfter)
	st.wake(s.askAt)
	if p := st.connector(s.evse, s.connector); p != nil && p.base == event.StatusAvailable {
		p.freeSince = time.Now()
		st.grace(p)
	}
}
