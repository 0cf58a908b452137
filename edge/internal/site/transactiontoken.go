package site

import "github.com/chargeyard/chargeyard/shared/event"

// authorize decides about a token that the report names. The one of the session
// is decided about when it is told first; where it was refused it is again, or the
// one that is shown in its place. Any other is there to end the session.
func (n *news) authorize() {
	t, s, st := n.r.Token, n.s, n.st
	var order *command
	if s.command == "" {
		order = st.remoteStart(n.r.RemoteStart, s.evse, t)
	}
	if order != nil {
		s.command, n.command = order.cmd.ID, order.cmd.ID
		if t == nil {
			n.facts = append(n.facts, fact{kind: factStarted, evse: s.evse, request: n.r.RemoteStart, session: s})
		}
	}
	if t == nil {
		return
	}
	stops := n.r.Step == TransactionEnded || n.r.Trigger == "stop_authorized" || n.r.Trigger == "deauthorized"
	other := s.token != nil && !sameToken(s.token.Value, t.Value) && s.answer.Decision == accepted
	if s.token != nil && (stops || other) || s.token == nil && n.r.Step == TransactionEnded {
		n.answer = st.stopAnswer(s, t)
		return
	}
	if s.token != nil && s.answer.Decision == accepted && st.recall(t).Decision != blocked {
		n.answer = s.answer
		return
	}
	if r := n.r.Reservation; r != 0 {
		s.reservation = r
	}
	reserved := st.reservationFor(s.evse, s.reservation, *t)
	but := []event.SessionID{s.id}
	for _, r := range n.replaced {
		but = append(but, r.old.id)
	}
	d := st.decideStart(*t, s.evse, but, order != nil || s.command != "", reserved != nil, n.stamp)
	n.answer = d.AuthorizeResult
	if s.token != nil && d.Decision != accepted && (d.Decision == s.answer.Decision || !sameToken(s.token.Value, t.Value)) {
		return
	}
	n.decided = &d
	s.token, s.answer = t, d.AuthorizeResult
	s.flags |= flagUnauthorized.when(d.Decision != accepted)
	n.used = reserved
	n.change.Events = append(n.change.Events, draft(n.stamp, s.at(st.id), n.when.time, d.event(*t, "start")))
	n.change.Put = append(n.change.Put, d.records()...)
	n.facts = append(n.facts, fact{kind: factStarted, evse: s.evse, token: *t, request: n.r.RemoteStart, session: s})
}

// stopAnswer is what to say of a token that ends a session. The end cannot be
// refused, and nobody is asked.
func (st *Station) stopAnswer(s *session, t *event.Token) AuthorizeResult {
	switch known := st.recall(t); {
	case known.Decision != "":
		return known
	case s.token != nil && sameToken(s.token.Value, t.Value) && s.answer.Decision != "":
		return s.answer
	case t.Type == tokenNone:
		return AuthorizeResult{Decision: accepted}
	}
	return AuthorizeResult{Decision: invalid}
}

// recall answers a report that was taken before.
func (n *news) recall() {
	t := n.r.Token
	switch {
	case t == nil:
	case n.s.token != nil && sameToken(n.s.token.Value, t.Value) && n.r.Step != TransactionEnded:
		n.answer = n.s.answer
	default:
		n.answer = n.st.stopAnswer(n.s, t)
	}
}

// useReservation notes that the session uses the reservation that it named.
func (n *news) useReservation() {
	if t := n.s.token; n.used == nil && n.r.Reservation != 0 && t != nil {
		if r := n.st.reservationFor(n.s.evse, n.r.Reservation, *t); r != nil && r.ID == n.r.Reservation {
			n.used = r
		}
	}
	if n.used == nil {
		return
	}
	n.change.Events = append(n.change.Events, draft(n.stamp, n.s.at(n.st.id), n.when.time, n.used.event("used", n.s.id)))
	n.change.Delete = append(n.change.Delete, n.used.key(n.st.id))
}
