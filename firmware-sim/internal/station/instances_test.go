package station_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Every request that the schemas allow gets an answer that they allow, and one
// that they do not is refused or understood; no request ends the charge point.
func TestEveryRequest(t *testing.T) {
	type instance struct {
		Message, Case string
		Valid         bool
		Payload       json.RawMessage
	}
	file, err := os.Open("../../../shared/ocpp16/testdata/instances.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []instance
	lines := bufio.NewScanner(unpacked)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var i instance
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			t.Fatal(err)
		}
		action, isRequest := strings.CutSuffix(i.Message, "Request")
		info, known := ocpp16.Lookup(action)
		// Transfers would leave the virtual world.
		if isRequest && known && info.Direction&ocpp16.FromServer != 0 && !strings.Contains(string(i.Payload), "://") {
			i.Message = action
			all = append(all, i)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	actions := map[string]bool{}
	live(t, func(w *world) {
		w.charge(1, "A")
		for _, i := range all {
			for range 100 { // after a reset, or a new password
				if v := w.view(); v.Registered && v.Connected {
					break
				}
				w.pass(time.Second)
			}
			f := w.call(i.Message, string(i.Payload))
			switch {
			case f.Type == ocppj.CallResult:
				actions[i.Message] = true
				req, _ := ocpp16.NewRequest(i.Message)
				resp := req.NewResponse()
				deviations, err := resp.Decode(f.Payload)
				if err := errors.Join(err, resp.Validate()); err != nil || len(deviations) > 0 {
					t.Errorf("%s, %s: answered with %s: %v %v", i.Message, i.Case, f.Payload, err, deviations)
				}
			case f.Type != ocppj.CallError:
				t.Errorf("%s, %s: no answer to %s", i.Message, i.Case, i.Payload)
			case i.Valid && i.Message != ocpp16.ActionSetChargingProfile: // whose connector may not exist
				t.Errorf("%s, %s: %s was answered with %s %s", i.Message, i.Case, i.Payload, f.Code, f.Description)
			}
		}
		w.pass(time.Hour)
		if v := w.view(); !v.Registered || !v.Connected || v.Queue > 0 {
			t.Errorf("%+v after all of it", v)
		}
	}, connectors(2))
	actions[ocpp16.ActionGetDiagnostics], actions[ocpp16.ActionUpdateFirmware] = true, true // all of theirs are transfers
	for _, a := range ocpp16.Actions {
		if a.Direction&ocpp16.FromServer != 0 && !actions[a.Name] {
			t.Errorf("%s was never answered with a result", a.Name)
		}
	}
}
