package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// questionWait is how long a question for a token may wait at most.
const questionWait = 3 * time.Second

// longWait is the same for a question other than a token.
const longWait = 30 * time.Second

// maxQuestions bounds those that wait at the same time.
const maxQuestions = 64

// AskToken asks the manager for a token that the gateway does not know and waits
// for its answer until ctx ends. It returns site.ErrManagerAway at once while no
// manager has answered the newest hello, and when none answers in time.
func (u *Uplink) AskToken(ctx context.Context, at event.Address, t event.Token) (site.TokenInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	a, err := u.ask(ctx, wire.Ask{Question: wire.QuestionToken, Station: at.Station, EVSE: at.EVSE, Token: &t})
	if err != nil {
		return site.TokenInfo{}, err
	}
	if a.Error != "" {
		return site.TokenInfo{}, fmt.Errorf("%w: it answered %q", site.ErrManagerAway, a.Error)
	}
	if a.Token == nil { // asked and not known
		return site.TokenInfo{Token: t, Decision: "invalid"}, nil
	}
	return site.TokenInfo{
		Token: t, Decision: a.Token.Status, Parent: a.Token.Parent, Expires: a.Token.Expires,
		Cache: time.Duration(a.Token.CacheS) * time.Second,
	}, nil
}

// unsupported is the error of a manager that answers no question of a kind.
const unsupported = "unsupported"

// Ask asks the manager anything else than a token, as AskToken does. A manager
// that answers no such question makes it site.ErrUnsupported. A context without
// a deadline waits 30 s.
func (u *Uplink) Ask(ctx context.Context, at event.Address, q site.Question) (json.RawMessage, error) {
	if len(q.Payload) > 0 && !json.Valid(q.Payload) {
		return nil, fmt.Errorf("question %s: expected JSON, got %d bytes that are none", q.Kind, len(q.Payload))
	}
	ctx, cancel := context.WithTimeout(ctx, longWait)
	defer cancel()
	a, err := u.ask(ctx, wire.Ask{Question: q.Kind, Station: at.Station, EVSE: at.EVSE, Payload: q.Payload})
	switch {
	case err != nil:
		return nil, err
	case a.Error == unsupported:
		return nil, fmt.Errorf("question %s: %w", q.Kind, site.ErrUnsupported)
	case a.Error != "":
		return nil, fmt.Errorf("%w: it answered %q", site.ErrManagerAway, a.Error)
	}
	return a.Payload, nil
}

// ask completes q and asks the manager that is there now; ctx has a deadline.
func (u *Uplink) ask(ctx context.Context, q wire.Ask) (*wire.Answer, error) {
	c := u.reachable.Load()
	if c == nil {
		return nil, site.ErrManagerAway
	}
	deadline, _ := ctx.Deadline()
	wait := time.Until(deadline)
	q.ID, q.WaitMS = uuid.NewString(), wait.Milliseconds()
	q.Deadline = u.clock.Stamp().Time.Add(wait).UTC().Truncate(time.Millisecond)
	return c.question(ctx, q)
}

// question sends q and waits for its answer.
func (c *conversation) question(ctx context.Context, q wire.Ask) (*wire.Answer, error) {
	reply := make(chan answer[*wire.Answer], 1)
	c.mu.Lock()
	if len(c.asked) >= maxQuestions {
		c.mu.Unlock()
		return nil, fmt.Errorf("%w: %d questions wait already", site.ErrManagerAway, maxQuestions)
	}
	c.asked[q.ID] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.asked, q.ID)
		c.mu.Unlock()
	}()
	payload, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encode question: %w", err)
	}
	if _, err := c.session.Publish(Message{Topic: wire.Topic(c.u.cfg.Gateway, wire.KindAsk), Payload: payload}); err != nil {
		return nil, fmt.Errorf("%w: %w", site.ErrManagerAway, err)
	}
	c.u.counts.questions.Add(1)
	select {
	case a := <-reply:
		return a.message, nil
	case <-c.session.Done():
		return nil, fmt.Errorf("%w: connection lost", site.ErrManagerAway)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			// Perhaps nobody is there behind the broker: while the next hello
			// stays unanswered, drivers get the offline policy at once.
			c.surprise("a question was not answered")
		}
		return nil, fmt.Errorf("%w: %w", site.ErrManagerAway, ctx.Err())
	}
}

// answered hands an answer to the question that it is for, if that still waits.
func (c *conversation) answered(a answer[*wire.Answer]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply := c.asked[a.message.ID]; reply != nil {
		offer(reply, a)
	}
}
