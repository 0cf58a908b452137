package site

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// observeFor is how long the effect of an accepted command may take.
func (s *Site) observeFor(t event.CommandType) time.Duration {
	if d := s.cfg.Observe[t]; d > 0 {
		return d
	}
	switch t {
	case event.CommandReset:
		return 5 * time.Minute
	case event.CommandStart: // a driver who has just paid still has to find the cable
		return 5 * time.Minute
	case event.CommandSetAvailability, event.CommandReserve, event.CommandCancelReservation, event.CommandTrigger:
		return 30 * time.Second
	case event.CommandUpdateFirmware:
		return 30 * time.Minute
	case event.CommandGetLog, event.CommandSetConfiguration: // the one may need a reset
		return 10 * time.Minute
	case event.CommandSignCertificate, event.CommandSetLimit:
		return 2 * time.Minute
	}
	return time.Minute
}

// siteObserves tells whether the site sees the effect of t by itself, so that an
// answer that was lost does not matter.
func siteObserves(t event.CommandType) bool {
	switch t {
	case event.CommandStart, event.CommandStop, event.CommandReset, event.CommandSetAvailability,
		event.CommandReserve, event.CommandCancelReservation, event.CommandTrigger,
		event.CommandUpdateFirmware, event.CommandGetLog, event.CommandSignCertificate:
		return true
	}
	return false
}

// waitsFor says what is still to be seen of an accepted command.
func waitsFor(t event.CommandType) string {
	switch t {
	case event.CommandStart:
		return "the station agreed; waiting for the session to begin"
	case event.CommandStop:
		return "the station agreed; waiting for the session to end"
	case event.CommandReset:
		return "the station agreed; waiting for it to start again"
	case event.CommandSetAvailability, event.CommandReserve, event.CommandCancelReservation:
		return "the station agreed; waiting for its status to show it"
	case event.CommandTrigger:
		return "the station agreed; waiting for the message"
	case event.CommandSetLimit:
		return "the station agreed and cannot be asked; waiting for a measured current below the limit"
	case event.CommandSignCertificate:
		return "the station agreed; waiting for its request, or its return with the certificate"
	}
	return "the station agreed"
}

// notSeen says what was not seen in time.
func notSeen(c *command) string {
	if c.phase != phaseAccepted {
		return "the station never answered"
	}
	switch c.cmd.Type {
	case event.CommandStart:
		return "the station agreed, but no session began in time"
	case event.CommandStop:
		return "the station agreed, but the session did not end in time"
	case event.CommandReset:
		return "the station agreed, but no start of it was seen in time"
	case event.CommandSetAvailability, event.CommandReserve, event.CommandCancelReservation:
		return "the station agreed, but its status did not show it in time"
	case event.CommandTrigger:
		return "the station agreed, but the message did not come in time"
	case event.CommandUpdateFirmware:
		return "the station agreed, but did not say in time that the firmware is installed"
	case event.CommandGetLog:
		return "the station agreed, but did not say in time that the log is uploaded"
	case event.CommandSetLimit:
		return "the station agreed, but no measured current showed the limit in time"
	}
	return "the station agreed, but the effect was not seen in time"
}

// plainReason is what there is to say of an end for which nobody gave a reason.
func plainReason(s event.CommandState) string {
	switch s {
	case event.StateSucceeded:
		return "the device confirmed it"
	case event.StateRejected:
		return "the device refused"
	case event.StateUnsupported:
		return "the device cannot do it"
	case event.StateFailed:
		return "the device could not do it"
	}
	return "nobody can tell what became of it"
}

// isScheduled tells whether a device put an order off until its session ends.
func isScheduled(reason string) bool {
	return strings.HasPrefix(strings.ToLower(reason), "scheduled")
}

// factKind is a sort of thing that a station shows.
type factKind uint8

const (
	factNone factKind = iota
	factConnected
	factBooted
	factHeartbeat
	factStatus
	factStarted
	factStopped
	factMeter
	factFirmware
	factLog
	factSecurity
	factCertificate
	factPublish
	factReservation
	factTransaction
)

// fact is what a station shows, by which the effect of a command may be seen.
type fact struct {
	kind            factKind
	evse, connector int
	status          event.Status
	token           event.Token
	session         *session
	samples         []event.Sample
	word            string
	request         int
	profile         int // security profile of a new connection
}

// verdict is what f tells of c: succeeded, failed, or nothing. It looks at c and
// f only.
func verdict(c *command, f fact) (state event.CommandState, reason string) {
	if f.kind == factNone || c.phase == phaseWaiting || c.phase == phaseFinal || c.cmd.ID == "" {
		return "", ""
	}
	there := c.evse == 0 || c.evse == f.evse
	switch p := c.params.(type) {
	case *event.StartParams:
		if f.kind == factStarted && (f.request != 0 && f.request == c.request || f.request == 0 && there && sameToken(p.Token.Value, f.token.Value)) {
			return event.StateSucceeded, "the session has begun"
		}
	case *event.StopParams:
		if f.kind == factStopped && f.session != nil && f.session.id == c.session {
			return event.StateSucceeded, "the session has ended"
		}
	case *event.ResetParams:
		switch {
		case f.kind == factBooted:
			return event.StateSucceeded, "the station has started again"
		case c.evse != 0 && f.kind == factStatus && f.evse == c.evse && c.phase == phaseAccepted && showsAvailability(true, f.status):
			// OCPP 2.0.1 B11: only the EVSE, which tells its status anew
			return event.StateSucceeded, "the EVSE has told its status anew"
		}
	case *event.SetAvailabilityParams:
		if f.kind == factStatus && f.evse == c.evse && showsAvailability(p.Available, f.status) &&
			(p.Connector == 0 || f.connector == p.Connector || f.connector == 0) {
			return event.StateSucceeded, "its status shows it"
		}
	case *event.ReserveParams:
		if f.kind == factStatus && c.evse != 0 && f.evse == c.evse && f.status == event.StatusReserved {
			return event.StateSucceeded, "its status shows it"
		}
	case *event.CancelReservationParams:
		if f.kind == factStatus && c.evse != 0 && f.evse == c.evse && f.status != event.StatusReserved {
			return event.StateSucceeded, "its status shows it"
		}
		if f.kind == factReservation && f.request == p.Reservation {
			return event.StateSucceeded, "the station says that it is gone"
		}
	case *event.TriggerParams:
		if f.kind == triggered(p.Message) && (there || f.evse == 0) && !c.untold() {
			return event.StateSucceeded, "the message came"
		}
	case *event.SetLimitParams:
		if f.kind == factMeter && there && f.session != nil && c.phase == phaseAccepted && withinLimit(p, f.samples) {
			return event.StateSucceeded, "the measured current keeps to it"
		}
	case *event.UpdateFirmwareParams:
		if f.kind == factFirmware && ours(c, f) {
			return jobVerdict(f.word, "installed")
		}
	case *event.GetLogParams:
		if f.kind == factLog && ours(c, f) {
			return jobVerdict(f.word, "uploaded")
		}
	case *event.SignCertificateParams:
		switch {
		case p.Chain == "" && f.kind == factCertificate:
			return event.StateSucceeded, "the station sent its request"
		case p.Chain != "" && f.kind == factConnected && f.profile >= 3:
			if want := leafSerial(p.Chain); want == "" || f.word == "" || want == f.word {
				return event.StateSucceeded, "the station came back with a certificate"
			}
		case p.Chain != "" && f.kind == factSecurity && strings.HasPrefix(f.word, "InvalidCharg"):
			return event.StateFailed, "the station says that the certificate is not valid"
		}
	}
	return "", ""
}

// untold tells whether it is possible that no device has heard of c. One that is
// being told may show the effect before it is known that it was.
func (c *command) untold() bool {
	return c.phase == phaseWaiting || c.phase == phaseHanded && c.look
}

// ours tells whether progress is that of c: some protocols name no request.
func ours(c *command, f fact) bool {
	return !c.untold() && (f.request == 0 || f.request == c.request)
}

// jobVerdict reads the word for a job's progress.
func jobVerdict(word, done string) (event.CommandState, string) {
	switch {
	case word == done:
		return event.StateSucceeded, "the station says: " + word
	case strings.Contains(word, "fail"), strings.Contains(word, "invalid"), strings.Contains(word, "revoked"),
		strings.Contains(word, "not_supported"), strings.Contains(word, "denied"), strings.Contains(word, "bad_message"),
		strings.Contains(word, "cancel"): // 2.x: a newer one took its place
		return event.StateFailed, "the station says: " + word
	}
	return "", ""
}

// showsAvailability tells whether a status is what an availability looks like.
func showsAvailability(available bool, s event.Status) bool {
	switch s {
	case event.StatusUnknown, event.StatusFaulted, "":
		return false
	case event.StatusUnavailable:
		return !available
	}
	return available
}

// triggered is what the answer to a trigger looks like.
func triggered(message string) factKind {
	switch message {
	case "boot":
		return factBooted
	case "heartbeat":
		return factHeartbeat
	case "status":
		return factStatus
	case "meter":
		return factMeter
	case "firmware":
		return factFirmware
	case "log":
		return factLog
	case "transaction":
		return factTransaction
	case "publish_firmware":
		return factPublish
	case "sign_certificate", "sign_v2g_certificate", "sign_v2g20_certificate", "sign_combined_certificate":
		return factCertificate
	}
	return factNone
}

// customTrigger tells whether a trigger is the device's own: what it causes is too.
func customTrigger(message string) bool { return strings.HasPrefix(message, "custom:") }

// withinLimit tells whether the newest of samples that measured anything keeps
// to a limit, with room for a meter's error.
func withinLimit(p *event.SetLimitParams, samples []event.Sample) bool {
	for i := len(samples) - 1; i >= 0; i-- {
		v := &samples[i]
		switch {
		case p.LimitA != nil && v.CurrentA != nil:
			most := 0.0
			for _, a := range []*float64{v.CurrentA.L1, v.CurrentA.L2, v.CurrentA.L3} {
				if a != nil {
					most = max(most, *a)
				}
			}
			return most <= *p.LimitA*1.05+0.5
		case p.LimitW != nil && v.PowerW != nil:
			return *v.PowerW <= *p.LimitW*1.05+100
		case p.LimitA != nil && v.PowerW != nil:
			return *v.PowerW <= *p.LimitA*3*240+100
		}
	}
	return false
}

// hit is an effect that was seen.
type hit struct {
	c      *command
	state  event.CommandState
	reason string
	result json.RawMessage
	apply  func()
}

// effects are the commands on whose effect f shows. It changes nothing.
func (st *Station) effects(f fact) []hit {
	if len(st.commands) == 0 || f.kind == factNone {
		return nil
	}
	var hits []hit
	for _, c := range st.commands {
		state, reason := verdict(c, f)
		if state == "" {
			if state, reason = st.availabilityShown(c, f); state == "" {
				continue
			}
		}
		if _, ok := c.params.(*event.TriggerParams); ok && c.phase != phaseAccepted {
			c.early = true // it may be a coincidence until the station agrees
			continue
		}
		h := hit{c: c, state: state, reason: reason}
		switch {
		case f.session != nil && (f.kind == factStarted || f.kind == factStopped):
			h.result = mustJSON(map[string]string{"session": string(f.session.id)})
		case f.kind == factCertificate:
			h.result = mustJSON(map[string]string{"csr": f.word})
		}
		hits = append(hits, h)
	}
	return hits
}

// effectsOf is effects for several facts at a time.
func (st *Station) effectsOf(facts []fact) []hit {
	if len(st.commands) == 0 {
		return nil
	}
	var hits []hit
	for _, f := range facts {
		for _, h := range st.effects(f) {
			if !slices.ContainsFunc(hits, func(k hit) bool { return k.c == h.c }) {
				hits = append(hits, h)
			}
		}
	}
	return hits
}

func mustJSON(v map[string]string) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %v: %v", v, err)) // texts cannot fail
	}
	return b
}

// addEffects adds to a change what it means for commands.
func (st *Station) addEffects(change *Change, hits []hit, stamp Stamp) {
	for i := range hits {
		h := &hits[i]
		after := *h.c
		if h.result == nil {
			h.result = h.c.result
		}
		after.phase, after.final, after.reason, after.result = phaseFinal, h.state, h.reason, h.result
		// what the journal did not take before goes first
		change.Events = append(change.Events, h.c.unsaved.Events...)
		change.Put = append(change.Put, h.c.unsaved.Put...)
		change.Delete = append(change.Delete, h.c.unsaved.Delete...)
		d := st.commandEvent(&after)
		d.Time, d.Recorded = stamp.Time, stamp.Time
		change.Events = append(change.Events, d)
		h.apply = st.consequences(&after, change)
		change.Put = append(change.Put, after.record())
	}
}

// applyEffects remembers what addEffects made durable.
func (st *Station) applyEffects(hits []hit) {
	for i := range hits {
		h := &hits[i]
		c := h.c
		c.phase, c.final, c.reason, c.result = phaseFinal, h.state, h.reason, h.result
		c.deadline, c.retryAt, c.look, c.unsaved, c.journal = time.Time{}, time.Time{}, false, Change{}, true
		h.apply()
		st.release(c)
		st.remove(c)
		st.showCommand(c)
	}
}

// observe moves the commands on whose effect f shows, where f is no event.
func (st *Station) observe(f fact) error {
	hits := st.effects(f)
	if len(hits) == 0 {
		return nil
	}
	var c Change
	st.addEffects(&c, hits, st.site.clock.Stamp())
	if err := st.commit(c); err != nil {
		return err
	}
	st.applyEffects(hits)
	return nil
}

// lookAgain looks, after a start of the station, at what an order of the kind
// that takes effect then has come to.
func (st *Station) lookAgain() {
	for _, c := range st.commands {
		if c.cmd.Type == event.CommandSetConfiguration && c.phase == phaseAccepted && c.cmd.ID != "" {
			c.look, c.lookAt = true, time.Now().Add(st.site.cfg.LookAfter)
			c.deadline = c.lookAt.Add(st.site.observeFor(c.cmd.Type))
			st.wake(c.lookAt)
		}
	}
}

// alreadySeen tells whether the effect of a command was there before the device
// agreed to it.
func (st *Station) alreadySeen(c *command) (string, bool) {
	switch p := c.params.(type) {
	case *event.TriggerParams:
		if customTrigger(p.Message) {
			return "the station agreed; what it sends is its own", true
		}
		return "the message came", c.early
	case *event.SetAvailabilityParams:
		if c.scheduled {
			return "", false
		}
		return "its status shows it", st.showAvailability(c.evse, p.Connector, p.Available, fact{})
	case *event.ReserveParams: // OCPP 2.0.1 H01: no status tells of it
		return "the station agreed; a reservation of any place shows at none", c.evse == 0
	case *event.SignCertificateParams:
		return "the station took it and does not connect with it", p.Chain != "" && (p.Kind != "" && p.Kind != "station" || st.info.SecurityProfile < 3)
	case *event.CancelReservationParams:
		for i := range st.connectors {
			if k := &st.connectors[i]; c.evse != 0 && k.evse == c.evse && k.status == event.StatusReserved {
				return "", false
			}
		}
		return "no place shows a reservation", true
	}
	return "", false
}

// showAvailability tells whether every place of a connector (0: of the whole EVSE),
// or of the station, that has told its status shows an availability; f is news of
// one of them.
func (st *Station) showAvailability(evse, connector int, available bool, f fact) bool {
	shown := false
	for i := range st.connectors {
		k := &st.connectors[i]
		if evse != 0 && k.evse != evse || evse == 0 && k.number == 0 && k.evse != 0 || connector != 0 && k.number != 0 && k.number != connector {
			continue
		}
		status, told := k.status, k.told
		if f.kind == factStatus && k.evse == f.evse && k.number == f.connector {
			status, told = f.status, true
		}
		if !told || !showsAvailability(available, status) {
			return false
		}
		shown = true
	}
	return shown
}

// availabilityShown is verdict for an availability of the whole station, where
// only the connectors tell their status: each has to show it.
func (st *Station) availabilityShown(c *command, f fact) (event.CommandState, string) {
	p, ok := c.params.(*event.SetAvailabilityParams)
	if !ok || c.evse != 0 || f.kind != factStatus || c.phase != phaseAccepted || c.cmd.ID == "" {
		return "", ""
	}
	if k := st.connector(0, 0); k != nil && k.told || f.evse == 0 {
		return "", "" // it speaks for itself
	}
	if !st.showAvailability(0, 0, p.Available, f) {
		return "", ""
	}
	return event.StateSucceeded, "the status of each of its connectors shows it"
}

// held tells whether an accepted command may go on waiting: its effect cannot be
// seen before something else happens.
func (st *Station) held(c *command) bool {
	busy := false
	for _, s := range st.open {
		busy = busy || c.evse == 0 || s.evse == c.evse
	}
	switch p := c.params.(type) {
	case *event.SetAvailabilityParams:
		return c.scheduled && busy
	case *event.ResetParams: // OCPP 2.0.1 B12: once nothing is charging
		return c.scheduled && busy
	case *event.SetLimitParams:
		return !busy && st.site.now().Before(p.Until)
	}
	return false
}

// remoteStart is the command that a start obeys: the one whose number it names,
// whatever became of that, else one that is under way and names its token; nil:
// none.
func (st *Station) remoteStart(request, evse int, t *event.Token) *command {
	if request != 0 {
		if c := st.byRequest(event.CommandStart, request); c != nil {
			return c
		}
	}
	if t == nil {
		return nil
	}
	return st.startOrder(evse, *t)
}

// byRequest is the command with a number on this station; nil: none.
func (st *Station) byRequest(t event.CommandType, request int) *command {
	s := st.site
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if c.owner == st && c.cmd.Type == t && c.request == request {
			return c
		}
	}
	return nil
}

// startOrder is the command that a start of this token would obey; nil: none.
func (st *Station) startOrder(evse int, t event.Token) *command {
	for _, c := range st.commands {
		p, ok := c.params.(*event.StartParams)
		if ok && c.phase != phaseWaiting && c.phase != phaseFinal &&
			(c.evse == 0 || evse == 0 || c.evse == evse) && sameToken(p.Token.Value, t.Value) {
			return c
		}
	}
	return nil
}

// stopOrder is the command that the end of s obeys; nil: none.
func (st *Station) stopOrder(s *session) *command {
	for _, c := range st.commands {
		if c.cmd.Type == event.CommandStop && c.session == s.id && c.phase != phaseWaiting && c.phase != phaseFinal {
			return c
		}
	}
	return nil
}

// jobOf is the command whose job reports progress; the job goes on as long as it
// does.
func (st *Station) jobOf(t event.CommandType, request int) event.CommandID {
	for i := len(st.commands) - 1; i >= 0; i-- {
		c := st.commands[i]
		if c.cmd.Type != t || c.phase == phaseWaiting || c.phase == phaseFinal || request != 0 && request != c.request {
			continue
		}
		if c.phase == phaseAccepted {
			st.watch(c)
		}
		return c.cmd.ID
	}
	return ""
}
