package api

import (
	"context"
	"net/http"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

func (a *API) variables() {
	type filter struct {
		StationPath
		Paging
		Component string `query:"component" doc:"A component of the device model; Ocpp16 holds the keys of OCPP 1.6. Compared without regard to case."`
		Variable  string `query:"variable" doc:"Compared without regard to case."`
		EVSE      int    `query:"evse" minimum:"1"`
	}
	op := operation(fleet.RoleViewer, http.MethodGet, "/stations/{id}/variables", "list-variables",
		"List the variables of a station, whatever its protocol", http.StatusNotFound)
	op.Description += " What a station reported or was asked for last: get_configuration without variables brings everything anew. A key of OCPP 1.6 is a variable of component Ocpp16."
	register(a, op,
		func(ctx context.Context, who fleet.Access, in *filter) (*listOutput[fleet.Variable], error) {
			l, err := a.store.Variables(ctx, scopeOf(who), in.ID,
				fleet.VariableFilter{Component: in.Component, Variable: in.Variable, EVSE: in.EVSE}, in.fleet())
			return listed(l, err, nil)
		})
}

func (a *API) deviations() {
	type filter struct {
		Paging
		By      string `query:"by" enum:"station,model" default:"station" doc:"A card for each station that broke a rule, or for each model: vendor, model and firmware."`
		Gateway string `query:"gateway"`
		Station string `query:"station" doc:"The manager's id of a station, or its identity."`
		Vendor  string `query:"vendor"`
		Model   string `query:"model"`
		Kind    string `query:"kind" doc:"Of the deviation."`
	}
	op := operation(fleet.RoleViewer, http.MethodGet, "/deviations", "list-deviations",
		"List scorecards: how often stations broke the rules of their protocol")
	op.Description += " Those with the most deviations come first. Gateways cope with all of them; the cards tell what to ask a maker for."
	register(a, op,
		func(ctx context.Context, who fleet.Access, in *filter) (*listOutput[fleet.Scorecard], error) {
			f := fleet.ScoreFilter{Gateway: event.GatewayID(in.Gateway), Station: in.Station, Vendor: in.Vendor, Model: in.Model, Kind: in.Kind}
			list := a.store.StationScores
			if in.By == "model" {
				list = a.store.ModelScores
			}
			l, err := list(ctx, scopeOf(who), f, in.fleet())
			return listed(l, err, nil)
		})
}

func (a *API) security() {
	type filter struct {
		Paging
		Gateway  string    `query:"gateway"`
		Station  string    `query:"station" doc:"The manager's id of a station, or its identity."`
		Event    string    `query:"event" doc:"Its name, like InvalidFirmwareSignature; compared without regard to case."`
		Critical bool      `query:"critical" doc:"Only those that OCPP calls critical."`
		From     time.Time `query:"from" doc:"Not before this time."`
		To       time.Time `query:"to" doc:"Before this time."`
	}
	op := operation(fleet.RoleViewer, http.MethodGet, "/security-events", "list-security-events",
		"List security events of stations and about them, newest first")
	op.Description += " One list over all versions of OCPP; gateways add what they see at the door: FailedAuthentication, UnknownStation and others."
	register(a, op,
		func(ctx context.Context, who fleet.Access, in *filter) (*listOutput[fleet.SecurityEvent], error) {
			l, err := a.store.SecurityEvents(ctx, scopeOf(who), fleet.SecurityFilter{
				Gateway: event.GatewayID(in.Gateway), Station: in.Station, Event: in.Event, Critical: in.Critical, From: in.From, To: in.To,
			}, in.fleet())
			return listed(l, err, nil)
		})
}
