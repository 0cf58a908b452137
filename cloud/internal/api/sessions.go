package api

import (
	"context"
	"net/http"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

func tidySession(s *fleet.Session) {
	if s.Flags == nil {
		s.Flags = []event.Flag{}
	}
}

// SessionPath names a session.
type SessionPath struct {
	ID string `path:"id" doc:"The session's id."`
}

func (a *API) sessions() {
	type filter struct {
		Paging
		Station     string    `query:"station" doc:"The manager's id of a station, or its identity."`
		EVSE        int       `query:"evse" minimum:"1"`
		Gateway     string    `query:"gateway"`
		Status      string    `query:"status" enum:"active,ended"`
		Token       string    `query:"token" doc:"The value of the token that began it."`
		Transaction string    `query:"transaction" doc:"What the protocol calls it."`
		From        time.Time `query:"from" doc:"Begun not before this time."`
		To          time.Time `query:"to" doc:"Begun before this time."`
	}
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/sessions", "list-sessions", "List sessions, newest first"),
		func(ctx context.Context, who fleet.Access, in *filter) (*listOutput[fleet.Session], error) {
			l, err := a.store.Sessions(ctx, scopeOf(who), fleet.SessionFilter{
				Station: in.Station, EVSE: in.EVSE, Gateway: event.GatewayID(in.Gateway), Status: in.Status,
				Token: in.Token, Transaction: in.Transaction, From: in.From, To: in.To,
			}, in.fleet())
			return listed(l, err, tidySession)
		})
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/sessions/{id}", "get-session", "Get a session", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *SessionPath) (*output[fleet.Session], error) {
			s, err := a.store.Session(ctx, scopeOf(who), event.SessionID(in.ID))
			return one(s, err, tidySession)
		})
	type paged struct {
		SessionPath
		Paging
	}
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/sessions/{id}/samples", "list-session-samples",
		"List what was measured during a session", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *paged) (*listOutput[fleet.SamplePoint], error) {
			s, err := a.store.Session(ctx, scopeOf(who), event.SessionID(in.ID))
			if err != nil {
				return nil, err
			}
			l, err := a.store.Samples(ctx, scopeOf(who), s.ID, in.fleet())
			return listed(l, err, nil)
		})
	a.sessionTimeline()
}

func (a *API) events() {
	type filter struct {
		Paging
		Gateway string    `query:"gateway"`
		Station string    `query:"station" doc:"The manager's id of a station, or its identity."`
		EVSE    int       `query:"evse" minimum:"1"`
		Session string    `query:"session"`
		Type    string    `query:"type" doc:"session.started, or chargeyard.session.started."`
		From    time.Time `query:"from" doc:"Happened not before this time."`
		To      time.Time `query:"to" doc:"Happened before this time."`
		After   string    `query:"after" pattern:"^([0-9a-f]{8}\\.)?[0-9]{1,18}$" doc:"A position, better with the incarnation before it: 0f3c1b2a.42, as the ids of the stream are. Only what was committed after it, in rising order; 0 begins with the oldest. Without it the newest come first."`
	}
	op := operation(fleet.RoleViewer, http.MethodGet, "/events", "list-events", "List the event log")
	op.Description += " The header Log-Incarnation names the incarnation of the positions. " + anew
	register(a, op,
		func(ctx context.Context, who fleet.Access, in *filter) (*eventsOutput, error) {
			incarnation, err := a.incarnation(ctx)
			if err != nil {
				return nil, err
			}
			var after int64
			if in.After != "" {
				if after, err = a.place(ctx, in.After); err != nil {
					return nil, err
				}
			}
			l, err := a.store.Events(ctx, scopeOf(who), fleet.EventFilter{
				Gateway: event.GatewayID(in.Gateway), Station: in.Station, EVSE: in.EVSE,
				Session: event.SessionID(in.Session), Type: eventType(in.Type), From: in.From, To: in.To,
				Rising: in.After != "", After: after,
			}, in.fleet())
			out, err := listed(l, err, nil)
			if err != nil {
				return nil, err
			}
			return &eventsOutput{Incarnation: incarnation, Body: out.Body}, nil
		})
}

// eventsOutput is a part of the log.
type eventsOutput struct {
	Incarnation string `header:"Log-Incarnation"`
	Body        List[fleet.Entry]
}

func (a *API) deadLetters() {
	register(a, operation(fleet.RoleOperator, http.MethodGet, "/dead-letters", "list-dead-letters",
		"List messages of gateways that made no sense, newest first"),
		func(ctx context.Context, who fleet.Access, in *Paging) (*listOutput[fleet.DeadLetter], error) {
			l, err := a.store.DeadLetters(ctx, scopeOf(who), in.fleet())
			return listed(l, err, func(d *fleet.DeadLetter) {
				if d.Payload == nil {
					d.Payload = []byte{}
				}
			})
		})
}
