package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// line is one message that a simulated charger said, and what came back.
type line struct {
	Kind      string          `json:"kind"`
	Time      time.Time       `json:"time"`
	Station   string          `json:"station"`
	Version   string          `json:"version"`
	Action    string          `json:"action"`
	Payload   json.RawMessage `json:"payload"`
	Answer    json.RawMessage `json:"answer"`
	Confirmed bool            `json:"confirmed"`
	Pending   bool            `json:"pending"`
	Attempts  int             `json:"attempts"`
	FirstSent time.Time       `json:"first_sent"`
}

// said is what the lines of a ledger mean.
type said struct {
	Connector     int       `json:"connectorId"`
	IDTag         string    `json:"idTag"`
	MeterStart    int64     `json:"meterStart"`
	MeterStop     int64     `json:"meterStop"`
	TransactionID int64     `json:"transactionId"`
	Timestamp     time.Time `json:"timestamp"`
	Reason        string    `json:"reason"`
	ErrorCode     string    `json:"errorCode"`
	Status        string    `json:"status"`

	// Of OCPP 2.
	EventType       string                               `json:"eventType"`
	TransactionInfo struct{ TransactionID string }       `json:"transactionInfo"`
	IDToken         struct{ IDToken string }             `json:"idToken"`
	MeterValue      []struct{ SampledValue []saidValue } `json:"meterValue"`
}

// saidValue is a reading of OCPP 2.
type saidValue struct {
	Value     json.Number // 1.6 writes it as text
	Context   string
	Measurand string
}

// register is the energy register that a message of OCPP 2 tells in a context.
func (s said) register(context string) (wh int64, told bool) {
	for _, m := range s.MeterValue {
		for _, v := range m.SampledValue {
			if v.Context == context && (v.Measurand == "" || v.Measurand == "Energy.Active.Import.Register") {
				f, err := v.Value.Float64()
				return int64(f), err == nil
			}
		}
	}
	return 0, false
}

// tag is the token that a message names.
func (s said) tag() string { return strings.ToUpper(s.IDTag + s.IDToken.IDToken) }

// ends tells whether a message ends a transaction.
func (l line) ends(s said) bool {
	return l.Action == "StopTransaction" || l.Action == "TransactionEvent" && s.EventType == "Ended"
}

// begins tells whether a message begins one.
func (l line) begins(s said) bool {
	return l.Action == "StartTransaction" || l.Action == "TransactionEvent" && s.EventType == "Started"
}

func (l line) said(t *testing.T) said {
	t.Helper()
	var s said
	if err := json.Unmarshal(l.Payload, &s); err != nil {
		t.Fatalf("ledger: %s of %s: %v", l.Action, l.Station, err)
	}
	return s
}

// readLedger reads what the chargers said.
func readLedger(t *testing.T, path string) []line {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	var all []line
	s := bufio.NewScanner(f)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("ledger line %d: %v", len(all)+1, err)
		}
		if l.Kind == "" || l.Kind == "message" {
			all = append(all, l)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// counts are what a comparison looked at.
type counts struct {
	starts, stops, authorizations, faults int
	sessions, events                      int
	retried                               int
	unconfirmed                           int
}

func (c counts) String() string {
	return fmt.Sprintf("chargers were confirmed %d starts, %d stops, %d authorizations, %d faults (%d messages needed more than one attempt, %d never confirmed); manager holds %d sessions, %d events",
		c.starts, c.stops, c.authorizations, c.faults, c.retried, c.unconfirmed, c.sessions, c.events)
}

// settled waits until the manager has caught up with everything that the
// chargers were confirmed: the number of ended sessions stands still at what the
// ledger says.
func (h *house) settled(ledger []line) {
	h.t.Helper()
	stops := 0
	for _, l := range ledger {
		if l.Confirmed && l.ends(l.said(h.t)) {
			stops++
		}
	}
	eventually(h.t, "the manager has caught up", func() error {
		all, err := list[session](h.api, "/sessions", map[string][]string{"status": {"ended"}})
		if err != nil {
			return err
		}
		if len(all) < stops {
			return fmt.Errorf("%d of %d stops have arrived", len(all), stops)
		}
		return h.drained()
	})
}

// drained asks the gateway whether it has delivered everything.
func (h *house) drained() error {
	page, err := fetch(fmt.Sprintf("http://127.0.0.1:%d/metrics", h.console))
	if err != nil {
		return err
	}
	lanes := 0
	for l := range strings.Lines(page) {
		lane, ok := strings.CutPrefix(l, "chargeyard_edge_backlog{lane=")
		if !ok {
			continue
		}
		lanes++
		if !strings.HasSuffix(strings.TrimSpace(lane), "} 0") {
			return fmt.Errorf("the gateway still has to deliver: %s", l)
		}
	}
	if lanes != 2 {
		return fmt.Errorf("the gateway tells the backlog of %d lanes, want 2", lanes)
	}
	return nil
}

// compare holds what the chargers said against what the manager's database
// holds: none lost, none twice, order kept.
func (h *house) compare(ledger []line) counts {
	t := h.t
	t.Helper()
	var c counts
	stations := map[string]string{} // manager's id of each identity
	for _, s := range must[station](t, h.api, "/stations", nil) {
		if before, twice := stations[s.Identity]; twice {
			t.Errorf("station %s is there twice: %s and %s", s.Identity, before, s.ID)
		}
		stations[s.Identity] = s.ID
	}
	sessions := must[session](t, h.api, "/sessions", nil)
	events := h.events("")
	c.sessions, c.events = len(sessions), len(events)
	starts, ends := h.claims(events)

	type start struct {
		station, token string
		connector      int
		meter          int64
	}
	key := func(station string, connector int, token string, meter int64) start {
		return start{station, strings.ToUpper(token), connector, meter}
	}
	held := map[start][]session{}
	byTransaction := map[string][]session{}
	for _, s := range sessions {
		if s.Token != nil && s.MeterStartWh != nil {
			k := key(s.Identity, s.EVSE, s.Token.Value, *s.MeterStartWh)
			held[k] = append(held[k], s)
		}
		k := s.Identity + "/" + s.Transaction
		byTransaction[k] = append(byTransaction[k], s)
	}

	accounted := map[string]bool{}
	for _, l := range ledger {
		if l.Attempts > 1 {
			c.retried++
		}
		if !l.Confirmed {
			c.unconfirmed++
			continue
		}
		m := l.said(t)
		switch l.Action {
		case "StartTransaction":
			c.starts++
			var found []session
			for _, s := range held[key(l.Station, m.Connector, m.IDTag, m.MeterStart)] {
				if near(s.Started, starts[s.ID], m.Timestamp) {
					found = append(found, s)
				}
			}
			if len(found) != 1 {
				t.Errorf("start of %s on %s/%d at %d Wh, %s: %d sessions, want 1", m.IDTag, l.Station, m.Connector, m.MeterStart, m.Timestamp, len(found))
				continue
			}
			accounted[found[0].ID] = true
			var answer said
			if err := json.Unmarshal(l.Answer, &answer); err != nil || strconv.FormatInt(answer.TransactionID, 10) != found[0].Transaction {
				t.Errorf("start on %s was answered with transaction %d, the session has %s", l.Station, answer.TransactionID, found[0].Transaction)
			}
		case "StopTransaction":
			c.stops++
			found := byTransaction[l.Station+"/"+strconv.FormatInt(m.TransactionID, 10)]
			if m.TransactionID == -1 {
				continue // the station never learned the number; its start is accounted for above
			}
			if len(found) != 1 {
				t.Errorf("stop of transaction %d on %s: %d sessions, want 1", m.TransactionID, l.Station, len(found))
				continue
			}
			s := found[0]
			switch {
			case s.Status != "ended" || s.MeterStopWh == nil || *s.MeterStopWh != m.MeterStop:
				t.Errorf("transaction %d on %s stopped at %d Wh; the session is %s at %s", m.TransactionID, l.Station, m.MeterStop, s.Status, wh(s.MeterStopWh))
			case s.MeterStartWh == nil || s.EnergyWh == nil || *s.EnergyWh != m.MeterStop-*s.MeterStartWh:
				t.Errorf("transaction %d on %s: energy is %s, registers say %s to %d", m.TransactionID, l.Station, wh(s.EnergyWh), wh(s.MeterStartWh), m.MeterStop)
			case accounted[s.ID] && slices.Contains(s.Flags, "recovered"):
				t.Errorf("transaction %d on %s: its start was confirmed, and the gateway forgot that it ran", m.TransactionID, l.Station)
			case !near(s.Ended, ends[s.ID], m.Timestamp):
				t.Errorf("transaction %d on %s ended at %s, the session says %s", m.TransactionID, l.Station, m.Timestamp, s.Ended)
			}
			accounted[s.ID] = true
		case "TransactionEvent":
			if m.EventType == "Started" {
				c.starts++
			}
			if m.EventType == "Ended" {
				c.stops++
			}
			found := byTransaction[l.Station+"/"+m.TransactionInfo.TransactionID]
			if len(found) != 1 {
				t.Errorf("%s of transaction %s on %s: %d sessions, want 1", m.EventType, m.TransactionInfo.TransactionID, l.Station, len(found))
				continue
			}
			compareEvent(t, l, m, found[0], starts[found[0].ID], ends[found[0].ID])
			accounted[found[0].ID] = true
		}
	}
	for _, s := range sessions {
		if !accounted[s.ID] && !h.unconfirmedStart(ledger, s) {
			t.Errorf("session %s on %s/%d (transaction %s) belongs to no start or stop that a charger made", s.ID, s.Identity, s.EVSE, s.Transaction)
		}
	}
	h.compareCounted(ledger, events, &c)
	h.compareOrder(events)
	t.Log(c)
	return c
}

// compareEvent holds a confirmed event of a transaction of OCPP 2 against its
// session.
func compareEvent(t *testing.T, l line, m said, s session, started, ended string) {
	t.Helper()
	what := fmt.Sprintf("%s of transaction %s on %s", m.EventType, s.Transaction, l.Station)
	if m.tag() != "" && m.EventType != "Ended" && (s.Token == nil || !strings.EqualFold(s.Token.Value, m.tag())) {
		t.Errorf("%s by %s: the session's token is %+v", what, m.tag(), s.Token)
	}
	switch m.EventType {
	case "Started":
		if wh0, told := m.register("Transaction.Begin"); told && (s.MeterStartWh == nil || *s.MeterStartWh != wh0) {
			t.Errorf("%s at %d Wh: the session began at %s", what, wh0, wh(s.MeterStartWh))
		}
		if slices.Contains(s.Flags, "recovered") {
			t.Errorf("%s: it was confirmed, and the gateway forgot that it ran", what)
		}
		if !near(s.Started, started, m.Timestamp) {
			t.Errorf("%s at %s: the session says %s", what, m.Timestamp, s.Started)
		}
	case "Ended":
		if s.Status != "ended" {
			t.Errorf("%s: the session is %s", what, s.Status)
		}
		wh1, told := m.register("Transaction.End")
		if told && (s.MeterStopWh == nil || *s.MeterStopWh != wh1 || s.MeterStartWh == nil || s.EnergyWh == nil || *s.EnergyWh != wh1-*s.MeterStartWh) {
			t.Errorf("%s at %d Wh: the session says %s to %s, %s Wh", what, wh1, wh(s.MeterStartWh), wh(s.MeterStopWh), wh(s.EnergyWh))
		}
		if !near(s.Ended, ended, m.Timestamp) {
			t.Errorf("%s at %s: the session says %s", what, m.Timestamp, s.Ended)
		}
	}
}

// near tells whether the time that is held, or else the charger's own claim that
// is kept beside it, is what the charger said. A gateway that has no time yet to
// hold a claim against uses its own, which the manager mends.
func near(held time.Time, claim string, said time.Time) bool {
	if held.Sub(said).Abs() < time.Second {
		return true
	}
	t, err := time.Parse(time.RFC3339Nano, claim)
	return err == nil && t.Sub(said).Abs() < time.Second
}

// claims are the times that chargers claimed for the starts and ends of sessions,
// where these were not taken.
func (h *house) claims(events []entry) (starts, ends map[string]string) {
	h.t.Helper()
	starts, ends = map[string]string{}, map[string]string{}
	for _, e := range events {
		into := starts
		switch e.Type {
		case "chargeyard.session.ended":
			into = ends
		case "chargeyard.session.started":
		default:
			continue
		}
		var d struct {
			Session    string `json:"session"`
			DeviceTime string `json:"device_time"`
		}
		if err := json.Unmarshal(e.Data, &d); err != nil {
			h.t.Errorf("event %s: %v", e.ID, err)
		}
		into[d.Session] = d.DeviceTime
	}
	return starts, ends
}

// unconfirmedStart tells whether a charger made the start of s without ever
// hearing the answer: the session is right, and there is only no confirmation.
func (h *house) unconfirmedStart(ledger []line, s session) bool {
	return slices.ContainsFunc(ledger, func(l line) bool {
		m := l.said(h.t)
		if !l.begins(m) || l.Confirmed || l.Station != s.Identity {
			return false
		}
		if l.Action == "TransactionEvent" {
			return m.TransactionInfo.TransactionID == s.Transaction
		}
		return m.Connector == s.EVSE && s.MeterStartWh != nil && *s.MeterStartWh == m.MeterStart
	})
}

// compareCounted compares what has no identity of its own, by number: every
// confirmed authorization and fault has its event. There may be more events than
// confirmations only by attempts that were kept and never answered.
func (h *house) compareCounted(ledger []line, events []entry, c *counts) {
	t := h.t
	t.Helper()
	type what struct{ station, kind, detail string }
	confirmed, attempts, kept := map[what]int{}, map[what]int{}, map[what]int{}
	newer := map[string]bool{} // stations of OCPP 2, which tell faults by a device model
	for _, l := range ledger {
		newer[l.Station] = newer[l.Station] || l.Version != "" && l.Version != "ocpp1.6"
		m := l.said(t)
		var w what
		switch {
		case l.Action == "Authorize":
			w = what{l.Station, "authorization", m.tag()}
		case l.Action == "StatusNotification" && m.ErrorCode != "" && m.ErrorCode != "NoError":
			w = what{l.Station, "fault", strconv.Itoa(m.Connector)}
		default:
			continue
		}
		attempts[w] += max(1, l.Attempts)
		if l.Confirmed {
			confirmed[w]++
			if w.kind == "fault" {
				c.faults++
			} else {
				c.authorizations++
			}
		}
	}
	for _, e := range events {
		var d struct {
			Token     token  `json:"token"`
			Context   string `json:"context"`
			ErrorCode string `json:"error_code"`
			Count     int    `json:"count"`
		}
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Errorf("event %s: %v", e.ID, err)
			continue
		}
		parts := strings.Split(e.Subject, "/")
		if len(parts) < 2 {
			continue
		}
		switch {
		case e.Type == "chargeyard.token.authorized" && d.Context == "authorize":
			kept[what{parts[1], "authorization", strings.ToUpper(d.Token.Value)}] += max(1, d.Count)
		case e.Type == "chargeyard.station.status" && d.ErrorCode != "" && !newer[parts[1]]:
			evse := "0"
			if len(parts) > 3 {
				evse = parts[3]
			}
			kept[what{parts[1], "fault", evse}] += max(1, d.Count)
		}
	}
	for w, n := range confirmed {
		if kept[w] < n {
			t.Errorf("%s %s on %s: %d confirmed, %d held", w.kind, w.detail, w.station, n, kept[w])
		}
	}
	for w, n := range kept {
		if n > attempts[w] {
			t.Errorf("%s %s on %s: %d held, %d ever said", w.kind, w.detail, w.station, n, attempts[w])
		}
	}
}

// events reads the manager's log in its order, of one type if one is named.
func (h *house) events(typ string) []entry {
	h.t.Helper()
	q := map[string][]string{}
	if typ != "" {
		q["type"] = []string{typ}
	}
	all := must[entry](h.t, h.api, "/events", q)
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.Position, b.Position) })
	return all
}

// compareOrder checks that every stream was applied in the order of its
// numbers, without a hole, and each event once.
func (h *house) compareOrder(events []entry) {
	h.t.Helper()
	last := map[string]uint64{}
	for _, e := range events {
		stream, _, _ := strings.Cut(e.ID, "/")
		n, err := strconv.ParseUint(e.Sequence, 16, 64)
		if err != nil {
			h.t.Errorf("event %s: %v", e.ID, err)
			continue
		}
		if n != last[stream]+1 {
			h.t.Errorf("event %s follows number %d of its stream", e.ID, last[stream])
		}
		last[stream] = n
	}
}

func wh(v *int64) string {
	if v == nil {
		return "unknown"
	}
	return strconv.FormatInt(*v, 10) + " Wh"
}
