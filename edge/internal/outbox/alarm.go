package outbox

import (
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// foldAlarms is the time within which repeats of an alarm become one event.
const foldAlarms = time.Minute

// alarms are what the outbox itself has to report. They travel with the next
// commit of the events lane and wait as long as there is none.
type alarms struct {
	o *Outbox

	mu      sync.Mutex
	waiting []alarm
	raised  map[string]*raised
}

// alarm is one report on its way.
type alarm struct {
	draft event.Draft
	tail  []byte // encoded when it is taken
}

// raised remembers an alarm for folding.
type raised struct {
	last    event.GatewayAlarm
	at      time.Time // with a monotonic reading
	repeats int       // since at, not reported yet
}

func newAlarms(o *Outbox) *alarms {
	return &alarms{o: o, raised: map[string]*raised{}}
}

// raise reports an alarm: the first at once, repeats folded once a minute.
func (a *alarms) raise(word, severity, text string) {
	payload := event.GatewayAlarm{Alarm: word, Severity: severity, Text: text}
	a.mu.Lock()
	r := a.raised[word]
	if r != nil && time.Since(r.at) < foldAlarms {
		r.repeats++
		r.last = payload
		a.mu.Unlock()
		return
	}
	a.raised[word] = &raised{last: payload, at: time.Now()}
	a.mu.Unlock()
	a.report(&payload)
}

// clear reports that an alarm is over, if it was raised.
func (a *alarms) clear(word string) {
	a.mu.Lock()
	r := a.raised[word]
	delete(a.raised, word)
	a.mu.Unlock()
	if r == nil {
		return
	}
	over := r.last
	over.Cleared = true
	a.report(&over)
}

// settle reports the repeats whose minute is over.
func (a *alarms) settle() {
	var due []event.GatewayAlarm
	a.mu.Lock()
	for _, r := range a.raised {
		if r.repeats > 0 && time.Since(r.at) >= foldAlarms {
			r.last.Count = r.repeats
			due = append(due, r.last)
			r.at, r.repeats = time.Now(), 0
		}
	}
	a.mu.Unlock()
	for i := range due {
		a.report(&due[i])
	}
}

// report queues an event of the gateway itself.
func (a *alarms) report(p event.Payload) {
	stamp := a.o.stamp()
	a.mu.Lock()
	a.waiting = append(a.waiting, alarm{draft: event.Draft{
		Time: stamp.Time, Recorded: stamp.Time, Boot: stamp.Boot, Clock: stamp.Clock, Data: p,
	}})
	a.mu.Unlock()
	a.o.events.kick()
}

// take hands over what waits, encoded.
func (a *alarms) take() []alarm {
	a.mu.Lock()
	waiting := a.waiting
	a.waiting = nil
	a.mu.Unlock()
	taken := waiting[:0]
	for _, w := range waiting {
		if w.tail == nil {
			var err error
			if w.tail, err = a.o.encode(&w.draft); err != nil {
				a.o.log.Error("report not encoded", "type", w.draft.Data.EventType(), "err", err)
				continue
			}
		}
		taken = append(taken, w)
	}
	return taken
}

// giveBack returns what no commit has kept.
func (a *alarms) giveBack(taken []alarm) {
	if len(taken) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(taken, a.waiting...)
}
