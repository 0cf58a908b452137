package uplink

import (
	"errors"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// receive sorts the manager's messages. It runs on the transport's goroutine and
// never waits: a message that does not fit is dropped, its sender repeats it.
func (c *conversation) receive(topic string, payload []byte) {
	at := time.Now()
	g, kind, sub, err := wire.ParseTopic(topic)
	if err == nil && g != c.u.cfg.Gateway {
		err = fmt.Errorf("topic %s: expected gateway %s", topic, c.u.cfg.Gateway)
	}
	kept := true
	if err == nil {
		switch kind {
		case wire.KindAck:
			kept, err = c.receiveAck(event.Lane(sub), payload)
		case wire.KindWelcome:
			var w wire.Welcome
			if w, err = wire.Decode[wire.Welcome](payload); err == nil {
				if newest := c.hello.Load(); newest != nil && *newest == w.Hello {
					offer(c.welcomes, answer[wire.Welcome]{w, at}) // the first answer counts
				}
			}
		case wire.KindCommand:
			var o wire.Order
			if o, err = wire.Decode[wire.Order](payload); err == nil && o.ID == "" && o.Cancel == "" {
				err = fmt.Errorf("%w: expected the id of a command", wire.ErrNotOurs)
			}
			if err == nil {
				kept = offer(c.u.orders, queued[wire.Order]{o, c})
			}
		case wire.KindAnswer:
			var a wire.Answer
			if a, err = wire.Decode[wire.Answer](payload); err == nil {
				c.answered(answer[*wire.Answer]{&a, at})
			}
		case wire.KindDesired:
			kept = offer(c.u.sections, queued[section]{section{sub, payload}, c})
		case wire.KindStatus:
			var s wire.Status
			if s, err = wire.Decode[wire.Status](payload); c.online.Load() && (err != nil || !s.Online || s.Connection != c.id) {
				offer(c.overwritten, struct{}{})
			}
		default:
			err = errors.New("not subscribed to")
		}
	}
	if err != nil {
		c.u.counts.unreadable.Add(1)
		c.log.Warn("message that is not ours", "topic", topic, "bytes", len(payload), "err", err)
	}
	if !kept {
		c.u.counts.dropped.Add(1)
		c.log.Warn("message dropped, too many are waiting", "topic", topic)
	}
}

func (c *conversation) receiveAck(name event.Lane, payload []byte) (kept bool, err error) {
	a, err := wire.Decode[wire.Ack](payload)
	if err != nil {
		return true, err
	}
	for _, l := range c.u.lanes {
		if l.name == name {
			return offer(l.acks, a), nil
		}
	}
	return true, fmt.Errorf("no lane %q", name)
}
