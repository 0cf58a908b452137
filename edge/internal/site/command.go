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
	// keepCommand is how long the journal remembers a command after its expiry:
	// a restored manager sends again.
	keepCommand = 7 * 24 * time.Hour
	// maxResult is the largest result that is kept to be told again, in bytes.
	maxResult = 16 << 10
	// retellAfter keeps a manager that asks every few seconds from filling the
	// outbox with the same answer.
	retellAfter = time.Minute
)

// phase is where a command is on this gateway.
type phase uint8

const (
	phaseWaiting   phase = iota // no device has been told
	phaseHanded                 // journaled; a device is being told, or was when the gateway died
	phaseDelivered              // the device has been told
	phaseAccepted               // the device has agreed; the effect is to be seen
	phaseFinal
)

// String returns the word for p.
func (p phase) String() string {
	return [...]string{"waiting", "handed", "delivered", "accepted", "final"}[p]
}

// state is the phase as the manager knows it.
func (p phase) state() event.CommandState {
	switch p {
	case phaseDelivered:
		return event.StateDelivered
	case phaseAccepted:
		return event.StateAccepted
	}
	return event.StateSent
}

// input is what happens to a command.
type input uint8

const (
	inDelivered input = iota // the device has been told
	inAccepted               // it agreed
	inSucceeded              // its answer is the effect
	inRefused                // it refused, cannot, or could not
	inLost                   // nobody knows what it made of it
	inEffect                 // the effect was seen
	inNoEffect               // it was seen that there is none
	inTimeout                // the time for it is over
	inExpired
	inCancel
)

// String returns the word for i.
func (i input) String() string {
	return [...]string{"delivered", "accepted", "succeeded", "refused", "lost", "effect", "no effect", "timeout", "expired", "cancel"}[i]
}

// move is the next step of a command.
type move struct {
	phase    phase
	final    event.CommandState // where phase is phaseFinal
	answered bool               // the device owes nothing more: another order may go
	look     bool               // look at the device once it is back
}

// advance is the life of a command: its next step, or false where in changes
// nothing. refusal is the word of the device for inRefused.
func advance(p phase, in input, refusal event.CommandState) (move, bool) {
	end := func(s event.CommandState) (move, bool) {
		return move{phase: phaseFinal, final: s, answered: true}, true
	}
	switch {
	case p == phaseFinal:
		return move{}, false
	case p == phaseWaiting:
		switch in {
		case inExpired:
			return end(event.StateExpired)
		case inCancel:
			return end(event.StateCancelled)
		case inTimeout:
			return end(event.StateFailed)
		case inRefused:
			return end(refusal)
		}
		return move{}, false
	}
	switch in {
	case inDelivered:
		if p == phaseHanded {
			return move{phase: phaseDelivered}, true
		}
	case inAccepted:
		if p != phaseAccepted {
			return move{phase: phaseAccepted, answered: true}, true
		}
	case inSucceeded, inEffect:
		return end(event.StateSucceeded)
	case inRefused:
		return end(refusal)
	case inNoEffect:
		return end(event.StateFailed)
	case inLost:
		return move{phase: p, answered: true, look: true}, true
	case inTimeout:
		return end(event.StateIndeterminate)
	}
	return move{}, false
}

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
	scheduled   bool // the device will do it after the running session
	early       bool // the effect was seen before the device agreed
	applied     bool // its consequences for the site are kept

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
	switch c.cmd.Type {
	case event.CommandStart, event.CommandStop, event.CommandUnlock:
		c.deadline = time.Now().Add(st.site.cfg.OfflineWait)
		st.wake(c.deadline)
	}
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
	return c.cmd.Type.ForGateway() || c.cmd.ID == ""
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
	c.session, c.transaction, c.evse = found.id, found.transaction, found.evse
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
		found = s.transaction
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
		in = inNoEffect
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
		c.deadline, c.look = time.Time{}, false
	}
	if c.cmd.ID == "" {
		if m.phase == phaseFinal || m.look {
			st.remove(c)
			c.done(Outcome{State: c.final, Reason: reason})
		}
		return
	}
	if m.phase == before && !m.look {
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
	if a == "" {
		return b
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

// resumeCommands takes up what an earlier start of the gateway left.
func (st *Station) resumeCommands() {
	for _, c := range slices.Clone(st.commands) {
		switch {
		case c.phase == phaseWaiting:
			if st.device == nil {
				st.limitWait(c)
			}
		case c.cmd.Type == event.CommandRestart:
			m, _ := advance(c.phase, inEffect, "")
			st.moveOn(c, m, "the gateway has started again", nil)
		default:
			c.look = true
			c.deadline = time.Now().Add(lostWithin)
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

type commandState struct {
	Command     event.Command      `json:"c"`
	Phase       phase              `json:"p"`
	Final       event.CommandState `json:"f,omitempty"`
	Reason      string             `json:"r,omitempty"`
	Result      json.RawMessage    `json:"a,omitempty"`
	Request     int                `json:"n,omitempty"`
	EVSE        int                `json:"e,omitempty"`
	Session     event.SessionID    `json:"s,omitempty"`
	Transaction string             `json:"t,omitempty"`
	Scheduled   bool               `json:"w,omitempty"`
	Applied     bool               `json:"x,omitempty"`
}

func (c *command) record() Record {
	v := commandState{
		Command: c.cmd, Phase: c.phase, Final: c.final, Reason: c.reason, Result: c.result, Request: c.request,
		EVSE: c.evse, Session: c.session, Transaction: c.transaction, Scheduled: c.scheduled, Applied: c.applied,
	}
	if c.phase == phaseFinal {
		v.Command.Params = nil
		if len(v.Result) > maxResult {
			v.Result, v.Reason = nil, join(v.Reason, "its result was too large to be kept and has been told once")
		}
	}
	return record(Key{Kind: kindCommand, Station: c.cmd.Station, ID: string(c.cmd.ID)}, v)
}

// restoreCommand takes up one record. Whose it is shows once all are read.
func (s *Site) restoreCommand(r *Record) error {
	var v commandState
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return err
	}
	if v.Command.ID == "" || string(v.Command.ID) != r.Key.ID {
		return fmt.Errorf("id: expected %q, got %q", r.Key.ID, v.Command.ID)
	}
	if v.Phase > phaseFinal {
		return fmt.Errorf("phase: expected at most %d, got %d", phaseFinal, v.Phase)
	}
	c := &command{
		owner: s.self, cmd: v.Command, phase: v.Phase, final: v.Final, reason: v.Reason, result: v.Result, request: v.Request,
		evse: v.EVSE, session: v.Session, transaction: v.Transaction, scheduled: v.Scheduled, applied: v.Applied, journal: true,
	}
	c.shown, c.shownReason = c.phase.state(), c.reason
	if c.phase == phaseFinal {
		c.shown = c.final
	} else {
		params, err := decodeParams(c.cmd.Type, c.cmd.Params)
		if err != nil {
			return err
		}
		c.params = params
	}
	s.commands[c.cmd.ID] = c
	return nil
}

func (s *Site) restoreCommands() {
	for _, c := range s.commands {
		if c.cmd.Station != "" && !c.cmd.Type.ForGateway() {
			if st := s.stations[c.cmd.Station]; st != nil {
				c.owner = st
			} else if c.phase != phaseFinal {
				c.owner = s.station(c.cmd.Station)
			}
		}
		if c.phase != phaseFinal {
			c.owner.commands = append(c.owner.commands, c)
		}
	}
	for _, c := range s.commands { // in the order they came: their ids are UUIDv7
		slices.SortFunc(c.owner.commands, func(a, b *command) int {
			if a.cmd.ID < b.cmd.ID {
				return -1
			}
			return 1
		})
	}
}

// forgetCommands drops from the journal what no manager can send again.
func (s *Site) forgetCommands(ctx context.Context) {
	now, ok := s.clock.Judge()
	if !ok {
		stamp := s.clock.Stamp()
		if stamp.Clock != event.ClockSynced {
			return
		}
		now = stamp.Time
	}
	var c Change
	var gone []event.CommandID
	s.mu.Lock()
	for id, k := range s.commands {
		if k.shown.Final() && now.Sub(k.cmd.Expires) > keepCommand {
			c.Delete = append(c.Delete, Key{Kind: kindCommand, Station: k.cmd.Station, ID: string(id)})
			gone = append(gone, id)
		}
	}
	s.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	if err := s.journal.Commit(context.WithoutCancel(ctx), c); err != nil {
		s.log.Warn("old commands stay in the journal for now", "commands", len(gone), "err", err)
		return
	}
	s.mu.Lock()
	for _, id := range gone {
		delete(s.commands, id)
	}
	s.mu.Unlock()
}
