package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/danielgtaylor/huma/v2"
)

// TokenChange is what the manager ought to know of a driver's token.
type TokenChange struct {
	Type    string     `json:"type,omitempty" default:"rfid" maxLength:"20" doc:"rfid, emaid, mac, central, …"`
	Status  string     `json:"status,omitempty" default:"accepted" enum:"accepted,blocked,expired,invalid"`
	Parent  string     `json:"parent,omitempty" maxLength:"255" doc:"The group: a session that one of it began, another may end."`
	Expires *time.Time `json:"expires,omitempty"`
	Label   string     `json:"label,omitempty" maxLength:"200" doc:"For people."`
}

// TokenRequest is a driver's token and what the manager ought to know of it.
type TokenRequest struct {
	Value string `json:"value" minLength:"1" maxLength:"255" doc:"As the card says; compared without regard to case."`
	TokenChange
}

// TokenPath names a driver's token.
type TokenPath struct {
	Value string `path:"value" minLength:"1" maxLength:"255" doc:"As the card says; compared without regard to case."`
}

func (a *API) tokens() {
	const narrowed = " A token that is narrowed to one location needs the role operator."
	op := operation(fleet.RoleViewer, http.MethodGet, "/tokens", "list-tokens", "List drivers' tokens")
	op.Description += narrowed
	register(a, op,
		func(ctx context.Context, who fleet.Access, in *Paging) (*listOutput[fleet.Token], error) {
			if err := maySeeTokens(who); err != nil {
				return nil, err
			}
			l, err := a.store.Tokens(ctx, scopeOf(who), in.fleet())
			return listed(l, err, nil)
		})
	op = operation(fleet.RoleViewer, http.MethodGet, "/tokens/{value}", "get-token", "Get a driver's token", http.StatusNotFound)
	op.Description += narrowed
	register(a, op,
		func(ctx context.Context, who fleet.Access, in *TokenPath) (*output[fleet.Token], error) {
			if err := maySeeTokens(who); err != nil {
				return nil, err
			}
			t, err := a.store.Token(ctx, who.Tenant, in.Value)
			return one(t, err, nil)
		})
	type put struct {
		TokenPath
		Body TokenChange
	}
	register(a, operation(fleet.RoleAdmin, http.MethodPut, "/tokens/{value}", "put-token", "Add or change a driver's token"),
		func(ctx context.Context, who fleet.Access, in *put) (*output[fleet.Token], error) {
			return a.putToken(ctx, who, in.Value, in.Body)
		})
	type post struct {
		Idempotent
		Body TokenRequest
	}
	op = operation(fleet.RoleAdmin, http.MethodPost, "/tokens", "post-token", "Add or change a driver's token")
	op.Description = "Needs the role admin. The same as put-token: repeating it changes nothing, with or without a key."
	register(a, op, func(ctx context.Context, who fleet.Access, in *post) (*output[fleet.Token], error) {
		return a.putToken(ctx, who, in.Body.Value, in.Body.TokenChange)
	})
	register(a, operation(fleet.RoleAdmin, http.MethodDelete, "/tokens/{value}", "delete-token", "Forget a driver's token", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *TokenPath) (*struct{}, error) {
			if err := wholeTenant(who); err != nil {
				return nil, err
			}
			if err := a.store.DeleteToken(ctx, who.Tenant, in.Value); err != nil {
				return nil, err
			}
			a.commander.TokenChanged(who.Tenant, in.Value)
			return nil, nil
		})
}

// maySeeTokens refuses a viewer of one location: drivers' tokens are those of
// the whole tenant, and whoever has one can copy the card.
func maySeeTokens(who fleet.Access) error {
	if who.Location != "" && rank(who.Role) < rank(fleet.RoleOperator) {
		return huma.Error403Forbidden("drivers' tokens are those of every location: expected the role operator, or a token that is not narrowed to one location")
	}
	return nil
}

func (a *API) putToken(ctx context.Context, who fleet.Access, value string, in TokenChange) (*output[fleet.Token], error) {
	if err := wholeTenant(who); err != nil {
		return nil, err
	}
	value = strings.TrimSpace(value)
	if value == "" {
		return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "value", Message: "expected a text that is not blank"})
	}
	t := fleet.Token{
		Tenant: who.Tenant, Type: in.Type, Value: value, Status: in.Status, Parent: in.Parent,
		Expires: in.Expires, Label: in.Label, Updated: a.now().UTC().Truncate(time.Millisecond),
	}
	if err := a.store.PutToken(ctx, t); err != nil {
		return nil, err
	}
	a.commander.TokenChanged(who.Tenant, value)
	kept, err := a.store.Token(ctx, who.Tenant, value)
	return one(kept, err, nil)
}
