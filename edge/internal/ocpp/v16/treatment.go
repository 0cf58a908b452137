package v16

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/metering"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// known says what the charge point calls itself: its memory is that of its model.
func (p *peer) known(boot site.BootReport) {
	m := p.dialect.models.Of("model " + boot.Vendor + "\x00" + boot.Model + "\x00" + boot.Firmware)
	p.model.Store(m)
	p.limitUnit(m)
}

// limitUnit remembers what the profile says about the unit of limits.
func (p *peer) limitUnit(m *job.Model) {
	switch p.c.Profile().LimitUnit {
	case job.Amperes:
		m.Cannot(job.Watts)
	case job.Watts:
		m.Cannot(job.Amperes)
	}
}

// interval is the heartbeat that a boot is answered with: that of the profile
// where it has one.
func (p *peer) interval(r site.Registration) time.Duration {
	if h := p.c.Profile().Heartbeat; h > 0 && r.Status == site.RegistrationAccepted {
		return h
	}
	return r.Interval
}

// samples turns the meter values of a message into samples, as the charge point
// means them.
func (p *peer) samples(values []ocpp16.MeterValue) []event.Sample {
	profile := p.c.Profile()
	return samplesOf(values, metering.Rules{Odd: p.count, EnergyScale: profile.EnergyScale, PowerScale: profile.PowerScale})
}

// begins has the watch of an EVSE begin with a session.
func (p *peer) begins(evse int, r site.StartReport) {
	p.watch(evse).Begin(r.Time.Time, r.MeterWh)
}

// implausible tells whether the readings of an EVSE contradict each other.
func (p *peer) implausible(evse int, samples []event.Sample) bool {
	why, contradicts := p.watch(evse).Contradicts(samples)
	if contradicts {
		p.c.Deviated("energy_implausible", "", why)
	}
	return contradicts
}

func (p *peer) watch(evse int) *metering.Watch {
	w := p.watches[evse]
	if w == nil {
		w = &metering.Watch{}
		if p.watches == nil {
			p.watches = map[int]*metering.Watch{}
		}
		p.watches[evse] = w
	}
	return w
}

// given are the newest tags that the gateway told the charge point, and the
// messages that it asked for. It may be used on any goroutine.
type given struct {
	mu      sync.Mutex // guards what follows
	tags    []string
	invited []string
}

// maxGiven is how many tags are remembered.
const maxGiven = 8

// tell remembers a tag.
func (g *given) tell(tag string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tags = slices.DeleteFunc(g.tags, func(t string) bool { return t == tag })
	if len(g.tags) == maxGiven {
		g.tags = slices.Delete(g.tags, 0, 1)
	}
	g.tags = append(g.tags, tag)
}

// meant returns the tag that a charge point means: some give back what they were
// told in another case, or with up to two characters more.
func (g *given) meant(tag string) (meant string, padded bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range slices.Backward(g.tags) {
		if len(tag) >= len(t) && strings.EqualFold(tag[:len(t)], t) {
			switch more := utf8.RuneCountInString(tag[len(t):]); {
			case more == 0:
				return t, false
			case more <= 2 && utf8.RuneCountInString(tag) > maxTag-2:
				return t, true
			}
		}
	}
	return tag, false
}

// invite lets a charge point that is not accepted yet send a message. OCPP 1.6
// §4.2.
func (g *given) invite(action string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.invited, action) {
		g.invited = append(g.invited, action)
	}
}

func (g *given) welcome(action string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.invited, action)
}

// token returns the token that an idTag stands for.
func (p *peer) token(tag string) event.Token {
	t := tokenOf(tag)
	meant, padded := p.given.meant(t.Value)
	if padded {
		p.c.Deviated("tag_padded", "idTag", tag)
	}
	t.Value = meant
	return t
}
