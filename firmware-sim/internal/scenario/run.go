package scenario

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// beginning is how long a driver waits for a transaction to begin before giving
// up.
const beginning = 40 * time.Second

// opening is how long a script waits for the charger to be registered.
const opening = 15 * time.Second

// Charger is what happens to a charger of any version.
type Charger interface {
	Plug(ctx context.Context, connector int, vehicle car.Car) error
	Unplug(ctx context.Context, connector int) error
	Tap(ctx context.Context, connector int, token string) error
	Fault(ctx context.Context, connector int, code ocpp16.ChargePointErrorCode, info string) error
	Clear(ctx context.Context, connector int) error
	SetLink(ctx context.Context, up bool) error
	SetPower(ctx context.Context, on bool) error
	SkewClock(ctx context.Context, by time.Duration) error
	Look(ctx context.Context) (charger.View, error)
	Await(ctx context.Context, met func(charger.View) bool) error
}

// Player lives through the script of one connector.
type Player struct {
	group     *Group
	charger   Charger
	connector int
	tokens    []string
	random    *rand.Rand
	log       *slog.Logger
}

// NewPlayer returns a player for a connector of a charger. Everything that is
// drawn comes from seed; tokens are made up from name when the group has none.
func NewPlayer(g *Group, c Charger, name string, connector int, seed uint64, log *slog.Logger) *Player {
	p := &Player{group: g, charger: c, connector: connector, tokens: g.Tokens, random: rand.New(rand.NewPCG(seed, uint64(connector))), log: log}
	if len(p.tokens) == 0 {
		for range 3 {
			p.tokens = append(p.tokens, fmt.Sprintf("%014X", p.random.Uint64()>>8))
		}
	}
	p.log = log.With("station", name, "connector", connector)
	return p
}

// Play runs the script until its end or that of ctx. Whatever is open then stays
// open.
func (p *Player) Play(ctx context.Context) error {
	// §4.2.1 advises to let nobody charge before the first registration; a
	// charger without a central system begins after a while nevertheless.
	registered, cancel := context.WithTimeout(ctx, opening)
	err := p.charger.Await(registered, func(v charger.View) bool { return v.Registered })
	cancel()
	if err == nil || ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = p.steps(ctx, p.group.Script)
	}
	if ctx.Err() != nil || errors.Is(err, charger.ErrStopped) {
		return nil // whatever was waited for: the end has come
	}
	return err
}

func (p *Player) steps(ctx context.Context, all []Step) error {
	for _, s := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := p.step(ctx, s)
		if errors.Is(err, charger.ErrRefused) { // people meet that too: they go on
			p.log.Debug("not possible", "step", string(s.Kind), "line", s.Line, "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Player) step(ctx context.Context, s Step) error {
	at := s.Connector
	if at == 0 {
		at = p.connector
	}
	switch s.Kind {
	case Plug:
		return p.charger.Plug(ctx, at, p.car(s.Car))
	case Unplug:
		return p.charger.Unplug(ctx, at)
	case Tap:
		return p.tap(ctx, at, s.Token)
	case Charge:
		return p.charge(ctx, at, s)
	case Break:
		return p.breakIt(ctx, at, s)
	case LoseLink:
		if err := p.charger.SetLink(ctx, false); err != nil {
			return err
		}
		return errors.Join(p.wait(ctx, s.For), p.charger.SetLink(context.WithoutCancel(ctx), true))
	case LosePower:
		if err := p.charger.SetPower(ctx, false); err != nil {
			return err
		}
		return errors.Join(p.wait(ctx, s.For), p.charger.SetPower(context.WithoutCancel(ctx), true))
	case ClockSkew:
		return p.charger.SkewClock(ctx, s.By)
	case Wait:
		return p.wait(ctx, s.For)
	case Sometimes:
		if p.random.Float64() < s.Chance {
			return p.steps(ctx, s.Steps)
		}
		return nil
	case Repeat:
		for i := 0; s.Times == 0 || i < s.Times; i++ {
			if err := p.steps(ctx, s.Steps); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("line %d: unknown step %q", s.Line, s.Kind)
}

func (p *Player) wait(ctx context.Context, s Span) error {
	t := time.NewTimer(s.Draw(p.random))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// car is one of the group's cars, by name or drawn.
func (p *Player) car(name string) car.Car {
	drawn := p.group.Cars[p.random.IntN(len(p.group.Cars))]
	for _, c := range p.group.Cars {
		if c.Name == name {
			drawn = c
		}
	}
	return drawn.Arrive(p.random)
}

// tap presents a card: the given one, else that of the running transaction, else
// one that is drawn. It returns when the charge point has made up its mind.
func (p *Player) tap(ctx context.Context, at int, token string) error {
	drawn := p.tokens[p.random.IntN(len(p.tokens))]
	if token == "" {
		v, err := p.charger.Look(ctx)
		if err != nil {
			return err
		}
		if token = v.Connectors[at-1].Token; token == "" {
			token = drawn
		}
	}
	if err := p.charger.Tap(ctx, at, token); err != nil {
		return err
	}
	return p.charger.Await(ctx, func(v charger.View) bool { return !v.Connectors[at-1].Authorizing })
}

// charge waits while a transaction goes on: for a time, until a state of charge,
// or until it ends. Without a transaction it is over at once.
func (p *Player) charge(ctx context.Context, at int, s Step) error {
	length := s.For.Draw(p.random) // drawn in any case, so that a seed gives one course of things
	begin, cancel := context.WithTimeout(ctx, beginning)
	defer cancel()
	running := false
	err := p.charger.Await(begin, func(v charger.View) bool {
		c := v.Connectors[at-1]
		running = c.Transaction != ""
		return running || !c.Waiting && !c.Authorizing
	})
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil || !running {
		return err
	}
	limit, cancel := ctx, context.CancelFunc(func() {})
	if s.For.To > 0 {
		limit, cancel = context.WithTimeout(ctx, length)
	}
	defer cancel()
	err = p.charger.Await(limit, func(v charger.View) bool {
		c := v.Connectors[at-1]
		return c.Transaction == "" || s.UntilSoC > 0 && (c.SoC >= s.UntilSoC || !c.Wants)
	})
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (p *Player) breakIt(ctx context.Context, at int, s Step) error {
	if s.Board {
		at = 0
	}
	if err := p.charger.Fault(ctx, at, s.Codes[p.random.IntN(len(s.Codes))], s.Info); err != nil {
		return err
	}
	if s.For.To == 0 {
		return nil
	}
	return errors.Join(p.wait(ctx, s.For), p.charger.Clear(context.WithoutCancel(ctx), at))
}
