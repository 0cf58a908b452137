package station2_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Every request that the schemas allow gets an answer that they allow, and one
// that they do not is refused or understood; no request ends the station.
func TestEveryRequest(t *testing.T) {
	t.Run("2.0.1", func(t *testing.T) { everyRequest(t, ocppj.V201, "ocpp201") })
	t.Run("2.1", func(t *testing.T) { everyRequest(t, ocppj.V21, "ocpp21") })
}

// Every answer of a CSMS of 2.0.1 can be read with the types of 2.1.
func TestAnswersOf201(t *testing.T) {
	n := 0
	for _, i := range read(t, "ocpp201") {
		action, isResponse := strings.CutSuffix(i.Message, "Response")
		info, known := ocpp21.Lookup(action)
		if !isResponse || !known || !i.Valid || info.Direction&ocpp21.FromStation == 0 {
			continue
		}
		n++
		resp, _ := ocpp21.NewResponse(action)
		if _, err := resp.Decode(i.Payload); err != nil {
			t.Errorf("%s, %s: %v", i.Message, i.Case, err)
		}
	}
	if n == 0 {
		t.Error("there are no answers")
	}
}

type instance struct {
	Message, Case string
	Valid         bool
	Payload       json.RawMessage
}

// instances are the requests of a server that the message types are tested with.
func instances(t *testing.T, folder string) []instance {
	t.Helper()
	var all []instance
	for _, i := range read(t, folder) {
		action, isRequest := strings.CutSuffix(i.Message, "Request")
		info, known := ocpp21.Lookup(action)
		transfers := action == ocpp21.ActionGetLog || action == ocpp21.ActionUpdateFirmware || action == ocpp21.ActionPublishFirmware // would leave the virtual world
		if isRequest && known && info.Direction&ocpp21.FromServer != 0 && !transfers {
			i.Message = action
			all = append(all, i)
		}
	}
	return all
}

// read returns everything that the message types are tested with.
func read(t *testing.T, folder string) []instance {
	t.Helper()
	file, err := os.Open("../../../shared/" + folder + "/testdata/instances.jsonl.gz")
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
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var i instance
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatal(err, len(all))
	}
	return all
}

func everyRequest(t *testing.T, v, folder string) {
	answered := map[string]bool{}
	all := instances(t, folder)
	live(t, func(w *world) {
		for _, i := range all {
			for range 100 { // after a reset, or with a new password
				if v := w.view(); v.Registered && v.Connected {
					break
				}
				w.pass(time.Second)
			}
			f := w.call(i.Message, string(i.Payload))
			switch {
			case f.Type == ocppj.CallResult:
				answered[i.Message] = true
				if err := w.valid(i.Message, f.Payload, true); err != nil {
					t.Errorf("%s, %s: answered with %s: %v", i.Message, i.Case, f.Payload, err)
				}
			case f.Type != ocppj.CallError:
				t.Errorf("%s, %s: no answer to %s", i.Message, i.Case, i.Payload)
			case i.Valid:
				t.Errorf("%s, %s: %s was answered with %s %s", i.Message, i.Case, i.Payload, f.Code, f.Description)
			}
		}
		w.pass(time.Hour)
		if v := w.view(); !v.Connected || !v.Registered {
			t.Errorf("%+v after all of it", v)
		}
	}, version(v), evses(2))
	for _, i := range all {
		if !answered[i.Message] {
			t.Errorf("%s was never answered with a result", i.Message)
			answered[i.Message] = true
		}
	}
}
