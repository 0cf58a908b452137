package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is the committed OpenAPI document.
type contract struct {
	paths    map[string]map[string]operation
	compiler *jsonschema.Compiler
}

type operation struct {
	ID        string `json:"operationId"`
	Responses map[string]struct {
		Content map[string]struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"content"`
	} `json:"responses"`
}

// readContract reads the document. Answers may grow, says the document; the test
// is stricter, so that nothing is answered that it does not tell of.
func readContract(t *testing.T) *contract {
	t.Helper()
	raw, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	closeObjects(doc)
	c := &contract{compiler: jsonschema.NewCompiler()}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		OpenAPI string                          `json:"openapi"`
		Paths   map[string]map[string]operation `json:"paths"`
	}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(parsed.OpenAPI, "3.1") {
		t.Errorf("openapi %s, want 3.1", parsed.OpenAPI)
	}
	c.paths = parsed.Paths
	return c
}

// closeObjects lets every object hold only what it names.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"].(map[string]any); ok && v["type"] == "object" {
			if _, says := v["additionalProperties"]; !says {
				v["additionalProperties"] = false
			}
		}
		for _, e := range v {
			closeObjects(e)
		}
	case []any:
		for _, e := range v {
			closeObjects(e)
		}
	}
}

// check compares an answer with what the document says of the operation.
func (c *contract) check(method, path string, a answer) error {
	op, ok := c.paths["/api/v1"+path][strings.ToLower(method)]
	if !ok {
		return fmt.Errorf("the document knows no %s %s", method, path)
	}
	status := fmt.Sprint(a.status)
	response, ok := op.Responses[status]
	if !ok {
		return fmt.Errorf("%s %s: the document knows no answer %s: %s", method, path, status, a.body)
	}
	if len(response.Content) == 0 {
		if len(a.body) > 0 {
			return fmt.Errorf("%s %s: the document knows no body of %s, got %s", method, path, status, a.body)
		}
		return nil
	}
	kind := a.header.Get("Content-Type")
	if _, ok := response.Content[kind]; !ok {
		return fmt.Errorf("%s %s: the document knows no %s as answer %s", method, path, kind, status)
	}
	at := []string{"paths", "/api/v1" + path, strings.ToLower(method), "responses", status, "content", kind, "schema"}
	for i := range at {
		at[i] = url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(at[i]))
	}
	schema, err := c.compiler.Compile("openapi.json#/" + strings.Join(at, "/"))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if !strings.HasSuffix(kind, "json") || kind == "application/x-ndjson" {
		return nil
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", method, path, err, a.body)
	}
	if err := schema.Validate(body); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", method, path, err, a.body)
	}
	return nil
}

// TestContract asks every operation of the document, and compares the answers,
// good and bad, with it.
func TestContract(t *testing.T) {
	c := readContract(t)
	y := open(t)
	y.day()
	y.evening()
	station := read[struct{ Items []fleet.Station }](y, admin, "/stations?gateway=gw-1&identity=CP1").Items[0].ID
	session := string(northSession)
	order := y.ask(operator, "POST", "/commands", `{"type":"unlock","station":"`+station+`","evse":1}`)
	var command fleet.Command
	y.must(json.Unmarshal(order.body, &command))
	waiting := y.ask(operator, "POST", "/commands", `{"type":"stop","station":"`+station+`"}`)
	var doomed fleet.Command
	y.must(json.Unmarshal(waiting.body, &doomed))
	recording := y.bring(`{"type":"record","params":{"station":"`+station+`"}}`, `{"time":"`+time.Now().UTC().Format(time.RFC3339Nano)+`","direction":"in","frame":[2,"1","Heartbeat",{}]}`)
	record := y.bring(`{"type":"get_log","station":"`+station+`"}`, "log")
	admitted := fleet.StationID("gw-1", "X1")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)

	type request struct {
		method, template string
		params           map[string]string // of the path
		query            string
		token, body      string
		header           []string
		status           int
	}
	p := func(k, v string) map[string]string { return map[string]string{k: v} }
	requests := []request{
		{method: "GET", template: "/gateways", status: 200},
		{method: "GET", template: "/gateways", query: "limit=1", status: 200},
		{method: "GET", template: "/gateways", query: "limit=0", status: 422},
		{method: "GET", template: "/gateways", query: "cursor=nonsense", status: 422},
		{method: "GET", template: "/gateways", token: "none", status: 401},
		{method: "GET", template: "/gateways/{id}", params: p("id", "gw-1"), status: 200},
		{method: "GET", template: "/gateways/{id}", params: p("id", "gw-9"), status: 200},
		{method: "GET", template: "/gateways/{id}", params: p("id", "gw-8"), status: 404},
		{method: "GET", template: "/gateways/{id}", params: p("id", "GW"), status: 422},
		{method: "PUT", template: "/gateways/{id}", params: p("id", "gw-2"), body: `{"location":"south"}`, status: 200},
		{method: "PUT", template: "/gateways/{id}", params: p("id", "gw-9"), body: `{"location":"south"}`, status: 404},
		{method: "PUT", template: "/gateways/{id}", params: p("id", "gw-2"), body: `{"place":"south"}`, status: 422},
		{method: "PUT", template: "/gateways/{id}", params: p("id", "gw-2"), body: `{"location":"south"}`, token: operator, status: 403},
		{method: "PUT", template: "/gateways/{id}/desired/site", params: p("id", "gw-1"), body: `{"fallback_a":{"CP1":6},"circuits":[{"name":"main","limit_a":32,"stations":["CP1"]}]}`, status: 200},
		{method: "PUT", template: "/gateways/{id}/desired/site", params: p("id", "gw-1"), body: `{"fallback_a":{"CP1":60},"circuits":[{"name":"main","limit_a":32,"stations":["CP1"]}]}`, status: 422},
		{method: "PUT", template: "/gateways/{id}/desired/site", params: p("id", "gw-8"), body: `{}`, status: 404},
		{method: "PUT", template: "/gateways/{id}/desired/stations", params: p("id", "gw-1"), body: `{"stations":[{"identity":"CP1"},{"identity":"CP2"}]}`, status: 200},
		{method: "PUT", template: "/gateways/{id}/desired/stations", params: p("id", "gw-1"), body: `{"stations":[{"identity":"CP1"},{"identity":"CP1"}]}`, status: 422},
		{method: "GET", template: "/gateways/{id}/desired", params: p("id", "gw-1"), status: 200},
		{method: "GET", template: "/locations", status: 200},
		{method: "PUT", template: "/locations/{id}", params: p("id", "east"), body: `{"name":"The east"}`, status: 200},
		{method: "PUT", template: "/locations/{id}", params: p("id", "east"), body: `{"name":""}`, status: 422},
		{method: "GET", template: "/stations", status: 200},
		{method: "GET", template: "/stations", query: "location=north&gateway=gw-1&identity=CP2", status: 200},
		{method: "GET", template: "/stations", query: "colour=red", status: 422},
		{method: "GET", template: "/stations/{id}", params: p("id", station), status: 200},
		{method: "GET", template: "/stations/{id}", params: p("id", "none"), status: 404},
		{method: "GET", template: "/stations/{id}/timeline", params: p("id", station), status: 200},
		{method: "GET", template: "/stations/{id}/timeline", params: p("id", station), query: "limit=2&from=2020-01-01T00:00:00Z&to=" + until, status: 200},
		{method: "GET", template: "/stations/{id}/timeline", params: p("id", station), query: "cursor=x", status: 422},
		{method: "GET", template: "/stations/{id}/timeline", params: p("id", station), query: "cursor=0~x", status: 422},
		{method: "GET", template: "/stations/{id}/timeline", params: p("id", "none"), status: 404},
		{method: "GET", template: "/stations", query: "registration=pending", status: 200},
		{method: "GET", template: "/stations", query: "registration=odd", status: 422},
		{method: "GET", template: "/stations/{id}/variables", params: p("id", "CP3"), status: 200},
		{method: "GET", template: "/stations/{id}/variables", params: p("id", "CP3"), query: "component=evse&variable=power&evse=1&limit=1", status: 200},
		{method: "GET", template: "/stations/{id}/variables", params: p("id", "none"), status: 404},
		{method: "GET", template: "/deviations", status: 200},
		{method: "GET", template: "/deviations", query: "by=model&vendor=V&model=W&kind=bad_time&gateway=gw-1&station=CP3", status: 200},
		{method: "GET", template: "/deviations", query: "by=colour", status: 422},
		{method: "GET", template: "/deviations", query: "cursor=x", status: 422},
		{method: "GET", template: "/security-events", status: 200},
		{method: "GET", template: "/security-events", query: "critical=true&station=CP3&gateway=gw-1&event=tamperdetectionactivated&from=2020-01-01T00:00:00Z&to=" + until, status: 200},
		{method: "GET", template: "/security-events", query: "critical=perhaps", status: 422},
		{method: "GET", template: "/pending-stations", status: 200},
		{method: "GET", template: "/pending-stations", query: "gateway=gw-1&limit=1", status: 200},
		{method: "POST", template: "/admissions", body: `{"gateway":"gw-1","identity":"X1","security_profile":1}`, header: []string{"Idempotency-Key", "k9"}, status: 200},
		{method: "POST", template: "/admissions", body: `{"gateway":"gw-1","identity":"X1","password":"short"}`, status: 422},
		{method: "POST", template: "/admissions", body: `{"gateway":"gw-1","identity":"X1","security_profile":4}`, status: 422},
		{method: "POST", template: "/admissions", body: `{"gateway":"gw-9","identity":"X1"}`, status: 404},
		{method: "GET", template: "/admissions", status: 200},
		{method: "GET", template: "/admissions", query: "gateway=gw-1&limit=1", status: 200},
		{method: "GET", template: "/admissions", query: "cursor=x", status: 422},
		{method: "DELETE", template: "/admissions/{id}", params: p("id", admitted), status: 204},
		{method: "DELETE", template: "/admissions/{id}", params: p("id", admitted), status: 404},
		{method: "GET", template: "/recordings", status: 200},
		{method: "GET", template: "/recordings", query: "station=CP1&gateway=gw-1&state=complete&from=2020-01-01T00:00:00Z&to=" + until, status: 200},
		{method: "GET", template: "/recordings", query: "state=odd", status: 422},
		{method: "GET", template: "/recordings/{id}", params: p("id", recording), status: 200},
		{method: "GET", template: "/recordings/{id}", params: p("id", record), status: 404},
		{method: "GET", template: "/recordings/{id}/content", params: p("id", recording), status: 200},
		{method: "GET", template: "/recordings/{id}/content", params: p("id", "none"), status: 404},
		{method: "GET", template: "/logs", status: 200},
		{method: "GET", template: "/logs/{id}", params: p("id", record), status: 200},
		{method: "GET", template: "/logs/{id}", params: p("id", recording), status: 404},
		{method: "GET", template: "/logs/{id}/content", params: p("id", record), status: 200},
		{method: "GET", template: "/logs/{id}/content", params: p("id", record), token: viewer, status: 403},
		{method: "GET", template: "/sessions", status: 200},
		{method: "GET", template: "/sessions", query: "station=CP1&evse=1&gateway=gw-1&status=ended&token=04ab&transaction=1&from=2020-01-01T00:00:00Z&to=" + until, status: 200},
		{method: "GET", template: "/sessions", query: "status=odd", status: 422},
		{method: "GET", template: "/sessions", query: "from=yesterday", status: 422},
		{method: "GET", template: "/sessions/{id}", params: p("id", session), status: 200},
		{method: "GET", template: "/sessions/{id}", params: p("id", "none"), status: 404},
		{method: "GET", template: "/sessions/{id}/samples", params: p("id", session), status: 200},
		{method: "GET", template: "/sessions/{id}/samples", params: p("id", "none"), status: 404},
		{method: "GET", template: "/sessions/{id}/timeline", params: p("id", session), status: 200},
		{method: "GET", template: "/sessions/{id}/timeline", params: p("id", session), query: "limit=2&kind=event,status", status: 200},
		{method: "GET", template: "/sessions/{id}/timeline", params: p("id", session), query: "kind=weather", status: 422},
		{method: "GET", template: "/sessions/{id}/timeline", params: p("id", session), query: "cursor=x", status: 422},
		{method: "GET", template: "/sessions/{id}/timeline", params: p("id", "none"), status: 404},
		{method: "GET", template: "/events", status: 200},
		{method: "GET", template: "/events", query: "after=1&limit=3", status: 200},
		{method: "GET", template: "/events", query: "type=session.started&station=CP1&evse=1&session=" + session, status: 200},
		{method: "GET", template: "/events", query: "after=-1", status: 422},
		{method: "GET", template: "/dead-letters", status: 200},
		{method: "GET", template: "/dead-letters", token: viewer, status: 403},
		{method: "POST", template: "/commands", body: `{"type":"start","station":"` + station + `","evse":1,"params":{"token":{"type":"rfid","value":"04AB"}}}`, header: []string{"Idempotency-Key", "k1"}, status: 202},
		{method: "POST", template: "/commands", body: `{"type":"stop","station":"` + station + `"}`, header: []string{"Idempotency-Key", "k1"}, status: 409},
		{method: "POST", template: "/commands", body: `{"type":"dance","station":"` + station + `"}`, status: 422},
		{method: "POST", template: "/commands", body: `{"type":"start","station":"` + station + `","params":{"token":{}}}`, status: 422},
		{method: "POST", template: "/commands", body: `nonsense`, status: 400},
		{method: "POST", template: "/commands", body: `{"type":"` + strings.Repeat("x", 1<<20+1<<10) + `"}`, status: 413},
		{method: "POST", template: "/commands", body: `<type/>`, header: []string{"Content-Type", "text/xml"}, status: 415},
		{method: "POST", template: "/commands", body: `{"type":"restart","gateway":"gw-1"}`, status: 202},
		{method: "POST", template: "/commands", body: `{"type":"restart","gateway":"gw-1"}`, header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 202},
		{method: "POST", template: "/commands", body: `{"type":"stop","station":"` + station + `"}`, token: viewer, status: 403},
		{method: "GET", template: "/commands", status: 200},
		{method: "GET", template: "/commands", query: "status=queued&type=stop&gateway=gw-1&station=CP1", status: 200},
		{method: "GET", template: "/commands/{id}", params: p("id", string(command.ID)), status: 200},
		{method: "GET", template: "/commands/{id}", params: p("id", "0197f3c2-0000-7000-8000-0000000000ff"), status: 404},
		{method: "GET", template: "/commands/{id}", params: p("id", "x"), status: 422},
		{method: "POST", template: "/commands/{id}/cancel", params: p("id", string(doomed.ID)), header: []string{"Idempotency-Key", "k2"}, status: 202},
		{method: "POST", template: "/commands/{id}/cancel", params: p("id", "0197f3c2-0000-7000-8000-0000000000ff"), status: 404},
		{method: "PUT", template: "/tokens/{value}", params: p("value", "04AB"), body: `{"type":"rfid","status":"accepted","parent":"fleet","expires":"` + until + `","label":"Ada"}`, status: 200},
		{method: "PUT", template: "/tokens/{value}", params: p("value", "04AB"), body: `{"status":"maybe"}`, status: 422},
		{method: "POST", template: "/tokens", body: `{"value":"04AC"}`, header: []string{"Idempotency-Key", "k3"}, status: 200},
		{method: "POST", template: "/tokens", body: `{"value":" "}`, status: 422},
		{method: "GET", template: "/tokens", status: 200},
		{method: "GET", template: "/tokens/{value}", params: p("value", "04ab"), status: 200},
		{method: "GET", template: "/tokens/{value}", params: p("value", "none"), status: 404},
		{method: "DELETE", template: "/tokens/{value}", params: p("value", "04AB"), status: 204},
		{method: "DELETE", template: "/tokens/{value}", params: p("value", "04AB"), status: 404},
		{method: "GET", template: "/stream", header: []string{"Last-Event-ID", "nonsense"}, status: 422},
		{method: "GET", template: "/stream", token: "none", status: 401},
	}
	asked := map[string]bool{"GET /stream 200": true} // TestStream
	for _, r := range requests {
		path := r.template
		for k, v := range r.params {
			path = strings.ReplaceAll(path, "{"+k+"}", url.PathEscape(v))
		}
		if r.query != "" {
			path += "?" + r.query
		}
		token := admin
		if r.token != "" {
			token = r.token
		}
		a := y.ask(token, r.method, path, r.body, r.header...)
		if a.status != r.status {
			t.Errorf("%s %s: %d, want %d: %s", r.method, path, a.status, r.status, a.body)
			continue
		}
		if err := c.check(r.method, r.template, a); err != nil {
			t.Error(err)
		}
		if r.status < 300 {
			asked[r.method+" "+r.template+" ok"] = true
		}
		if r.status >= 400 && a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: an error as %s", r.method, path, a.header.Get("Content-Type"))
		}
	}
	for path, operations := range c.paths {
		for method := range operations {
			what := strings.ToUpper(method) + " " + strings.TrimPrefix(path, "/api/v1")
			if !asked[what+" ok"] && what != "GET /stream" {
				t.Errorf("nobody asked %s", what)
			}
		}
	}
	for _, stray := range []struct {
		method, path string
		status       int
	}{{"GET", "/nothing", 404}, {"DELETE", "/sessions", 405}, {"GET", "/sessions/", 404}} {
		a := y.ask(admin, stray.method, stray.path, "")
		var p struct{ Status int }
		if err := json.Unmarshal(a.body, &p); err != nil || a.status != stray.status || p.Status != stray.status ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d, %v: %s", stray.method, stray.path, a.status, err, a.body)
		}
	}
	if a := y.ask("", "GET", "/openapi.json", ""); a.status != http.StatusOK || !json.Valid(a.body) {
		t.Errorf("openapi.json: %d", a.status)
	}
}
