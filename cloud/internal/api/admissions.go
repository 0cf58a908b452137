package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/danielgtaylor/huma/v2"
)

// Admission is a station that the manager has a gateway admit.
type Admission struct {
	ID              string          `json:"id" doc:"The manager's id of the station."`
	Gateway         event.GatewayID `json:"gateway"`
	Identity        event.StationID `json:"identity"`
	SecurityProfile int             `json:"security_profile" doc:"The least with which it may connect."`
	HasPassword     bool            `json:"has_password"`
	Registration    string          `json:"registration,omitempty" doc:"pending or rejected: it may connect and not charge; absent: accepted."`
	Password        string          `json:"password,omitempty" doc:"Shown once, in the answer to the request that made it: give it to the station."`
}

// AdmissionRequest admits a station. Passwords have the bounds of OCPP 2.0.1
// A00.FR.205 and of the keys of OCPP 1.6.
type AdmissionRequest struct {
	Gateway         string `json:"gateway" pattern:"^[a-z0-9][a-z0-9-]{0,39}$" doc:"The gateway at which it may connect."`
	Identity        string `json:"identity" minLength:"1" maxLength:"255" doc:"What the station calls itself."`
	Password        string `json:"password,omitempty" minLength:"16" maxLength:"40" doc:"Only its hash is kept."`
	NewPassword     bool   `json:"new_password,omitempty" doc:"Make a password. Security profiles 1 and 2 need one: without password it is made for them anyway, unless the station has one."`
	SecurityProfile int    `json:"security_profile,omitempty" minimum:"0" maximum:"3" doc:"The least with which it may connect: 0 plain, 1 password, 2 password and TLS, 3 a certificate of its own."`
	Registration    string `json:"registration,omitempty" enum:"accepted,pending,rejected" doc:"pending or rejected: it may connect and not charge."`
}

func (a *API) admissions() {
	type pending struct {
		Paging
		Gateway string `query:"gateway"`
	}
	op := operation(fleet.RoleViewer, http.MethodGet, "/pending-stations", "list-pending-stations",
		"List stations that knocked and that nobody has admitted, the last one first")
	op.Description += fmt.Sprintf(" At most %d of each gateway are remembered.", fleet.MaxPending)
	register(a, op, func(ctx context.Context, who fleet.Access, in *pending) (*listOutput[fleet.PendingStation], error) {
		l, err := a.store.PendingStations(ctx, scopeOf(who), event.GatewayID(in.Gateway), in.fleet())
		return listed(l, err, nil)
	})
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/admissions", "list-admissions",
		"List the stations that gateways admit because the manager says so"),
		func(ctx context.Context, who fleet.Access, in *pending) (*listOutput[Admission], error) {
			return a.listAdmissions(ctx, who, in.Gateway, in.Paging)
		})
	type post struct {
		Idempotent
		Body AdmissionRequest
	}
	op = operation(fleet.RoleAdmin, http.MethodPost, "/admissions", "post-admission", "Admit a station, or change how", http.StatusNotFound)
	op.Description += " The gateway learns of it within seconds, or with its next connection. A password is shown in this answer only, and good from then on: " +
		"repeating a request that makes one makes another, and the last counts."
	register(a, op, func(ctx context.Context, who fleet.Access, in *post) (*output[Admission], error) {
		return a.admit(ctx, who, in.Body)
	})
	type path struct {
		ID string `path:"id" doc:"The manager's id of the station."`
	}
	op = operation(fleet.RoleAdmin, http.MethodDelete, "/admissions/{id}", "delete-admission", "Withdraw the admission of a station", http.StatusNotFound)
	op.Description += " What the gateway's own file admits is admitted still."
	register(a, op, func(ctx context.Context, who fleet.Access, in *path) (*struct{}, error) {
		return nil, a.withdraw(ctx, who, in.ID)
	})
}

// admittedAt calls f with what every gateway in scope is to admit, in their
// order.
func (a *API) admittedAt(ctx context.Context, who fleet.Access, gateway string, f func(event.GatewayID, wire.Stations)) error {
	p := fleet.Page{Limit: 1000}
	for {
		l, err := a.store.Gateways(ctx, scopeOf(who), p)
		if err != nil {
			return err
		}
		for _, g := range l.Items {
			if gateway != "" && string(g.ID) != gateway || g.Connectivity.Value == fleet.Knocking {
				continue
			}
			own, err := a.store.Desired(ctx, g.ID)
			if err != nil {
				return err
			}
			s, err := readStations(own[wire.SectionStations])
			if err != nil {
				return fmt.Errorf("gateway %s: %w", g.ID, err)
			}
			f(g.ID, s)
		}
		if l.Next == "" {
			return nil
		}
		p.Cursor = l.Next
	}
}

func readStations(content []byte) (s wire.Stations, err error) {
	if content == nil {
		return s, nil
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return s, fmt.Errorf("section %s: %w", wire.SectionStations, err)
	}
	return s, nil
}

func admission(g event.GatewayID, s wire.AdmittedStation) Admission {
	out := Admission{
		ID: fleet.StationID(g, s.Identity), Gateway: g, Identity: s.Identity, SecurityProfile: s.Profile,
		HasPassword: s.PasswordHash != "" || len(s.PasswordHashes) > 0, Registration: s.Registration,
	}
	return out
}

func (a *API) listAdmissions(ctx context.Context, who fleet.Access, gateway string, p Paging) (*listOutput[Admission], error) {
	after := ""
	if p.Cursor != "" {
		b, err := base64.RawURLEncoding.DecodeString(p.Cursor)
		if err != nil || !strings.Contains(string(b), "/") {
			return nil, invalid("query.cursor", "expected the next of the page before", p.Cursor)
		}
		after = string(b)
	}
	key := func(x Admission) string { return string(x.Gateway) + "/" + string(x.Identity) }
	var items []Admission
	err := a.admittedAt(ctx, who, gateway, func(g event.GatewayID, s wire.Stations) {
		for _, st := range s.Stations {
			if x := admission(g, st); key(x) > after {
				items = append(items, x)
			}
		}
	})
	slices.SortFunc(items, func(x, y Admission) int { return strings.Compare(key(x), key(y)) })
	l := fleet.List[Admission]{Items: items}
	if len(items) > p.Limit {
		l.Items = items[:p.Limit]
		l.Next = base64.RawURLEncoding.EncodeToString([]byte(key(items[p.Limit-1])))
	}
	return listed(l, err, nil)
}

// admit has a gateway admit a station.
func (a *API) admit(ctx context.Context, who fleet.Access, in AdmissionRequest) (*output[Admission], error) {
	g, err := a.known(ctx, who, in.Gateway)
	if err != nil {
		return nil, err
	}
	if in.Password != "" && in.NewPassword {
		return nil, invalid("body.new_password", "expected either a password or the wish for a new one", nil)
	}
	identity := event.StationID(in.Identity)
	needs := in.SecurityProfile == 1 || in.SecurityProfile == 2
	password, hash := in.Password, ""
	if password == "" && (needs || in.NewPassword) {
		password = newPassword()
	}
	if password != "" {
		hash = hashPassword(password) // slow: not while the database waits
	}
	var out Admission
	err = a.store.ChangeDesired(ctx, g.ID, wire.SectionStations, func(old []byte) ([]byte, error) {
		s, err := readStations(old)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(s.Stations, func(st wire.AdmittedStation) bool { return st.Identity == identity })
		if i < 0 {
			s.Stations = append(s.Stations, wire.AdmittedStation{Identity: identity})
			i = len(s.Stations) - 1
		}
		st := &s.Stations[i]
		st.Profile, st.Registration = in.SecurityProfile, strings.TrimPrefix(in.Registration, "accepted")
		if in.Password == "" && !in.NewPassword && st.PasswordHash != "" {
			password, hash = "", "" // it keeps the one that it has
		}
		if hash != "" {
			st.PasswordHash, st.PasswordHashes = hash, nil
		}
		out = admission(g.ID, *st)
		return json.Marshal(s)
	})
	if err != nil {
		return nil, err
	}
	if in.Password == "" {
		out.Password = password
	}
	a.log.Info("station admitted", "gateway", g.ID, "station", identity, "profile", in.SecurityProfile, "by", who.Name)
	a.commander.DesiredChanged(g.ID, wire.SectionStations)
	return one(out, nil, nil)
}

// withdraw takes an admission back.
func (a *API) withdraw(ctx context.Context, who fleet.Access, id string) error {
	var gateway event.GatewayID
	err := a.admittedAt(ctx, who, "", func(g event.GatewayID, s wire.Stations) {
		if slices.ContainsFunc(s.Stations, func(st wire.AdmittedStation) bool { return fleet.StationID(g, st.Identity) == id }) {
			gateway = g
		}
	})
	if err != nil {
		return err
	}
	if gateway == "" {
		return huma.Error404NotFound("no gateway of yours admits that station because the manager says so")
	}
	gone := errors.New("withdrawn already")
	err = a.store.ChangeDesired(ctx, gateway, wire.SectionStations, func(old []byte) ([]byte, error) {
		s, err := readStations(old)
		if err != nil {
			return nil, err
		}
		left := slices.DeleteFunc(slices.Clone(s.Stations), func(st wire.AdmittedStation) bool { return fleet.StationID(gateway, st.Identity) == id })
		if len(left) == len(s.Stations) {
			return nil, gone
		}
		s.Stations = left
		if s.Stations == nil {
			s.Stations = []wire.AdmittedStation{}
		}
		return json.Marshal(s)
	})
	if errors.Is(err, gone) {
		return nil
	}
	if err == nil {
		a.log.Info("admission withdrawn", "gateway", gateway, "station", id, "by", who.Name)
		a.commander.DesiredChanged(gateway, wire.SectionStations)
	}
	return err
}
