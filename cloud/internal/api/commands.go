package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// addressSecret is the part of a file's address that nobody else is to know.
var addressSecret = regexp.MustCompile(`/files/[A-Za-z0-9]+`)

func tidyCommand(c *fleet.Command) {
	if c.Type == event.CommandRecord || c.Type == event.CommandGetLog {
		c.Params = addressSecret.ReplaceAll(c.Params, []byte("/files/…"))
	}
	c.Params = redacted(c.Params)
	if c.Steps == nil {
		c.Steps = []fleet.CommandStep{}
	}
}

// eventType takes an event type with or without its prefix.
func eventType(s string) event.Type {
	if s != "" && !strings.HasPrefix(s, "chargeyard.") {
		s = "chargeyard." + s
	}
	return event.Type(s)
}

type commandType string

// Schema implements huma.SchemaProvider.
func (commandType) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, t := range event.CommandTypes {
		s.Enum = append(s.Enum, string(t))
	}
	return s
}

type commandParams json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (p *commandParams) UnmarshalJSON(b []byte) error {
	*p = append((*p)[:0], b...)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (p commandParams) MarshalJSON() ([]byte, error) { return json.RawMessage(p).MarshalJSON() }

// Schema implements huma.SchemaProvider. Which object it is depends on the type
// of the command; x-params says which.
func (commandParams) Schema(r huma.Registry) *huma.Schema {
	byType := map[string]any{}
	for _, t := range event.CommandTypes {
		if p := fleet.CommandParams(t); p != nil {
			byType[string(t)] = r.Schema(reflect.TypeOf(p).Elem(), true, "")
		}
	}
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "The parameters of the command's type; x-params names the schema of each.",
		Extensions:  map[string]any{"x-params": byType},
	}
}

// CommandRequest is an order.
type CommandRequest struct {
	Type    commandType   `json:"type"`
	Gateway string        `json:"gateway,omitempty" doc:"For commands to a gateway itself, and where two gateways have a station of that identity."`
	Station string        `json:"station,omitempty" doc:"The manager's id of a station, or its identity."`
	EVSE    int           `json:"evse,omitempty" minimum:"0" doc:"0: any, or the whole station."`
	Params  commandParams `json:"params,omitempty"`
	Expires *time.Time    `json:"expires,omitempty" doc:"It is never executed after this time. Left out, a time that fits its type: 2 min for start, unlock and trigger; 5 min for questions, reserve, show_message, send_data and call; 15 min for reset and record; 24 h for update_firmware, settings and lists; 1 h for others; never later than params.until."`
}

// Idempotent lets a POST be repeated safely.
type Idempotent struct {
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"The same key with the same body again answers with the first command; with another body it is a conflict."`
}

// CommandPath names a command.
type CommandPath struct {
	ID string `path:"id" format:"uuid"`
}

func (a *API) commands() {
	type post struct {
		Idempotent
		Body CommandRequest
	}
	op := operation(fleet.RoleOperator, http.MethodPost, "/commands", "post-command", "Give a command", http.StatusConflict)
	op.DefaultStatus = http.StatusAccepted
	op.Description = "Needs the role operator or more, call the role admin. Follow the command with get-command or on the stream: " +
		"succeeded means that its effect was observed. record and get_log need no url: what they bring is found under recordings and logs then; " +
		"record finds the gateway of params.station by itself."
	register(a, op, func(ctx context.Context, who fleet.Access, in *post) (*output[fleet.Command], error) {
		return a.order(ctx, who, in.Key, in.Body)
	})
	type filter struct {
		Paging
		Gateway string `query:"gateway"`
		Station string `query:"station" doc:"The manager's id of a station, or its identity."`
		Status  string `query:"status" enum:"queued,sent,delivered,accepted,succeeded,rejected,unsupported,failed,expired,cancelled,indeterminate"`
		Type    string `query:"type"`
	}
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/commands", "list-commands", "List commands, newest first"),
		func(ctx context.Context, who fleet.Access, in *filter) (*listOutput[fleet.Command], error) {
			l, err := a.store.Commands(ctx, scopeOf(who), fleet.CommandFilter{
				Gateway: event.GatewayID(in.Gateway), Station: in.Station,
				Status: event.CommandState(in.Status), Type: event.CommandType(in.Type),
			}, in.fleet())
			return listed(l, err, tidyCommand)
		})
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/commands/{id}", "get-command", "Follow a command", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *CommandPath) (*output[fleet.Command], error) {
			c, err := a.store.Command(ctx, scopeOf(who), event.CommandID(in.ID))
			return one(c, err, tidyCommand)
		})
	type cancel struct {
		CommandPath
		Idempotent
	}
	op = operation(fleet.RoleOperator, http.MethodPost, "/commands/{id}/cancel", "cancel-command", "Take a command back",
		http.StatusNotFound, http.StatusConflict)
	op.DefaultStatus = http.StatusAccepted
	op.Description = "Needs the role operator or more. One that was never sent is cancelled at once. Of another its gateway decides, " +
		"before it reaches the device: follow the command. Repeating this changes nothing; one that has ended otherwise is a conflict."
	register(a, op, func(ctx context.Context, who fleet.Access, in *cancel) (*output[fleet.Command], error) {
		c, err := a.commander.Cancel(ctx, scopeOf(who), event.CommandID(in.ID))
		if err == nil && c.Status.Final() && c.Status != event.StateCancelled {
			return nil, huma.Error409Conflict(fmt.Sprintf("the command has ended already: %s", c.Status))
		}
		return one(c, err, tidyCommand)
	})
}

// order checks and queues a command.
func (a *API) order(ctx context.Context, who fleet.Access, key string, in CommandRequest) (*output[fleet.Command], error) {
	if in.Type == commandType(event.CommandCall) && rank(who.Role) < rank(fleet.RoleAdmin) {
		return nil, huma.Error403Forbidden("call hands a message to a station unseen: it needs the role admin")
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	sum := sha256.Sum256(body)
	bodyHash := hex.EncodeToString(sum[:])
	if key != "" {
		key = who.ID + "/" + key // each token has keys of its own
		// First of all: what was right when it was given may be too late by now, and
		// the answer to it is owed all the same.
		kept, err := a.store.CommandOf(ctx, who.Tenant, key, bodyHash)
		if !errors.Is(err, fleet.ErrNotFound) {
			return ordered(kept, err)
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make a command id: %w", err)
	}
	now := a.now().UTC().Truncate(time.Millisecond)
	c := fleet.Command{
		Command: event.Command{
			ID: event.CommandID(id.String()), Type: event.CommandType(in.Type), Station: event.StationID(in.Station),
			EVSE: in.EVSE, Params: json.RawMessage(in.Params), IssuedBy: who.Name,
		},
		Tenant: who.Tenant, Status: event.StateQueued, Created: now, Updated: now,
		Steps: []fleet.CommandStep{{State: event.StateQueued, At: now}},
	}
	if in.Expires != nil {
		c.Expires = *in.Expires
	}
	if c.IssuedBy == "" {
		c.IssuedBy = who.ID
	}
	if err := a.recorded(ctx, who, &in, &c); err != nil {
		return nil, err
	}
	if err := fleet.CompleteCommand(&c.Command, now); err != nil {
		var wrong *fleet.FieldError
		if errors.As(err, &wrong) {
			return nil, invalid("body."+wrong.Field, wrong.Reason, nil)
		}
		return nil, err
	}
	if err := a.address(ctx, who, in, &c); err != nil {
		return nil, err
	}
	if err := a.grant(ctx, &c); err != nil {
		return nil, err
	}
	return ordered(a.commander.Queue(ctx, c, key, bodyHash))
}

func ordered(kept fleet.Command, err error) (*output[fleet.Command], error) {
	if errors.Is(err, fleet.ErrConflict) {
		return nil, huma.Error409Conflict("this Idempotency-Key was used for another command")
	}
	return one(kept, err, tidyCommand)
}

// address finds the gateway, and the station, that a command is for.
func (a *API) address(ctx context.Context, who fleet.Access, in CommandRequest, c *fleet.Command) error {
	if c.Type.ForGateway() {
		if in.Gateway == "" {
			return invalid("body.gateway", string(c.Type)+" is for a gateway itself: expected one", nil)
		}
		g, err := a.known(ctx, who, in.Gateway)
		if errors.Is(err, fleet.ErrNotFound) {
			return invalid("body.gateway", "there is no such gateway, or not for your token", in.Gateway)
		}
		c.Gateway = g.ID
		return err
	}
	s, err := a.stationNamed(ctx, who, in.Station, in.Gateway)
	if err != nil {
		return err
	}
	c.Gateway, c.Target, c.Station = s.Gateway, s.ID, s.Identity
	return nil
}

// stationNamed finds a station by the manager's id or by its identity.
func (a *API) stationNamed(ctx context.Context, who fleet.Access, name, gateway string) (fleet.Station, error) {
	s, err := a.store.Station(ctx, scopeOf(who), name)
	if err == nil && (gateway == "" || s.Gateway == event.GatewayID(gateway)) {
		return s, nil
	}
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return fleet.Station{}, err
	}
	l, err := a.store.Stations(ctx, scopeOf(who),
		fleet.StationFilter{Identity: event.StationID(name), Gateway: event.GatewayID(gateway)}, fleet.Page{Limit: 2})
	if err != nil {
		return fleet.Station{}, err
	}
	switch len(l.Items) {
	case 0:
		return fleet.Station{}, invalid("body.station", "there is no such station, or not for your token", name)
	case 1:
		return l.Items[0], nil
	}
	return fleet.Station{}, invalid("body.station", "more than one station has this identity: expected a gateway too, or the manager's id", name)
}
