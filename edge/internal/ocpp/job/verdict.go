package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Verdict is what an answer's status word means.
type Verdict uint8

// The verdicts. Refused is that of any word that is not known.
const (
	Refused Verdict = iota
	Accepted
	Scheduled
	RebootNeeded
	NotSupported
)

// VerdictOf reads a status word. Some stations answer with the word of another
// message; whatever sounds like consent is consent, anything else is refusal.
func VerdictOf(word string) Verdict {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "accepted", "acceptedcanceled", "accept", "ok", "success", "succeeded", "done", "unlocked", "true":
		return Accepted
	case "scheduled":
		return Scheduled
	case "rebootrequired":
		return RebootNeeded
	case "notsupported", "notimplemented", "unsupported":
		return NotSupported
	}
	return Refused
}

// Judge turns the status word of an answer into an outcome, where consent means
// state. Details are what the station said beside it.
func Judge(word string, state event.CommandState, details ...string) site.Outcome {
	switch VerdictOf(word) {
	case Accepted:
		o := site.Outcome{State: state, Reason: Join(details...)}
		if word != "Accepted" {
			o.Reason = Join(append([]string{Answered(word)}, details...)...)
		}
		return o
	case Scheduled:
		return site.Outcome{State: event.StateAccepted, Reason: "scheduled: it takes effect after the running session"}
	case RebootNeeded:
		return site.Outcome{State: event.StateAccepted, Reason: "accepted: it takes effect after a reset of the station"}
	case NotSupported:
		return site.Outcome{State: event.StateUnsupported, Reason: Join(append([]string{Answered(word)}, details...)...)}
	}
	return site.Outcome{State: event.StateRejected, Reason: Join(append([]string{Answered(word)}, details...)...)}
}

// Answered says what came, where it is not the usual word.
func Answered(word string) string { return "the station answered " + strconv.Quote(word) }

// Rejectedf is the outcome of an order that does not make sense.
func Rejectedf(format string, args ...any) site.Outcome {
	return site.Outcome{State: event.StateRejected, Reason: fmt.Sprintf(format, args...)}
}

// Unsupportedf is the outcome of an order that the protocol cannot carry.
func Unsupportedf(format string, args ...any) site.Outcome {
	return site.Outcome{State: event.StateUnsupported, Reason: fmt.Sprintf(format, args...)}
}

// Failedf is the outcome of an order that had no effect.
func Failedf(format string, args ...any) site.Outcome {
	return site.Outcome{State: event.StateFailed, Reason: fmt.Sprintf(format, args...)}
}

// Undecidedf is the outcome of an order of which nobody can tell whether it had
// its effect before the gateway fell.
func Undecidedf(format string, args ...any) site.Outcome {
	return site.Outcome{State: event.StateIndeterminate, Reason: "the gateway restarted in between; " + fmt.Sprintf(format, args...)}
}

// Join puts reasons together, without those that are empty.
func Join(notes ...string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(notes), func(n string) bool { return n == "" }), "; ")
}

// Optional leaves a number out where it is zero.
func Optional(n int) *int64 {
	if n == 0 {
		return nil
	}
	v := int64(n)
	return &v
}
