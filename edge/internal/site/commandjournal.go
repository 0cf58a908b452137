package site

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

const (
	// keepCommand is how long the journal remembers a command after its expiry:
	// a restored manager sends again.
	keepCommand = 7 * 24 * time.Hour
	// maxResult is the largest result that is kept to be told again, in bytes.
	maxResult = 16 << 10
)

// commandState is the record of a command.
type commandState struct {
	Command     event.Command      `json:"c"`
	Phase       phase              `json:"p"`
	Final       event.CommandState `json:"f,omitempty"`
	Reason      string             `json:"r,omitempty"`
	Result      json.RawMessage    `json:"a,omitempty"`
	Request     int                `json:"n,omitempty"`
	EVSE        int                `json:"e,omitempty"`
	Session     event.SessionID    `json:"s,omitempty"`
	Transaction string             `json:"t,omitempty"`
	Scheduled   bool               `json:"w,omitempty"`
	Applied     bool               `json:"x,omitempty"`
}

func (c *command) record() Record {
	v := commandState{
		Command: c.cmd, Phase: c.phase, Final: c.final, Reason: c.reason, Result: c.result, Request: c.request,
		EVSE: c.evse, Session: c.session, Transaction: c.transaction, Scheduled: c.scheduled, Applied: c.applied,
	}
	if c.phase == phaseFinal {
		v.Command.Params = nil
		if len(v.Result) > maxResult {
			v.Result, v.Reason = nil, join(v.Reason, "its result was too large to be kept and has been told once")
		}
	}
	return record(Key{Kind: kindCommand, Station: c.cmd.Station, ID: string(c.cmd.ID)}, v)
}

// restoreCommand takes up one record. Whose it is shows once all are read.
func (s *Site) restoreCommand(r *Record) error {
	var v commandState
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return err
	}
	if v.Command.ID == "" || string(v.Command.ID) != r.Key.ID {
		return fmt.Errorf("id: expected %q, got %q", r.Key.ID, v.Command.ID)
	}
	if v.Phase > phaseFinal {
		return fmt.Errorf("phase: expected at most %d, got %d", phaseFinal, v.Phase)
	}
	c := &command{
		owner: s.self, cmd: v.Command, phase: v.Phase, final: v.Final, reason: v.Reason, result: v.Result, request: v.Request,
		evse: v.EVSE, session: v.Session, transaction: v.Transaction, scheduled: v.Scheduled, applied: v.Applied, journal: true,
	}
	c.shown, c.shownReason = c.phase.state(), c.reason
	if c.phase == phaseFinal {
		c.shown = c.final
	} else {
		params, err := decodeParams(c.cmd.Type, c.cmd.Params)
		if err != nil {
			return err
		}
		c.params = params
	}
	s.commands[c.cmd.ID] = c
	return nil
}

func (s *Site) restoreCommands() {
	for _, c := range s.commands {
		if c.cmd.Station != "" && !c.cmd.Type.ForGateway() {
			if st := s.stations[c.cmd.Station]; st != nil {
				c.owner = st
			} else if c.phase != phaseFinal {
				c.owner = s.station(c.cmd.Station)
			}
		}
		if c.phase != phaseFinal {
			c.owner.takeUp(c)
		}
	}
	for _, st := range append(s.all(), s.self) {
		// in the order they came: their ids are UUIDv7
		slices.SortFunc(st.commands, func(a, b *command) int { return strings.Compare(string(a.cmd.ID), string(b.cmd.ID)) })
		if len(st.commands)+len(st.reservations)+len(st.limits) > 0 {
			s.owing = append(s.owing, st)
		}
	}
}

// forgetCommands drops from the journal what no manager can send again.
func (s *Site) forgetCommands(ctx context.Context) {
	now, ok := s.clock.Judge()
	if !ok {
		stamp := s.clock.Stamp()
		if stamp.Clock != event.ClockSynced {
			return
		}
		now = stamp.Time
	}
	var c Change
	var gone []event.CommandID
	s.mu.Lock()
	for id, k := range s.commands {
		if k.shown.Final() && now.Sub(k.cmd.Expires) > keepCommand {
			c.Delete = append(c.Delete, Key{Kind: kindCommand, Station: k.cmd.Station, ID: string(id)})
			gone = append(gone, id)
		}
	}
	s.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	if err := s.journal.Commit(context.WithoutCancel(ctx), c); err != nil {
		s.log.Warn("old commands stay in the journal for now", "commands", len(gone), "err", err)
		return
	}
	s.mu.Lock()
	for _, id := range gone {
		delete(s.commands, id)
	}
	s.mu.Unlock()
}
