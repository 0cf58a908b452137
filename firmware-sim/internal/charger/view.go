package charger

import (
	"context"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// View is what a charger looks like at a moment.
type View struct {
	ID         string
	Version    string // of OCPP, as its sub-protocol
	Powered    bool
	Connected  bool
	Registered bool
	Firmware   string
	Queue      int // messages that are not sent or not answered, without heartbeats
	Connectors []ConnectorView
}

// ConnectorView is one connector, connector 1 first. Status and fault are said in
// the words of OCPP 1.6, which has the most of them, whatever the charger speaks.
type ConnectorView struct {
	Status      ocpp16.ChargePointStatus
	Plugged     bool
	Transaction string // the id that both ends know, "unconfirmed" before there is one, empty without a transaction
	Token       string // of the transaction
	Waiting     bool   // authorized, the plug is missing
	Authorizing bool
	Refusals    int // cards refused since the power came
	RegisterWh  int64
	PowerW      float64
	SoC         float64 // 0 to 1
	Wants       bool    // the car would take more
	Fault       ocpp16.ChargePointErrorCode
}

// Transaction is the first running transaction, empty when there is none.
func (v View) Transaction() string {
	for _, c := range v.Connectors {
		if c.Transaction != "" {
			return c.Transaction
		}
	}
	return ""
}

// Outline fills what the common part knows of a View.
func (c *Core) Outline() View {
	v := View{
		ID: c.cfg.Identity, Version: c.cfg.Version, Powered: c.Powered, Connected: c.Connected(),
		Registered: c.Registration == Accepted, Queue: len(c.Queue),
	}
	for _, call := range c.Calls {
		if call.Action != heartbeat {
			v.Queue++
		}
	}
	if p := c.pending; p != nil && p.message == nil && p.Action != heartbeat {
		v.Queue++
	}
	return v
}

// waiter is somebody who waits for a state of the charger.
type waiter struct {
	met  func(View) bool
	done chan struct{}
}

// Look returns how the charger stands. One that has stopped returns ErrStopped.
func (c *Core) Look(ctx context.Context) (View, error) {
	var v View
	err := c.Do(ctx, func() error {
		v = c.dialect.View()
		return nil
	})
	return v, err
}

// Await waits until met holds. It is called on the charger's goroutine, after
// everything that happens to it, and must not block.
func (c *Core) Await(ctx context.Context, met func(View) bool) error {
	w := waiter{met: met, done: make(chan struct{})}
	if err := c.Do(ctx, func() error {
		c.waiters = append(c.waiters, w)
		return nil
	}); err != nil {
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-c.done:
		return ErrStopped
	case <-ctx.Done():
		c.Post(func() { // nobody waits any more
			for i := range c.waiters {
				if c.waiters[i].done == w.done {
					c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
					return
				}
			}
		})
		return ctx.Err()
	}
}
