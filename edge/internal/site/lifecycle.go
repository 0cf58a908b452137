package site

import "github.com/chargeyard/chargeyard/shared/event"

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
