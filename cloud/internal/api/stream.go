package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	streamPart  = 500              // events read from the log at a time
	streamWrite = 10 * time.Second // a listener that does not read for so long is cut
	// streamPulse is how often a silent stream says that it lives. It looks into
	// the log then too, and after its token: another manager may have written.
	streamPulse = 10 * time.Second
)

// anew is what holds for a place in a log that was restored since.
const anew = "After the database was restored from an older copy, the id of an earlier incarnation resumes after the last event that both logs have in common; " +
	"where that is not known, or the position lies beyond the end, with the oldest. Then some events come again, with other positions: their `id` tells them."

func (a *API) stream() {
	type listen struct {
		LastEventID string `header:"Last-Event-ID" pattern:"^([0-9a-f]{8}\\.)?[0-9]{1,18}$" doc:"The id of the last event that was received: what came after it is sent first. Without it the stream begins now."`
	}
	op := operation(fleet.RoleViewer, http.MethodGet, "/stream", "stream", "Listen to what happens")
	op.Description = "Needs the role viewer or more. Server-sent events. `event` carries one event of the log; its id is the incarnation of the database and its position, like 0f3c1b2a.42. " +
		"`live` the newest power and state of what stands behind one gateway, and `gateway` that one came or went, both without id: " +
		"they are never repeated. A listener that does not read is cut; it resumes with Last-Event-ID. A token that is taken away ends its streams within 10 s. " +
		anew
	reg := a.huma.OpenAPI().Components.Schemas
	var kinds []*huma.Schema
	for _, k := range []struct {
		name string
		data any
	}{{"event", fleet.Entry{}}, {"live", LiveMessage{}}, {"gateway", GatewayMessage{}}} {
		kinds = append(kinds, &huma.Schema{
			Type: huma.TypeObject, Title: k.name, Required: []string{"event", "data"},
			Properties: map[string]*huma.Schema{
				"id":    {Type: huma.TypeString, Description: "Only of event: incarnation and position."},
				"event": {Type: huma.TypeString, Enum: []any{k.name}},
				"data":  reg.Schema(reflect.TypeOf(k.data), true, k.name),
			},
		})
	}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Messages, each as its fields stand in the stream; data is one line of JSON.",
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{OneOf: kinds}},
		}},
	}}
	register(a, op, func(ctx context.Context, who fleet.Access, in *listen) (*huma.StreamResponse, error) {
		scope := scopeOf(who)
		incarnation, err := a.incarnation(ctx)
		if err != nil {
			return nil, err
		}
		position, err := a.beginning(ctx, scope, in.LastEventID)
		if err != nil {
			return nil, err
		}
		listener, err := a.hub.join(ctx, scope)
		if err != nil {
			return nil, err
		}
		if listener == nil {
			return nil, huma.Error503ServiceUnavailable("too many listen already, or the manager is stopping")
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			defer a.hub.leave(listener)
			_, w := humago.Unwrap(hctx)
			a.serve(hctx.Context(), w, listener, who, incarnation, position)
		}}, nil
	})
}

// beginning is the position after which a stream begins.
func (a *API) beginning(ctx context.Context, s fleet.Scope, last string) (int64, error) {
	if last != "" {
		return a.place(ctx, last)
	}
	newest, err := a.store.Events(ctx, s, fleet.EventFilter{}, fleet.Page{Limit: 1})
	if err != nil || len(newest.Items) == 0 {
		return 0, err
	}
	return newest.Items[0].Position, nil
}

// incarnation is the beginning of the name of the present one.
func (a *API) incarnation(ctx context.Context) (string, error) {
	name, err := a.store.Incarnation(ctx)
	return name[:min(8, len(name))], err
}

// place is the position that goes on after a place in the log: a position, or
// incarnation.position as a stream names it.
func (a *API) place(ctx context.Context, last string) (int64, error) {
	incarnation, number, named := strings.Cut(last, ".")
	if !named {
		incarnation, number = "", last
	}
	position, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("place in the log: %w", err) // the pattern lets none through
	}
	return a.store.Resume(ctx, incarnation, position)
}

// serve writes to one listener until it leaves, is cut or the hub ends.
func (a *API) serve(ctx context.Context, w http.ResponseWriter, l *audience, who fleet.Access, incarnation string, position int64) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	pulse := time.NewTicker(streamPulse)
	defer pulse.Stop()
	out := &sseWriter{w: w}
	asked := time.Now()
	for {
		if now := time.Now(); now.Sub(asked) >= streamPulse {
			if asked = now; !a.stands(ctx, who) {
				a.log.Info("stream ends: its token was taken away or changed", "token", who.ID)
				return
			}
		}
		if err := control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
			a.log.Error("set deadline of a stream", "err", err)
			return
		}
		next, err := a.tell(ctx, out, l.scope, incarnation, position)
		if err != nil {
			if ctx.Err() == nil {
				a.log.Error("read the log for a stream", "err", err)
			}
			return
		}
		position = next
		gateways, live := l.take()
		for _, m := range gateways {
			out.message("", "gateway", m)
		}
		for _, m := range live {
			out.message("", "live", m)
		}
		if out.err == nil {
			out.err = control.Flush()
		}
		if out.err != nil {
			if ctx.Err() == nil {
				a.hub.cut.Inc()
				a.log.Info("stream cut: its listener does not read", "err", out.err)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-l.done:
			return
		case <-l.wake:
		case <-pulse.C:
			out.comment("here")
		}
	}
}

// tell writes what came into the log after position and returns the new one.
func (a *API) tell(ctx context.Context, out *sseWriter, s fleet.Scope, incarnation string, position int64) (int64, error) {
	write := func(entries []fleet.Entry) {
		for i := range entries {
			out.message(incarnation+"."+strconv.FormatInt(entries[i].Position, 10), "event", &entries[i])
			position = entries[i].Position
		}
	}
	for out.err == nil {
		l, err := a.store.Events(ctx, s, fleet.EventFilter{Rising: true, After: position}, fleet.Page{Limit: streamPart})
		if err != nil {
			return position, err
		}
		write(l.Items)
		if len(l.Items) < streamPart {
			break
		}
	}
	return position, nil
}

// sseWriter writes server-sent events and remembers the first error.
type sseWriter struct {
	w   io.Writer
	err error
}

func (s *sseWriter) message(id, kind string, data any) {
	if s.err != nil {
		return
	}
	line, err := json.Marshal(data) // one line: JSON escapes line breaks
	if err != nil {
		s.err = fmt.Errorf("encode %s: %w", kind, err)
		return
	}
	b := make([]byte, 0, len(line)+64)
	if id != "" {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	b = append(append(append(b, "event: "...), kind...), "\ndata: "...)
	b = append(append(b, line...), "\n\n"...)
	_, s.err = s.w.Write(b)
}

func (s *sseWriter) comment(text string) {
	if s.err == nil {
		_, s.err = io.WriteString(s.w, ": "+text+"\n\n")
	}
}
