// Package api is the manager's HTTP API: business nouns under /api/v1, described
// by the OpenAPI document beside it, and a stream of what happens.
//
// Every answer is narrowed to the tenant and location of the asker's token.
// What cannot be tied to both is shown to nobody.
package api

import (
	"context"
	_ "embed" // the OpenAPI document
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Version is the version of the contract, not of the program.
const Version = "1.0.0"

const base = "/api/v1"

//go:embed openapi.json
var document []byte

// Store is what the API needs of the database.
type Store interface {
	fleet.Queries
	PlaceGateway(ctx context.Context, t fleet.Tenant, id event.GatewayID, location string) error
	PutLocation(ctx context.Context, l fleet.Location) error
	PutToken(ctx context.Context, t fleet.Token) error
	DeleteToken(ctx context.Context, t fleet.Tenant, value string) error
	Access(ctx context.Context, secretSHA256 string) (fleet.Access, error)
	CommandOf(ctx context.Context, t fleet.Tenant, idempotencyKey, bodyHash string) (fleet.Command, error)
	SetDesired(ctx context.Context, g event.GatewayID, section string, content []byte) error
	ChangeDesired(ctx context.Context, g event.GatewayID, section string, change func(old []byte) ([]byte, error)) error
	Desired(ctx context.Context, g event.GatewayID) (map[string][]byte, error)
}

// Commander takes orders.
type Commander interface {
	Queue(ctx context.Context, c fleet.Command, idempotencyKey, bodyHash string) (fleet.Command, error)
	Cancel(ctx context.Context, s fleet.Scope, id event.CommandID) (fleet.Command, error)
	TokenChanged(t fleet.Tenant, value string)
	DesiredChanged(g event.GatewayID, section string)
}

// Files takes in what is too large for a message.
type Files interface {
	// Grant gives out an address to which file is brought, for as long as a
	// command lives that ends at served, and a while longer. fleet.ErrNoAddress
	// where there is none.
	Grant(ctx context.Context, file fleet.File, served time.Time) (url string, err error)
	// Open opens a complete file; fleet.ErrNotFound for any other.
	Open(file fleet.File) (io.ReadSeekCloser, error)
}

// Bus is the way to the gateways.
type Bus interface {
	// Ready returns nil while gateways can be heard.
	Ready() error
}

// API answers requests.
type API struct {
	store     Store
	commander Commander
	bus       Bus
	hub       *Hub
	files     Files
	log       *slog.Logger
	now       func() time.Time
	huma      huma.API
}

// New registers the API on mux, whose requests are to pass through Problems.
func New(mux *http.ServeMux, store Store, commander Commander, bus Bus, hub *Hub, files Files, log *slog.Logger, now func() time.Time) *API {
	a := &API{store: store, commander: commander, bus: bus, hub: hub, files: files, log: log, now: now}
	config := huma.DefaultConfig("Chargeyard", Version)
	config.CreateHooks = nil // no links to schemas inside the answers
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.RejectUnknownQueryParameters = true
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "An API token: chargeyard-cloud token create makes one."},
	}
	config.Info.Description = "Everything that the charging manager knows and does, in business nouns. " +
		"Lists answer {items, next}: pass next as cursor until it is null. Errors are problem details (RFC 9457). " +
		"Within version 1 fields are only added."
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	a.huma = humago.New(mux, config)
	a.huma.UseMiddleware(a.authenticate)

	a.gateways()
	a.locations()
	a.stations()
	a.variables()
	a.admissions()
	a.sessions()
	a.events()
	a.deviations()
	a.security()
	a.commands()
	a.recordings()
	a.tokens()
	a.deadLetters()
	a.stream()
	mendSchemas(a.huma.OpenAPI())

	mux.HandleFunc("GET "+base+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write(document); err != nil {
			log.Debug("write OpenAPI document", "err", err)
		}
	})
	return a
}

// operation describes one of the API's operations; role is what its caller must
// have at least.
func operation(role fleet.Role, method, path, id, summary string, errs ...int) huma.Operation {
	tag, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	errs = append(errs, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	if method == http.MethodPost || method == http.MethodPut {
		errs = append(errs, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	return huma.Operation{
		OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{tag},
		Errors:      errs,
		Security:    []map[string][]string{{"token": {}}},
		Metadata:    map[string]any{roleKey: role},
		Description: "Needs the role " + string(role) + " or more.",
	}
}

// Paging is what every list takes.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Items at most."`
	Cursor string `query:"cursor" doc:"The next of the page before."`
}

func (p Paging) fleet() fleet.Page { return fleet.Page{Limit: p.Limit, Cursor: p.Cursor} }

// List is a part of a list.
type List[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next" doc:"Cursor of the next part; null at the end."`
}

type listOutput[T any] struct{ Body List[T] }

type output[T any] struct{ Body T }

// listed turns a part of a list into an answer.
func listed[T any](l fleet.List[T], err error, tidy func(*T)) (*listOutput[T], error) {
	if err != nil {
		return nil, err
	}
	out := &listOutput[T]{Body: List[T]{Items: l.Items}}
	if out.Body.Items == nil {
		out.Body.Items = []T{}
	}
	if tidy != nil {
		for i := range out.Body.Items {
			tidy(&out.Body.Items[i])
		}
	}
	if l.Next != "" {
		out.Body.Next = &l.Next
	}
	return out, nil
}

// one turns a single thing into an answer.
func one[T any](v T, err error, tidy func(*T)) (*output[T], error) {
	if err != nil {
		return nil, err
	}
	if tidy != nil {
		tidy(&v)
	}
	return &output[T]{Body: v}, nil
}

// register adds an operation whose errors become problem details.
func register[I, O any](a *API, op huma.Operation, handler func(context.Context, fleet.Access, *I) (*O, error)) {
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, accessOf(ctx), in)
		if err != nil {
			return nil, a.problem(ctx, op, err)
		}
		return out, nil
	})
}

// problem turns an error of the domain into one of HTTP.
func (a *API) problem(ctx context.Context, op huma.Operation, err error) error {
	var status huma.StatusError
	switch {
	case errors.As(err, &status):
		return err
	case errors.Is(err, fleet.ErrNotFound):
		return huma.Error404NotFound("there is no such thing, or not for your token")
	case errors.Is(err, fleet.ErrBadCursor):
		return invalid("query.cursor", "expected the next of the page before", nil)
	case errors.Is(err, fleet.ErrConflict):
		return huma.Error409Conflict(err.Error())
	case ctx.Err() != nil: // the asker has gone; nobody reads this
		return huma.Error503ServiceUnavailable("cancelled")
	}
	a.log.Error("request failed", "operation", op.OperationID, "err", err)
	return huma.Error500InternalServerError("the manager could not do this; its log says why")
}

// schemaName names a type in the OpenAPI document.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name, args, generic := strings.Cut(t.Name(), "[")
	if generic {
		if arg := args[strings.LastIndexAny(args, "./")+1:]; name == "List" {
			return strings.Trim(arg, "]") + "List" // List[…fleet.Session] is SessionList
		}
		return name
	}
	if t == reflect.TypeFor[event.Token]() {
		return "TokenValue" // what a driver shows; Token is what the manager knows of it
	}
	if t == reflect.TypeFor[fleet.Variable]() {
		return "StationVariable" // Variable is what a command names
	}
	if t == reflect.TypeFor[huma.ErrorModel]() {
		return "Problem"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// mendSchemas corrects what is generated: lists are never null, and answers may
// grow, so only what comes in is closed.
func mendSchemas(doc *huma.OpenAPI) {
	incoming := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Content {
				mark(doc.Components.Schemas, media.Schema, incoming)
			}
		}
	}
	for name, s := range doc.Components.Schemas.Map() {
		mend(s, !incoming[name])
	}
	// Always there, and null where no token was shown.
	token := doc.Components.Schemas.Map()["Session"].Properties
	token["token"] = &huma.Schema{OneOf: []*huma.Schema{token["token"], {Type: "null"}}}
}

// mark finds the schemas of which s is made.
func mark(r huma.Registry, s *huma.Schema, found map[string]bool) {
	if s == nil {
		return
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if found[name] {
			return
		}
		found[name] = true
		s = r.SchemaFromRef(s.Ref)
	}
	for _, p := range s.Properties {
		mark(r, p, found)
	}
	mark(r, s.Items, found)
	if params, ok := s.Extensions["x-params"].(map[string]any); ok {
		for _, p := range params {
			if schema, ok := p.(*huma.Schema); ok {
				mark(r, schema, found)
			}
		}
	}
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		mark(r, more, found)
	}
}

func mend(s *huma.Schema, open bool) {
	if s == nil {
		return
	}
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	if closed, ok := s.AdditionalProperties.(bool); ok && !closed && open {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		mend(p, open)
	}
	mend(s.Items, open)
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		mend(more, open)
	}
}

// Document is the OpenAPI document of what is registered. The one beside this
// file, which is served, is the same: a test sees to it.
func (a *API) Document() ([]byte, error) {
	b, err := json.MarshalIndent(a.huma.OpenAPI(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode OpenAPI document: %w", err)
	}
	return append(b, '\n'), nil
}
