package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/danielgtaylor/huma/v2"
)

// GatewayPath names a gateway.
type GatewayPath struct {
	ID string `path:"id" pattern:"^[a-z0-9][a-z0-9-]{0,39}$" doc:"The gateway's id."`
}

// deaf tells whether no gateway can be heard: then every value is stale.
func (a *API) deaf() bool { return a.bus.Ready() != nil }

func (a *API) tidyGateway(g *fleet.Gateway) {
	g.Connectivity.Stale = g.Connectivity.Stale || a.deaf()
	if g.Lanes == nil {
		g.Lanes = []fleet.LaneState{}
	}
	if g.Alarms == nil {
		g.Alarms = []fleet.Alarm{}
	}
}

// GatewayChange is what may be changed about a gateway.
type GatewayChange struct {
	Location string `json:"location" minLength:"1" maxLength:"64" doc:"Where it stands: the id of a location."`
}

// DesiredSections are the revisions of the sections that were set by hand.
type DesiredSections struct {
	Sections map[string]DesiredSection `json:"sections"`
}

// DesiredSection is one section of desired state.
type DesiredSection struct {
	Revision string          `json:"revision" doc:"Hash of the content; the event gateway.applied names it."`
	Content  json.RawMessage `json:"content"`
}

func (a *API) gateways() {
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/gateways", "list-gateways", "List gateways"),
		func(ctx context.Context, who fleet.Access, in *Paging) (*listOutput[fleet.Gateway], error) {
			l, err := a.store.Gateways(ctx, scopeOf(who), in.fleet())
			return listed(l, err, a.tidyGateway)
		})
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/gateways/{id}", "get-gateway", "Get a gateway", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *GatewayPath) (*output[fleet.Gateway], error) {
			g, err := a.store.Gateway(ctx, scopeOf(who), event.GatewayID(in.ID))
			return one(g, err, a.tidyGateway)
		})
	type putGateway struct {
		GatewayPath
		Body GatewayChange
	}
	register(a, operation(fleet.RoleAdmin, http.MethodPut, "/gateways/{id}", "put-gateway", "Say where a gateway stands", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *putGateway) (*output[fleet.Gateway], error) {
			if err := wholeTenant(who); err != nil {
				return nil, err
			}
			g, err := a.known(ctx, who, in.ID)
			if err != nil {
				return nil, err
			}
			if err := a.store.PlaceGateway(ctx, who.Tenant, g.ID, in.Body.Location); err != nil {
				return nil, err
			}
			g, err = a.store.Gateway(ctx, scopeOf(who), g.ID)
			return one(g, err, a.tidyGateway)
		})
	a.desired()
}

// known returns a gateway that somebody has added.
func (a *API) known(ctx context.Context, who fleet.Access, id string) (fleet.Gateway, error) {
	g, err := a.store.Gateway(ctx, scopeOf(who), event.GatewayID(id))
	if err == nil && g.Connectivity.Value == fleet.Knocking {
		err = fmt.Errorf("gateway %s only knocks: %w", id, fleet.ErrNotFound)
	}
	return g, err
}

func (a *API) desired() {
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/gateways/{id}/desired", "get-desired",
		"Get the desired state of a gateway that was set by hand; password hashes are shown to admins", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *GatewayPath) (*output[DesiredSections], error) {
			g, err := a.known(ctx, who, in.ID)
			if err != nil {
				return nil, err
			}
			own, err := a.store.Desired(ctx, g.ID)
			if err != nil {
				return nil, err
			}
			out := DesiredSections{Sections: map[string]DesiredSection{}}
			for _, name := range slices.Sorted(maps.Keys(own)) {
				section := DesiredSection{Revision: wire.Revision(own[name]), Content: own[name]}
				if name == wire.SectionStations && rank(who.Role) < rank(fleet.RoleAdmin) {
					if section.Content, err = withoutHashes(own[name]); err != nil {
						return nil, err
					}
				}
				out.Sections[name] = section
			}
			return one(out, nil, nil)
		})
	type putSite struct {
		GatewayPath
		Body wire.SitePlan
	}
	register(a, operation(fleet.RoleAdmin, http.MethodPut, "/gateways/{id}/desired/site", "put-site-plan",
		"Set what holds at a gateway's site when no command does", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *putSite) (*output[DesiredSection], error) {
			if err := checkPlan(in.Body); err != nil {
				return nil, err
			}
			return a.setDesired(ctx, who, in.ID, wire.SectionSite, in.Body)
		})
	type putStations struct {
		GatewayPath
		Body wire.Stations
	}
	register(a, operation(fleet.RoleAdmin, http.MethodPut, "/gateways/{id}/desired/stations", "put-admitted-stations",
		"Set which stations a gateway admits beside those in its own file", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *putStations) (*output[DesiredSection], error) {
			if err := checkAdmitted(in.Body); err != nil {
				return nil, err
			}
			return a.setDesired(ctx, who, in.ID, wire.SectionStations, in.Body)
		})
}

func (a *API) setDesired(ctx context.Context, who fleet.Access, id, section string, content any) (*output[DesiredSection], error) {
	g, err := a.known(ctx, who, id)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode section %s: %w", section, err)
	}
	if err := a.store.SetDesired(ctx, g.ID, section, plain); err != nil {
		return nil, err
	}
	a.commander.DesiredChanged(g.ID, section)
	return one(DesiredSection{Revision: wire.Revision(plain), Content: plain}, nil, nil)
}

// checkPlan refuses a plan that could blow a fuse, as the gateway would.
func checkPlan(p wire.SitePlan) error {
	for station, amps := range p.FallbackA {
		if amps < 0 {
			return invalid("body.fallback_a."+string(station), "expected 0 A or more", amps)
		}
	}
	for station, amps := range p.LimitA {
		if amps < 0 {
			return invalid("body.limit_a."+string(station), "expected 0 A or more", amps)
		}
	}
	for i, c := range p.Circuits {
		at := fmt.Sprintf("body.circuits[%d]", i)
		if c.Name == "" {
			return invalid(at+".name", "expected a name", c.Name)
		}
		if c.LimitA <= 0 {
			return invalid(at+".limit_a", "expected more than 0 A", c.LimitA)
		}
		sum := 0.0
		for _, s := range c.Stations {
			sum += p.FallbackA[s]
		}
		if sum > c.LimitA {
			return invalid(at+".stations", fmt.Sprintf("the fallbacks of circuit %s together are %g A, expected at most its limit of %g A", c.Name, sum, c.LimitA), c.Stations)
		}
	}
	return nil
}

// withoutHashes is a stations section for those who are not to guess passwords.
func withoutHashes(content []byte) ([]byte, error) {
	s, err := readStations(content)
	if err != nil {
		return nil, err
	}
	for i := range s.Stations {
		s.Stations[i].PasswordHash, s.Stations[i].PasswordHashes = "", nil
	}
	return json.Marshal(s)
}

func checkAdmitted(s wire.Stations) error {
	seen := map[event.StationID]bool{}
	for i, st := range s.Stations {
		at := fmt.Sprintf("body.stations[%d].identity", i)
		switch {
		case st.Identity == "" || len(st.Identity) > 255:
			return invalid(at, "expected an identity of 1 to 255 characters", st.Identity)
		case seen[st.Identity]:
			return invalid(at, "is there twice", st.Identity)
		case st.Profile < 0 || st.Profile > 3:
			return invalid(fmt.Sprintf("body.stations[%d].security_profile", i), "expected 0 to 3", st.Profile)
		case !slices.Contains([]string{"", "accepted", "pending", "rejected"}, st.Registration):
			return invalid(fmt.Sprintf("body.stations[%d].registration", i), "expected accepted, pending or rejected", st.Registration)
		}
		seen[st.Identity] = true
	}
	return nil
}

// invalid is a 422 that names the field.
func invalid(location, message string, value any) error {
	return huma.Error422UnprocessableEntity("validation failed",
		&huma.ErrorDetail{Location: location, Message: message, Value: value})
}
