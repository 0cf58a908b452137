package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
)

const (
	// maxCommands bounds the commands of one station that are under way.
	maxCommands = 64
	// answerWithin is the longest that a device adapter may take to report an
	// answer; it has shorter times of its own.
	answerWithin = 10 * time.Minute
	// lostWithin is how long a station may take to come back after a connection
	// was lost in the middle of a command.
	lostWithin = 10 * time.Minute
	// retellAfter keeps a manager that asks every few seconds from filling the
	// outbox with the same answer.
	retellAfter = time.Minute
)

// command is one order of the manager, or of the site itself (then it has no ID
// and is not journaled). It belongs to its owner's goroutine.
type command struct {
	owner  *Station
	cmd    event.Command // without Params once it is final
	params any
	phase  phase
	final  event.CommandState
	reason string
	result json.RawMessage

	request     int
	evse        int             // of the session it is about, else cmd.EVSE
	session     event.SessionID // that it is about
	transaction string
	scheduled   bool                  // the device will do it after the running session
	early       bool                  // the effect was seen before the device agreed
	applied     bool                  // its consequences for the site are kept
	instead     *event.SetLimitParams // that holds in place of the limit that it orders

	conn     Connection // over which it was told
	look     bool       // the device is to be looked at
	lookAt   time.Time  // monotonic; zero: as soon as it is connected
	deadline time.Time  // monotonic; zero: none
	retryAt  time.Time  // monotonic; zero: nothing to try again
	unsaved  Change     // what the journal did not take
	journal  bool       // the journal knows it
	retold   time.Time  // monotonic: last time that a repeat was answered

	done     func(Outcome) // of an order of the site itself
	standing bool
	defaults bool

	// Guarded by Site.mu: what Live shows.
	shown       event.CommandState
	shownReason string
}

// Execute takes a command of the manager: it is journaled, and carried out at
// most once and never past its expiry. A repeat is answered with what is known
// of it. ErrBusy says that it was not taken: send it again.
func (s *Site) Execute(_ context.Context, cmd event.Command) error {
	if cmd.ID == "" {
		return errors.New("command: expected an id, got none")
	}
	owner := s.self
	if cmd.Station != "" && !cmd.Type.ForGateway() && s.known(cmd.Station) {
		owner = s.Station(cmd.Station)
	}
	s.mu.Lock()
	c, repeat := s.commands[cmd.ID]
	if !repeat {
		c = &command{owner: owner, cmd: cmd, evse: cmd.EVSE, shown: event.StateSent}
		s.commands[cmd.ID] = c
	}
	s.mu.Unlock()
	if repeat {
		return c.owner.TryPost(func() { c.owner.repeat(c) })
	}
	if err := owner.TryPost(func() { owner.submit(c) }); err != nil {
		s.mu.Lock()
		delete(s.commands, cmd.ID)
		s.mu.Unlock()
		return fmt.Errorf("command %s: %w", cmd.ID, err)
	}
	return nil
}

// Cancel ends a command that no device has been told of. One that never came
// will not be carried out when it does. A command that is under way goes on; its
// state is told again.
func (s *Site) Cancel(_ context.Context, id event.CommandID) error {
	if id == "" {
		return errors.New("cancel: expected a command's id, got none")
	}
	s.mu.Lock()
	c := s.commands[id]
	fresh := c == nil
	if fresh {
		c = &command{owner: s.self, cmd: event.Command{ID: id}, shown: event.StateSent}
		s.commands[id] = c
	}
	s.mu.Unlock()
	err := c.owner.TryPost(func() {
		if fresh {
			c.cmd.Expires = s.now().UTC()
			c.owner.commands = append(c.owner.commands, c)
		}
		c.owner.cancel(c)
	})
	if err != nil {
		if fresh {
			s.mu.Lock()
			delete(s.commands, id)
			s.mu.Unlock()
		}
		return fmt.Errorf("cancel %s: %w", id, err)
	}
	return nil
}

func (st *Station) cancel(c *command) {
	if m, ok := advance(c.phase, inCancel, ""); ok {
		st.moveOn(c, m, "cancelled before a device was told", nil)
		return
	}
	st.repeat(c)
}

// submit takes a command that came for the first time.
func (st *Station) submit(c *command) {
	st.commands = append(st.commands, c)
	refuse := func(state event.CommandState, reason string) {
		if m, ok := advance(c.phase, inRefused, state); ok {
			st.moveOn(c, m, reason, nil)
		}
	}
	gateway := c.cmd.Type.ForGateway()
	switch {
	case !slices.Contains(event.CommandTypes, c.cmd.Type):
		refuse(event.StateUnsupported, fmt.Sprintf("this gateway knows no command %q", c.cmd.Type))
		return
	case c.cmd.Expires.IsZero():
		refuse(event.StateRejected, "expires: expected a time, got none")
		return
	case !gateway && c.cmd.Station == "":
		refuse(event.StateRejected, "station: expected an identity, got none")
		return
	case !gateway && st.id != c.cmd.Station:
		refuse(event.StateRejected, fmt.Sprintf("this gateway knows no station %q", c.cmd.Station))
		return
	case gateway && st.device == nil:
		refuse(event.StateUnsupported, fmt.Sprintf("this gateway does not carry out %s", c.cmd.Type))
		return
	case len(st.commands) > maxCommands:
		refuse(event.StateRejected, fmt.Sprintf("the station has %d commands under way already", maxCommands))
		return
	}
	params, err := decodeParams(c.cmd.Type, c.cmd.Params)
	if err != nil {
		refuse(event.StateRejected, err.Error())
		return
	}
	c.params = params
	if st.device == nil {
		st.limitWait(c)
	}
	st.pump()
	if c.phase == phaseWaiting {
		reason := "waits for its turn"
		if st.device == nil {
			reason = "the station is not connected"
		}
		c.reason = reason
		st.keep(c, Change{Events: []event.Draft{st.commandEvent(c)}, Put: []Record{c.record()}})
	}
	st.wake(time.Now()) // for its deadlines
}

// limitWait gives a command that makes no sense much later a deadline: the
// station is not connected.
func (st *Station) limitWait(c *command) {
	if impatient(c.cmd.Type) {
		c.deadline = time.Now().Add(st.site.cfg.OfflineWait)
		st.wake(c.deadline)
	}
}

// impatient tells whether a command is for a driver who stands there now.
func impatient(t event.CommandType) bool {
	return t == event.CommandStart || t == event.CommandStop || t == event.CommandUnlock
}

// repeat tells again what is known of a command.
func (st *Station) repeat(c *command) {
	if !c.retold.IsZero() && time.Since(c.retold) < retellAfter {
		return
	}
	change := Change{Events: []event.Draft{st.commandEvent(c)}}
	if !c.journal {
		change.Put = append(change.Put, c.record())
	}
	if err := st.commit(change); err != nil {
		st.logger().Warn("state of a command not told again", "command", string(c.cmd.ID), "err", err)
		return
	}
	c.journal, c.retold = true, time.Now()
}

// pump tells the device of the next order. One is under way at a time, so that
// its expiry is judged at the moment it goes.
func (st *Station) pump() {
	now := time.Now()
	for _, c := range slices.Clone(st.commands) {
		if st.current != nil {
			break
		}
		switch {
		case c.phase == phaseWaiting && !now.Before(c.retryAt):
			st.try(c)
		case c.phase != phaseFinal && c.look && st.device != nil && !now.Before(c.lookAt):
			st.lookFor(c)
		}
	}
	if st.current == nil && st.device != nil {
		st.handChain()
	}
	if st.current == nil && st.device != nil && st.Registration() == RegistrationAccepted {
		st.stand(now)
	}
}

// try tells the device of c, if it may.
func (st *Station) try(c *command) {
	now, judged := st.site.clock.Judge()
	if judged && !now.Before(c.cmd.Expires) {
		if m, ok := advance(c.phase, inExpired, ""); ok {
			st.moveOn(c, m, "nobody could be told before it expired", nil)
		}
		return
	}
	if st.device == nil || !judged && !st.harmless(c) {
		return
	}
	if reason := st.barred(c.cmd.Type); reason != "" {
		if m, ok := advance(c.phase, inRefused, event.StateRejected); ok {
			st.moveOn(c, m, reason, nil)
		}
		return
	}
	if reason := st.aim(c); reason != "" {
		if m, ok := advance(c.phase, inRefused, event.StateFailed); ok {
			st.moveOn(c, m, reason, nil)
		}
		return
	}
	st.request++
	c.phase, c.request, c.reason = phaseHanded, st.request, ""
	if err := st.commit(Change{Put: []Record{c.record(), st.counterRecord()}}); err != nil {
		st.logger().Warn("command not journaled, trying again", "command", string(c.cmd.ID), "err", err)
		c.phase, c.request = phaseWaiting, 0
		c.retryAt = time.Now().Add(retryAfter)
		st.wake(c.retryAt)
		return
	}
	c.journal = true
	seam.Hit("edge.command.after-journal")
	st.handOver(c, false)
}

// handOver gives c to the device: to carry it out, or to look whether it was.
func (st *Station) handOver(c *command, look bool) {
	st.current, c.conn = c, st.conn
	c.deadline = time.Now().Add(answerWithin)
	st.wake(c.deadline)
	o := Order{
		Command: c.cmd, Params: c.params, Transaction: c.transaction, Request: c.request,
		Standing: c.standing, Default: c.defaults,
	}
	o.EVSE = c.evse
	conn := st.conn
	if look {
		st.device.Look(o, func(out Outcome) { st.looked(c, conn, out) })
		return
	}
	st.device.Execute(o, func(out Outcome) { st.outcome(c, conn, out) })
}

// harmless tells whether c may run while nobody knows the time: a stop, or a
// limit that is lower than what holds now.
func (st *Station) harmless(c *command) bool {
	switch p := c.params.(type) {
	case *event.StopParams:
		return true
	case *event.SetLimitParams:
		return st.lower(c.evse, p)
	}
	return false
}

// aim finds the place and the session that c is about. It returns why it cannot
// be carried out.
func (st *Station) aim(c *command) string {
	var p *event.StopParams
	switch v := c.params.(type) {
	case *event.StopParams:
		p = v
	case *event.SetLimitParams:
		if c.cmd.ID != "" && !st.site.now().Before(v.Until) {
			return "until is over already"
		}
		c.transaction = st.transactionAt(c.evse)
		return ""
	case *event.ClearLimitParams:
		c.transaction = st.transactionAt(c.evse)
		return ""
	case *event.CancelReservationParams:
		for i := range st.reservations {
			if r := &st.reservations[i]; r.ID == v.Reservation && c.evse == 0 {
				c.evse = r.EVSE
			}
		}
		return ""
	default:
		return ""
	}
	var found *session
	for _, s := range st.open {
		switch {
		case p.Session != "":
			if s.id == p.Session {
				found = s
			}
		case c.cmd.EVSE == 0 || s.evse == c.cmd.EVSE:
			if found != nil {
				return "more than one session runs there: name one"
			}
			found = s
		}
	}
	if found == nil {
		return "no such session is running"
	}
	c.session, c.transaction, c.evse = found.id, found.wireID(), found.evse
	return ""
}

// transactionAt is the transaction that runs at an EVSE, empty where none or more
// than one does.
func (st *Station) transactionAt(evse int) string {
	found := ""
	for _, s := range st.open {
		if evse == 0 || s.evse != evse {
			continue
		}
		if found != "" {
			return ""
		}
		found = s.wireID()
	}
	return found
}

// outcome takes a report of the device.
func (st *Station) outcome(c *command, conn Connection, o Outcome) {
	if c.conn != conn || c.phase == phaseFinal || c.look {
		return // an old connection, or it has been settled otherwise
	}
	var in input
	switch o.State {
	case event.StateDelivered:
		if c.cmd.ID != "" {
			seam.Hit("edge.command.after-effect")
		}
		in = inDelivered
	case event.StateAccepted:
		in = inAccepted
		if c.cmd.ID == "" {
			in = inSucceeded // of the site itself: nobody waits for more
		}
	case event.StateSucceeded:
		in = inSucceeded
	case event.StateIndeterminate:
		in = inLost
	default:
		in = inRefused
	}
	m, ok := advance(c.phase, in, o.State)
	if !ok {
		return
	}
	if len(o.Result) > 0 && !json.Valid(o.Result) {
		o.Result = mustJSON(map[string]string{"text": string(o.Result)})
	}
	if m.phase == phaseAccepted {
		c.scheduled = c.scheduled || isScheduled(o.Reason)
		if reason, seen := st.alreadySeen(c); seen {
			m, _ = advance(phaseAccepted, inEffect, "")
			o.Reason = reason
		} else if o.Reason == "" {
			o.Reason = waitsFor(c.cmd.Type)
		}
	}
	if m.phase == phaseFinal {
		c.instead = o.Instead
	}
	st.moveOn(c, m, o.Reason, o.Result)
}

// looked takes what the device shows of the effect of c.
func (st *Station) looked(c *command, conn Connection, o Outcome) {
	if c.conn != conn || c.phase == phaseFinal {
		return
	}
	c.look = false
	st.release(c)
	in := inEffect
	switch o.State {
	case event.StateSucceeded:
	case event.StateFailed:
		in, c.instead = inNoEffect, o.Instead
	default:
		if siteObserves(c.cmd.Type) {
			st.watch(c) // it may still be seen
			return
		}
		in = inTimeout
	}
	if m, ok := advance(c.phase, in, ""); ok {
		if o.Reason == "" {
			o.Reason = "looked at after an interruption"
		}
		st.moveOn(c, m, o.Reason, o.Result)
	}
}

// moveOn makes a step of c's life: known at once, durable as soon as the journal
// takes it.
func (st *Station) moveOn(c *command, m move, reason string, result json.RawMessage) {
	before := c.phase
	c.phase, c.reason = m.phase, reason
	if m.look {
		c.look, c.lookAt = true, time.Time{}
		if siteObserves(c.cmd.Type) {
			c.lookAt = time.Now().Add(st.site.cfg.LookAfter) // it may tell by itself
			st.wake(c.lookAt)
		}
		c.deadline = time.Now().Add(lostWithin)
		st.wake(c.deadline)
	}
	if m.answered {
		st.release(c)
	}
	if m.phase == phaseAccepted {
		st.watch(c)
	}
	if result != nil {
		c.result = result
	}
	if m.phase == phaseFinal {
		c.final = m.final
		if c.reason == "" {
			c.reason = plainReason(m.final)
		}
		c.deadline, c.look = time.Time{}, false
	}
	if c.cmd.ID == "" {
		if m.phase == phaseFinal || m.look {
			st.remove(c)
			c.done(Outcome{State: c.final, Reason: reason, Instead: c.instead})
		}
		return
	}
	if m.phase == before {
		return
	}
	change := Change{Events: []event.Draft{st.commandEvent(c)}}
	apply := st.consequences(c, &change)
	change.Put = append(change.Put, c.record())
	apply()
	st.keep(c, change)
	st.wake(time.Now()) // the next one
}

// keep makes what became of c durable, now or later, and forgets c once it is
// final.
func (st *Station) keep(c *command, change Change) {
	c.unsaved.Events = append(c.unsaved.Events, change.Events...)
	c.unsaved.Put = append(c.unsaved.Put, change.Put...)
	c.unsaved.Delete = append(c.unsaved.Delete, change.Delete...)
	st.showCommand(c)
	if err := st.commit(c.unsaved); err != nil {
		st.logger().Warn("state of a command not kept, trying again", "command", string(c.cmd.ID), "err", err)
		c.retryAt = time.Now().Add(retryAfter)
		st.wake(c.retryAt)
		return
	}
	c.journal, c.unsaved, c.retryAt = true, Change{}, time.Time{}
	if c.phase == phaseFinal {
		st.remove(c)
	}
}

// release lets another order go.
func (st *Station) release(c *command) {
	if st.current == c {
		st.current = nil
		st.wake(time.Now())
	}
}

// remove forgets what only a command under way needs.
func (st *Station) remove(c *command) {
	if i := slices.Index(st.commands, c); i >= 0 {
		st.commands = slices.Delete(st.commands, i, i+1)
	}
	c.params, c.cmd.Params = nil, nil
	if len(c.result) > maxResult {
		c.result = nil
		c.reason = join(c.reason, "its result was too large to be kept and has been told once")
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// watch gives an accepted command the time in which its effect must be seen.
func (st *Station) watch(c *command) {
	c.deadline = time.Now().Add(st.site.observeFor(c.cmd.Type))
	st.wake(c.deadline)
}

// watchCommands looks after every command that is under way.
func (st *Station) watchCommands(now time.Time) {
	for _, c := range slices.Clone(st.commands) {
		if !c.retryAt.IsZero() && !now.Before(c.retryAt) && len(c.unsaved.Events)+len(c.unsaved.Put) > 0 {
			st.keep(c, Change{})
		}
		if c.phase == phaseFinal || c.deadline.IsZero() || now.Before(c.deadline) {
			continue
		}
		reason := "the station is not connected"
		switch {
		case c.phase == phaseWaiting && st.device != nil:
			c.deadline = time.Time{}
			continue
		case c.phase == phaseWaiting:
		case c.phase == phaseAccepted && st.held(c):
			st.watch(c)
			continue
		case c.look && st.device == nil:
			reason = join(c.reason, "the station did not come back in time to be looked at")
		case c.reason != "" && c.reason != waitsFor(c.cmd.Type):
			reason = join(notSeen(c), "it said: "+c.reason)
		default:
			reason = notSeen(c)
		}
		if m, ok := advance(c.phase, inTimeout, ""); ok {
			st.moveOn(c, m, reason, nil)
		}
	}
	st.pump()
}

// deviceGone settles what was under way over a connection that has ended.
func (st *Station) deviceGone() {
	if c := st.current; c != nil {
		if c.look { // it was being looked at: again next time
			st.release(c)
			c.deadline = time.Now().Add(lostWithin)
			st.wake(c.deadline)
		} else if m, ok := advance(c.phase, inLost, ""); ok {
			st.moveOn(c, m, "the connection was lost before the answer", nil)
		}
	}
	for _, c := range st.commands {
		if c.phase == phaseWaiting {
			st.limitWait(c)
		}
	}
}

// returned takes up the commands of a station that is connected again.
func (st *Station) returned() {
	now := time.Now()
	for _, c := range st.commands {
		switch {
		case c.phase == phaseWaiting:
			c.deadline = time.Time{}
		case c.look:
			c.lookAt = now
			if siteObserves(c.cmd.Type) {
				c.lookAt = now.Add(st.site.cfg.LookAfter) // it may tell by itself
			}
			c.deadline = c.lookAt.Add(st.site.observeFor(c.cmd.Type))
		}
	}
	st.restand()
	if len(st.commands) > 0 {
		st.wake(now)
	}
}

// lookFor asks the device what became of c.
func (st *Station) lookFor(c *command) {
	c.look = false
	st.handOver(c, true)
	if c.phase != phaseFinal && st.current == c {
		c.look = true // until it has answered
	}
}

// takeUp puts a command that an earlier start of the gateway left where it goes
// on. Only in New.
func (st *Station) takeUp(c *command) {
	st.commands = append(st.commands, c)
	if c.phase == phaseWaiting {
		if impatient(c.cmd.Type) {
			c.deadline = time.Now().Add(st.site.cfg.OfflineWait)
		}
		return
	}
	c.look = true
	c.deadline = time.Now().Add(lostWithin)
}

// restarted tells of the orders to start the gateway again that an earlier start
// obeyed.
func (st *Station) restarted() {
	for _, c := range slices.Clone(st.commands) {
		if m, ok := advance(c.phase, inEffect, ""); ok && c.look && c.cmd.Type == event.CommandRestart {
			st.moveOn(c, m, "the gateway has started again", nil)
		}
	}
}

func (st *Station) commandEvent(c *command) event.Draft {
	stamp := st.site.clock.Stamp()
	state := c.phase.state()
	if c.phase == phaseFinal {
		state = c.final
	}
	at := event.Address{Station: c.cmd.Station, EVSE: c.cmd.EVSE}
	return draft(stamp, at, stamp.Time, &event.CommandUpdated{Command: c.cmd.ID, State: state, Reason: c.reason, Result: c.result})
}

// showCommand makes the state of c visible to Live.
func (st *Station) showCommand(c *command) {
	state := c.phase.state()
	if c.phase == phaseFinal {
		state = c.final
	}
	st.site.mu.Lock()
	c.shown, c.shownReason = state, c.reason
	st.site.mu.Unlock()
	st.site.changed.Add(1)
}
