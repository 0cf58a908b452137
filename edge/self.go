package main

import (
	"context"
	"log/slog"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// self is the gateway as the device of the commands for itself. It implements
// site.Device.
type self struct {
	log     *slog.Logger
	station *site.Station // takes the reports; set before the site runs
	restart func()        // set before the site runs
}

func newSelf(log *slog.Logger) *self { return &self{log: log} }

// Execute carries out a restart: agreed to before it happens, so that the next
// start finds it in the journal and reports that it took place. Everything else
// is for later versions.
func (s *self) Execute(o site.Order, report func(site.Outcome)) {
	if o.Type != event.CommandRestart {
		s.later(func() {
			report(site.Outcome{State: event.StateUnsupported, Reason: "this version of the gateway has no " + string(o.Type)})
		})
		return
	}
	s.later(func() {
		report(site.Outcome{State: event.StateDelivered})
		report(site.Outcome{State: event.StateAccepted, Reason: "the gateway is about to start again"})
		s.log.Info("starting again by order", "command", string(o.ID))
		s.restart()
	})
}

// Look is asked about commands that an earlier start was in the middle of.
func (s *self) Look(o site.Order, report func(site.Outcome)) {
	s.later(func() {
		if o.Type == event.CommandRestart {
			report(site.Outcome{State: event.StateSucceeded, Reason: "the gateway has started again"})
			return
		}
		report(site.Outcome{State: event.StateIndeterminate, Reason: "the gateway was interrupted"})
	})
}

// Refresh has nothing to refresh.
func (s *self) Refresh([]event.Address) {}

// Close does nothing: the gateway is connected to itself as long as it runs.
func (s *self) Close(string) {}

// later runs f on the goroutine of the gateway's own commands.
func (s *self) later(f func()) {
	go func() {
		if err := s.station.Post(context.Background(), f); err != nil {
			s.log.Debug("outcome not reported", "err", err)
		}
	}()
}
