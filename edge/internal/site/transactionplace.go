package site

// replacement is a session that ends because this one began.
type replacement struct{ old, after *session }

// settle decides where the transaction is: the first place that it names, or the
// only one that there is. It tells whether that is news.
func (n *news) settle() bool {
	s, r := n.s, n.r
	evse, connector := s.evse, s.connector
	if s.evse == 0 {
		if s.evse = r.EVSE; s.evse == 0 {
			s.evse = n.st.onlyEVSE()
		}
	}
	if s.evse != 0 && s.connector == 0 {
		if r.EVSE == s.evse || r.EVSE == 0 {
			s.connector = r.Connector
		}
		if s.connector == 0 {
			s.connector = n.st.onlyConnector(s.evse)
		}
	}
	if s.evse != 0 {
		n.place = n.st.register(s.evse, s.connector)
	}
	return s.evse != evse || s.connector != connector
}

// onlyEVSE is the EVSE of a station that has one, else 0.
func (st *Station) onlyEVSE() int {
	found := 0
	for i := range st.connectors {
		switch e := st.connectors[i].evse; {
		case e == 0 || e == found:
		case found != 0:
			return 0
		default:
			found = e
		}
	}
	return found
}

// onlyConnector is the connector of an EVSE that has one, else 0.
func (st *Station) onlyConnector(evse int) int {
	found := 0
	for i := range st.connectors {
		c := &st.connectors[i]
		if c.evse != evse || c.number == 0 {
			continue
		}
		if found != 0 {
			return 0
		}
		found = c.number
	}
	return found
}

// supersede ends the sessions that cannot run any more now that this one does:
// the older ones of its EVSE, and the oldest where a station runs more than it
// can have.
func (n *news) supersede() {
	began := n.s.startClaim
	if began.IsZero() && n.r.Time.readable() { // not later than this
		began = n.r.Time.Time
	}
	for _, o := range n.st.open {
		if o == n.old {
			continue
		}
		// One that began later goes on: this report was kept back by the station.
		older := o.startClaim.IsZero() || began.IsZero() || !o.startClaim.After(began)
		there := n.s.evse != 0 && o.evse == n.s.evse && older
		if !there && (n.old != nil || len(n.st.open)-len(n.replaced) < maxConnectors) {
			continue
		}
		e := ending{kind: superseded, time: n.when.time, reason: "other", trigger: "abnormal", flags: flagSuperseded}
		n.change.Events = append(n.change.Events, n.st.endEvent(o, &e, n.stamp))
		after := o.after(e)
		n.change.Put = append(n.change.Put, n.st.sessionRecord(after))
		n.replaced = append(n.replaced, replacement{o, after})
	}
}
