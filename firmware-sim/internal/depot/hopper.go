package depot

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"golang.org/x/sync/errgroup"
)

// hopper is a charger with two firmwares that speak different versions of OCPP:
// whenever a session is over and told, it starts the other one.
type hopper struct {
	both [2]Charger

	mu     sync.RWMutex
	active int
	hops   chan struct{} // somebody has gone: time to hop

}

func newHopper(older, newer Charger) *hopper {
	return &hopper{both: [2]Charger{older, newer}, hops: make(chan struct{}, 1)}
}

// now is the firmware that runs. Hops wait until release is called.
func (h *hopper) now() (c Charger, release func()) {
	h.mu.RLock()
	return h.both[h.active], h.mu.RUnlock
}

func (h *hopper) Identity() string { return h.both[0].Identity() }
func (h *hopper) Connectors() int  { return h.both[0].Connectors() }

// Run lets both live, one of them without power.
func (h *hopper) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range h.both {
		group.Go(func() error { return c.Run(ctx) })
	}
	group.Go(func() error {
		err := h.both[1].SetPower(ctx, false) // before it has come to connect
		for err == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-h.hops:
				err = h.hop(ctx)
			}
		}
		if ctx.Err() != nil || errors.Is(err, charger.ErrStopped) {
			return nil
		}
		return err
	})
	return group.Wait()
}

// hop waits until everything is told, then starts the other firmware, unless
// somebody has come meanwhile.
func (h *hopper) hop(ctx context.Context) error {
	c, release := h.now()
	release()
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.Await(limit, quiet); err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil // the next time
		}
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, err := c.Look(ctx); err != nil || !quiet(v) {
		return err
	}
	if err := c.SetPower(ctx, false); err != nil {
		return err
	}
	h.active = 1 - h.active
	return h.both[h.active].SetPower(ctx, true)
}

// quiet tells whether nothing goes on and nothing waits to be told.
func quiet(v charger.View) bool {
	for _, c := range v.Connectors {
		if c.Plugged || c.Waiting || c.Authorizing {
			return false
		}
	}
	return v.Powered && v.Connected && v.Registered && v.Queue == 0 && v.Transaction() == ""
}

func (h *hopper) Plug(ctx context.Context, connector int, vehicle car.Car) error {
	c, release := h.now()
	defer release()
	return c.Plug(ctx, connector, vehicle)
}

// Unplug is when the charger begins to think of its other firmware.
func (h *hopper) Unplug(ctx context.Context, connector int) error {
	c, release := h.now()
	defer release()
	err := c.Unplug(ctx, connector)
	select {
	case h.hops <- struct{}{}:
	default:
	}
	return err
}

func (h *hopper) Tap(ctx context.Context, connector int, token string) error {
	c, release := h.now()
	defer release()
	return c.Tap(ctx, connector, token)
}

func (h *hopper) Fault(ctx context.Context, connector int, code ocpp16.ChargePointErrorCode, info string) error {
	c, release := h.now()
	defer release()
	return c.Fault(ctx, connector, code, info)
}

func (h *hopper) Clear(ctx context.Context, connector int) error {
	return errors.Join(h.both[0].Clear(ctx, connector), h.both[1].Clear(ctx, connector))
}

func (h *hopper) SetLink(ctx context.Context, up bool) error {
	return errors.Join(h.both[0].SetLink(ctx, up), h.both[1].SetLink(ctx, up))
}

func (h *hopper) SetPower(ctx context.Context, on bool) error {
	c, release := h.now()
	defer release()
	return c.SetPower(ctx, on)
}

func (h *hopper) SkewClock(ctx context.Context, by time.Duration) error {
	c, release := h.now()
	defer release()
	return c.SkewClock(ctx, by)
}

func (h *hopper) Look(ctx context.Context) (charger.View, error) {
	c, release := h.now()
	defer release()
	return c.Look(ctx)
}

// Await waits for a state of the firmware that runs when it begins to wait.
func (h *hopper) Await(ctx context.Context, met func(charger.View) bool) error {
	c, release := h.now()
	release()
	return c.Await(ctx, met)
}

func (h *hopper) Tell(ctx context.Context, action string, payload json.RawMessage, send bool) (json.RawMessage, error) {
	c, release := h.now()
	release()
	return c.Tell(ctx, action, payload, send)
}

// Drain ends what runs; the firmware that does not run has nothing to end.
func (h *hopper) Drain(ctx context.Context) error {
	c, release := h.now()
	defer release()
	return c.Drain(ctx)
}
