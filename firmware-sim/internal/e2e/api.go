package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// What the manager's API says, read as an integrator would: by the published
// field names, not by the manager's own types.
type (
	session struct {
		ID           string    `json:"id"`
		Station      string    `json:"station"`
		Identity     string    `json:"identity"`
		EVSE         int       `json:"evse"`
		Connector    int       `json:"connector"`
		Protocol     string    `json:"protocol"`
		Transaction  string    `json:"transaction"`
		Status       string    `json:"status"`
		Token        *token    `json:"token"`
		Started      time.Time `json:"started"`
		Ended        time.Time `json:"ended"`
		Reason       string    `json:"reason"`
		MeterStartWh *int64    `json:"meter_start_wh"`
		MeterStopWh  *int64    `json:"meter_stop_wh"`
		EnergyWh     *int64    `json:"energy_wh"`
		Flags        []string  `json:"flags"`
	}
	token struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	fact struct {
		Value string    `json:"value"`
		AsOf  time.Time `json:"as_of"`
		Stale bool      `json:"stale"`
	}
	station struct {
		ID           string `json:"id"`
		Identity     string `json:"identity"`
		Gateway      string `json:"gateway"`
		Vendor       string `json:"vendor"`
		Model        string `json:"model"`
		Firmware     string `json:"firmware"`
		Protocol     string `json:"protocol"`
		Connectivity fact   `json:"connectivity"`
		EVSEs        []struct {
			EVSE       int      `json:"evse"`
			PowerW     *float64 `json:"power_w"`
			Connectors []struct {
				Connector int    `json:"connector"`
				Status    fact   `json:"status"`
				ErrorCode string `json:"error_code"`
			} `json:"connectors"`
		} `json:"evses"`
	}
	entry struct {
		Position int64           `json:"position"`
		ID       string          `json:"id"`
		Type     string          `json:"type"`
		Subject  string          `json:"subject"`
		Time     time.Time       `json:"time"`
		Clock    string          `json:"clock"`
		Boot     string          `json:"boot"`
		Sequence string          `json:"sequence"`
		Session  string          `json:"session"`
		Data     json.RawMessage `json:"data"`
	}
	command struct {
		ID     string          `json:"id"`
		Type   string          `json:"type"`
		Status string          `json:"status"`
		Reason string          `json:"reason"`
		Result json.RawMessage `json:"result"`
		Steps  []struct {
			State string `json:"state"`
		} `json:"steps"`
	}
	samplePoint struct {
		Time     time.Time `json:"time"`
		EnergyWh *int64    `json:"energy_wh"`
		PowerW   *float64  `json:"power_w"`
		Session  string    `json:"session"`
	}
	gatewayRow struct {
		ID           string `json:"id"`
		Connectivity fact   `json:"connectivity"`
		Alarms       []struct {
			Alarm string `json:"alarm"`
			Text  string `json:"text"`
		} `json:"alarms"`
	}
)

// client asks one manager.
type client struct {
	base  string // http://127.0.0.1:8080
	token string
}

// do sends one request to the API and decodes the answer into out, when out is
// not nil.
func (c *client) do(method, path string, body, out any) error {
	return c.raw(method, "/api/v1"+path, body, out)
}

func (c *client) raw(method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var reader io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", strconv.FormatInt(time.Now().UnixNano(), 36))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// list reads every page of a list.
func list[T any](c *client, path string, query url.Values) ([]T, error) {
	q := url.Values{"limit": {"1000"}}
	for k, v := range query {
		q[k] = v
	}
	var all []T
	for {
		var page struct {
			Items []T     `json:"items"`
			Next  *string `json:"next"`
		}
		if err := c.do(http.MethodGet, path+"?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == nil || *page.Next == "" {
			return all, nil
		}
		q.Set("cursor", *page.Next)
	}
}

// must is list for a test that cannot go on without the answer.
func must[T any](t *testing.T, c *client, path string, query url.Values) []T {
	t.Helper()
	all, err := list[T](c, path, query)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// command gives an order and returns its id.
func (c *client) command(t *testing.T, typ, station string, evse int, params any, life time.Duration) string {
	t.Helper()
	body := map[string]any{"type": typ, "params": params, "expires": time.Now().Add(life).UTC().Format(time.RFC3339Nano)}
	if station != "" {
		body["station"] = station
	}
	if evse > 0 {
		body["evse"] = evse
	}
	var out command
	if err := c.do(http.MethodPost, "/commands", body, &out); err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	return out.ID
}

// outcome waits for the end of a command.
func (c *client) outcome(t *testing.T, id string, limit time.Duration) command {
	t.Helper()
	var out command
	eventuallyWithin(t, limit, "the end of the command", func() error {
		if err := c.do(http.MethodGet, "/commands/"+id, nil, &out); err != nil {
			return err
		}
		switch out.Status {
		case "queued", "sent", "delivered", "accepted":
			return fmt.Errorf("%s is %s: %s", out.Type, out.Status, out.Reason)
		}
		return nil
	})
	return out
}
