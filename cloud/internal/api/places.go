package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// LocationChange is what may be changed about a location.
type LocationChange struct {
	Name string `json:"name" minLength:"1" maxLength:"200"`
}

func (a *API) locations() {
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/locations", "list-locations", "List locations"),
		func(ctx context.Context, who fleet.Access, in *Paging) (*listOutput[fleet.Location], error) {
			l, err := a.store.Locations(ctx, scopeOf(who), in.fleet())
			return listed(l, err, nil)
		})
	type putLocation struct {
		ID   string `path:"id" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"`
		Body LocationChange
	}
	register(a, operation(fleet.RoleAdmin, http.MethodPut, "/locations/{id}", "put-location", "Make or rename a location"),
		func(ctx context.Context, who fleet.Access, in *putLocation) (*output[fleet.Location], error) {
			if err := wholeTenant(who); err != nil {
				return nil, err
			}
			l := fleet.Location{ID: in.ID, Tenant: who.Tenant, Name: in.Body.Name}
			return one(l, a.store.PutLocation(ctx, l), nil)
		})
}

func (a *API) tidyStation(s *fleet.Station) {
	deaf := a.deaf()
	s.Connectivity.Stale = s.Connectivity.Stale || deaf
	s.Status.Stale = s.Status.Stale || deaf
	if s.EVSEs == nil {
		s.EVSEs = []fleet.EVSE{}
	}
	for i := range s.EVSEs {
		if s.EVSEs[i].Connectors == nil {
			s.EVSEs[i].Connectors = []fleet.Connector{}
		}
		for k := range s.EVSEs[i].Connectors {
			st := &s.EVSEs[i].Connectors[k].Status
			st.Stale = st.Stale || deaf
		}
	}
}

// StationPath names a station.
type StationPath struct {
	ID string `path:"id" doc:"The manager's id of the station."`
}

func (a *API) stations() {
	type filter struct {
		Paging
		Gateway      string `query:"gateway" doc:"The gateway behind which it stands."`
		Location     string `query:"location" doc:"The location where it stands."`
		Identity     string `query:"identity" doc:"What it calls itself; two gateways may have one of that name each."`
		Registration string `query:"registration" enum:"accepted,pending,rejected" doc:"The answer to its newest boot."`
	}
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/stations", "list-stations", "List stations"),
		func(ctx context.Context, who fleet.Access, in *filter) (*listOutput[fleet.Station], error) {
			l, err := a.store.Stations(ctx, scopeOf(who), fleet.StationFilter{
				Gateway: event.GatewayID(in.Gateway), Location: in.Location, Identity: event.StationID(in.Identity), Registration: in.Registration,
			}, in.fleet())
			return listed(l, err, a.tidyStation)
		})
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/stations/{id}", "get-station", "Get a station", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *StationPath) (*output[fleet.Station], error) {
			s, err := a.store.Station(ctx, scopeOf(who), in.ID)
			return one(s, err, a.tidyStation)
		})
	type timeline struct {
		StationPath
		Paging
		From time.Time `query:"from" doc:"Not before this time."`
		To   time.Time `query:"to" doc:"Before this time."`
	}
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/stations/{id}/timeline", "get-station-timeline",
		"What happened at a station, newest first: its events, and the statuses of its parts", http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *timeline) (*listOutput[TimelineItem], error) {
			s, err := a.store.Station(ctx, scopeOf(who), in.ID)
			if err != nil {
				return nil, err
			}
			return a.timeline(ctx, scopeOf(who), fleet.EventFilter{Station: s.ID, From: in.From, To: in.To}, in.Paging,
				statusesOf{station: s.ID, from: in.From, to: in.To})
		})
}

// TimelineItem is something that happened: an event, or the beginning of a
// status.
type TimelineItem struct {
	Time   time.Time             `json:"time"`
	Kind   string                `json:"kind" enum:"event,status"`
	Event  *fleet.Entry          `json:"event,omitempty"`
	Status *fleet.StatusInterval `json:"status,omitempty"`
}

// statusesOf names the status intervals that belong to a timeline.
type statusesOf struct {
	station  string
	from, to time.Time
}

// timeline merges a page of events with the statuses that began in its span of
// time. The pages' spans follow each other without a gap, so every status
// stands in exactly one page. The cursor is that of the events, after the lower
// end of the page's span.
func (a *API) timeline(ctx context.Context, s fleet.Scope, f fleet.EventFilter, p Paging, st statusesOf) (*listOutput[TimelineItem], error) {
	var upper time.Time // of this page's span; zero: open
	if p.Cursor != "" {
		var err error
		if upper, p.Cursor, err = splitCursor(p.Cursor); err != nil {
			return nil, err
		}
	}
	events, err := a.store.Events(ctx, s, f, p.fleet())
	if err != nil {
		return nil, err
	}
	items := make([]TimelineItem, 0, 2*len(events.Items))
	var lower time.Time // zero: open
	for i := range events.Items {
		e := &events.Items[i]
		items = append(items, TimelineItem{Time: e.Time, Kind: "event", Event: e})
		if events.Next != "" && (lower.IsZero() || e.Time.Before(lower)) {
			lower = e.Time
		}
	}
	if !upper.IsZero() && lower.After(upper) {
		lower = upper
	}
	statuses, err := a.statuses(ctx, s, st, lower, upper)
	if err != nil {
		return nil, err
	}
	for i := range statuses {
		items = append(items, TimelineItem{Time: statuses[i].From, Kind: "status", Status: &statuses[i]})
	}
	slices.SortStableFunc(items, func(x, y TimelineItem) int { return y.Time.Compare(x.Time) })
	next := ""
	if events.Next != "" {
		next = joinCursor(lower, events.Next)
	}
	return listed(fleet.List[TimelineItem]{Items: items, Next: next}, nil, nil)
}

// statuses returns the intervals that began in [lower, upper); zero is open.
func (a *API) statuses(ctx context.Context, s fleet.Scope, st statusesOf, lower, upper time.Time) ([]fleet.StatusInterval, error) {
	from, to := st.from, st.to
	if lower.After(from) {
		from = lower
	}
	if to.IsZero() || !upper.IsZero() && upper.Before(to) {
		to = upper
	}
	var out []fleet.StatusInterval
	p := fleet.Page{Limit: 1000}
	for {
		l, err := a.store.StatusIntervals(ctx, s, st.station, from, to, p)
		if err != nil {
			return nil, err
		}
		for _, i := range l.Items {
			// What was running already at the lower end stands in an older page.
			if !i.From.Before(from) && (to.IsZero() || i.From.Before(to)) {
				out = append(out, i)
			}
		}
		if l.Next == "" {
			return out, nil
		}
		p.Cursor = l.Next
	}
}
