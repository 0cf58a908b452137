package station

import (
	"context"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// View is what a charge point looks like at a moment.
type View struct {
	ID         string
	Powered    bool
	Connected  bool
	Registered bool
	Firmware   string
	Queue      int // messages that are not sent or not answered, without heartbeats
	Connectors []ConnectorView
}

// ConnectorView is one connector, connector 1 first.
type ConnectorView struct {
	Status      ocpp16.ChargePointStatus
	Plugged     bool
	Transaction string // the central system's id, "unconfirmed" before it is known, empty without one
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

// Look returns how the charge point stands. One that has stopped returns
// ErrStopped.
func (s *Station) Look(ctx context.Context) (View, error) {
	var v View
	err := s.do(ctx, func() error {
		v = s.view()
		return nil
	})
	return v, err
}

// Await waits until met holds. It is called on the charge point's goroutine,
// after everything that happens to it, and must not block.
func (s *Station) Await(ctx context.Context, met func(View) bool) error {
	w := waiter{met: met, done: make(chan struct{})}
	if err := s.do(ctx, func() error {
		s.waiters = append(s.waiters, w)
		return nil
	}); err != nil {
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		s.post(func() { // nobody waits any more
			for i := range s.waiters {
				if s.waiters[i].done == w.done {
					s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
					return
				}
			}
		})
		return ctx.Err()
	}
}

func (s *Station) view() View {
	v := View{
		ID: s.cfg.Identity, Powered: s.powered, Connected: s.link.conn != nil,
		Registered: s.registration == ocpp16.RegistrationStatusAccepted, Firmware: s.state.Firmware, Queue: len(s.state.Queue),
	}
	for _, c := range s.calls {
		if c.action != ocpp16.ActionHeartbeat {
			v.Queue++
		}
	}
	if p := s.pending; p != nil && p.message == nil && p.action != ocpp16.ActionHeartbeat {
		v.Queue++
	}
	for _, c := range s.connectors {
		cv := ConnectorView{
			Status: s.current(c).status, Plugged: c.outlet.Car() != nil && !c.away, Waiting: c.waiting != nil, Authorizing: c.authorizing,
			Refusals: c.refusals, RegisterWh: int64(c.outlet.RegisterWh()), PowerW: c.outlet.Reading().PowerW, Wants: c.outlet.Wants(),
		}
		if tx := s.running(c); tx != nil {
			cv.Token, cv.Transaction = tx.IDTag, "unconfirmed"
			if tx.Known {
				cv.Transaction = itoa(tx.ID)
			}
		}
		if vehicle := c.outlet.Car(); vehicle != nil {
			cv.SoC = vehicle.SoC
		}
		if f := s.broken(c); f != nil {
			cv.Fault = f.code
		}
		v.Connectors = append(v.Connectors, cv)
	}
	return v
}
