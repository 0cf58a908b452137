package commander

import (
	"context"
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// How long a gateway may remember an answer. What changes reaches it through
// the tokens sections anyway.
const (
	rememberKnown   = 24 * time.Hour
	rememberUnknown = 5 * time.Minute
)

// unsupported is the answer to a question that this manager cannot decide.
const unsupported = "unsupported"

const defaultWait = 3 * time.Second

// ask is a question and when its asker stops waiting.
type ask struct {
	gateway  event.GatewayID
	payload  []byte
	received time.Time
}

// Ask takes a question of a gateway. It never blocks: with too many waiting
// already, the gateway decides alone.
func (c *Commander) Ask(g event.GatewayID, payload []byte) {
	select {
	case c.asks <- ask{gateway: g, payload: payload, received: c.now()}:
	default:
		c.answered.WithLabelValues("overload").Inc()
	}
}

// answer works on questions until ctx ends.
func (c *Commander) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-c.asks:
			c.answered.WithLabelValues(c.answerOne(ctx, a)).Inc()
		}
	}
}

// answerOne answers within the deadline or not at all, and tells what became of
// the question. The deadline counts from when the question came: the clocks of
// asker and manager need not agree.
func (c *Commander) answerOne(ctx context.Context, a ask) (outcome string) {
	log := c.log.With("gateway", a.gateway)
	q, err := wire.Decode[wire.Ask](a.payload)
	if err != nil || q.ID == "" {
		log.Warn("question cannot be read", "err", err)
		return "unreadable"
	}
	wait := time.Duration(q.WaitMS) * time.Millisecond
	if wait <= 0 || wait > time.Minute {
		wait = defaultWait
	}
	wait -= c.now().Sub(a.received)
	if wait <= 0 {
		return "late"
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer := wire.Answer{ID: q.ID}
	outcome = "answered"
	switch {
	case q.Question != wire.QuestionToken:
		// At once, so that the gateway need not wait to tell its charger no.
		if _, err := c.gateways.Owned(ctx, a.gateway); err != nil {
			return "stranger" // a gateway that nobody has added gets no answer
		}
		answer.Error, outcome = unsupported, unsupported
		log.Debug("question that this manager answers with no", "question", q.Question, "station", q.Station)
	case q.Token == nil:
		answer.Error, outcome = "expected a token with the question token", "unknown_question"
	default:
		entry, err := c.token(ctx, a.gateway, *q.Token)
		if errors.Is(err, fleet.ErrNotFound) {
			return "stranger" // a gateway that nobody has added gets no answer
		}
		if err != nil {
			if ctx.Err() == nil {
				log.Error("answer a question about a token", "err", err)
			}
			return "error" // without an answer the gateway decides by its offline policy
		}
		answer.Token = &entry
	}
	c.publish(a.gateway, wire.KindAnswer, "", 0, answer)
	return outcome
}

// token is what the manager knows of a token at a gateway of its tenant.
func (c *Commander) token(ctx context.Context, g event.GatewayID, t event.Token) (wire.TokenEntry, error) {
	gateway, err := c.gateways.Owned(ctx, g)
	if err != nil {
		return wire.TokenEntry{}, err
	}
	known, err := c.store.Token(ctx, gateway.Tenant, t.Value)
	if errors.Is(err, fleet.ErrNotFound) {
		return wire.TokenEntry{Token: t, Status: "invalid", CacheS: int64(rememberUnknown / time.Second)}, nil
	}
	if err != nil {
		return wire.TokenEntry{}, err
	}
	e := entry(known)
	e.Token = t // as the charger wrote it
	life := rememberKnown
	if known.Expires != nil {
		left := known.Expires.Sub(c.now())
		if left <= 0 {
			if e.Status == "accepted" {
				e.Status = "expired"
			}
		} else if left < life {
			life = left
		}
	}
	e.CacheS = max(1, int64(life/time.Second))
	return e, nil
}
