package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/danielgtaylor/huma/v2"
)

// FilePath names a file.
type FilePath struct {
	ID string `path:"id" doc:"The file's id."`
}

type filesFilter struct {
	Paging
	Gateway string    `query:"gateway"`
	Station string    `query:"station" doc:"The manager's id of a station, or its identity."`
	Command string    `query:"command" doc:"The command that asked for it."`
	State   string    `query:"state" enum:"waiting,complete,lapsed"`
	From    time.Time `query:"from" doc:"What was asked for reaches beyond this time."`
	To      time.Time `query:"to" doc:"What was asked for begins before this time."`
}

// recordings registers the files that commands bring.
func (a *API) recordings() {
	a.filesOf(fleet.FileRecording, "recordings", "recording", fleet.RoleViewer, "application/x-ndjson",
		"List recordings of what stations and gateways said to each other, newest first",
		" The command record brings one. Each line is a frame: {time, direction (in: of the station), frame}; passwords and keys are taken out.")
	a.filesOf(fleet.FileLog, "logs", "log", fleet.RoleOperator, "application/octet-stream",
		"List logs of stations, newest first", " The command get_log without an url brings one, in whatever form its maker has chosen.")
}

func (a *API) filesOf(kind, plural, one string, read fleet.Role, media, summary, about string) {
	op := operation(fleet.RoleViewer, http.MethodGet, "/"+plural, "list-"+plural, summary)
	op.Description += about
	register(a, op, func(ctx context.Context, who fleet.Access, in *filesFilter) (*listOutput[fleet.File], error) {
		l, err := a.store.Files(ctx, scopeOf(who), fleet.FileFilter{
			Kind: kind, Gateway: event.GatewayID(in.Gateway), Station: in.Station, Command: event.CommandID(in.Command),
			State: in.State, From: in.From, To: in.To,
		}, in.fleet())
		return listed(l, err, nil)
	})
	register(a, operation(fleet.RoleViewer, http.MethodGet, "/"+plural+"/{id}", "get-"+one, "Get what is known of a "+one, http.StatusNotFound),
		func(ctx context.Context, who fleet.Access, in *FilePath) (*output[fleet.File], error) {
			f, err := a.fileOf(ctx, who, kind, in.ID)
			if err != nil {
				return nil, err
			}
			return &output[fleet.File]{Body: f}, nil
		})
	op = operation(read, http.MethodGet, "/"+plural+"/{id}/content", "get-"+one+"-content", "Fetch a "+one, http.StatusNotFound)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The file.",
		Content:     map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	register(a, op, func(ctx context.Context, who fleet.Access, in *FilePath) (*huma.StreamResponse, error) {
		f, err := a.fileOf(ctx, who, kind, in.ID)
		if err != nil {
			return nil, err
		}
		r, err := a.files.Open(f)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(out huma.Context) {
			out.SetHeader("Content-Type", media)
			out.SetHeader("Content-Length", fmt.Sprint(f.Size))
			out.SetHeader("Content-Disposition", `attachment; filename="`+kind+"-"+f.ID+`"`)
			_, err := io.Copy(out.BodyWriter(), r)
			if err := errors.Join(err, r.Close()); err != nil {
				a.log.Debug("send a file", "file", f.ID, "err", err)
			}
		}}, nil
	})
}

func (a *API) fileOf(ctx context.Context, who fleet.Access, kind, id string) (fleet.File, error) {
	f, err := a.store.File(ctx, scopeOf(who), id)
	if err == nil && f.Kind != kind {
		err = fmt.Errorf("%s is a %s: %w", id, f.Kind, fleet.ErrNotFound)
	}
	return f, err
}

// recorded completes the order of a recording: its station may be named by the
// manager's id, and tells the gateway.
func (a *API) recorded(ctx context.Context, who fleet.Access, in *CommandRequest, c *fleet.Command) error {
	if c.Type != event.CommandRecord {
		return nil
	}
	var p event.RecordParams
	if err := json.Unmarshal(c.Params, &p); err != nil || p.Station == "" {
		return nil //nolint:nilerr // whoever checks the command says so
	}
	s, err := a.stationNamed(ctx, who, string(p.Station), in.Gateway)
	var refused *huma.ErrorModel
	if errors.As(err, &refused) && in.Gateway != "" {
		return nil // one that only its gateway knows: it was refused at the door
	}
	if errors.As(err, &refused) {
		return invalid("body.params.station", "there is no such station, or not for your token, or several: expected a gateway too", p.Station)
	}
	if err != nil {
		return err
	}
	in.Gateway, p.Station, c.Target = string(s.Gateway), s.Identity, s.ID
	if c.Params, err = json.Marshal(p); err != nil {
		return fmt.Errorf("encode parameters: %w", err)
	}
	return nil
}

// grant gives a command that brings a file the address to which it is brought,
// unless it names another.
func (a *API) grant(ctx context.Context, c *fleet.Command) error {
	file := fleet.File{Tenant: c.Tenant, Gateway: c.Gateway, Command: c.ID}
	var with func(url string) any
	switch c.Type {
	case event.CommandRecord:
		var p event.RecordParams
		if err := json.Unmarshal(c.Params, &p); err != nil || p.URL != "" {
			return err
		}
		file.Kind, file.Identity = fleet.FileRecording, p.Station
		file.From, file.To = moment(p.From), moment(p.To)
		with = func(url string) any { p.URL = url; return p }
	case event.CommandGetLog:
		var p event.GetLogParams
		if err := json.Unmarshal(c.Params, &p); err != nil || p.URL != "" {
			return err
		}
		file.Kind, file.Identity = fleet.FileLog, c.Station
		file.From, file.To = moment(p.From), moment(p.To)
		with = func(url string) any { p.URL = url; return p }
	default:
		return nil
	}
	if file.To == nil {
		file.To = &c.Created // nothing later was there to be asked for
	}
	file.Station = fleet.StationID(c.Gateway, file.Identity)
	url, err := a.files.Grant(ctx, file, c.Expires)
	if errors.Is(err, fleet.ErrNoAddress) {
		return invalid("body.params.url", "expected one: "+err.Error(), nil)
	}
	if err != nil {
		return err
	}
	c.Params, err = json.Marshal(with(url))
	return err
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
