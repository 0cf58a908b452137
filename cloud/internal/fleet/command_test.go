package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestCompleteCommand(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	tests := []struct {
		kind   event.CommandType
		params string
		field  string // at fault; empty: none
		want   string // parameters; empty: as given
		life   time.Duration
	}{
		{kind: "dance", field: "type"},
		{kind: event.CommandStart, params: `{"token":{"type":"rfid","value":"A"}}`, life: 2 * time.Minute},
		{kind: event.CommandStart, params: `{"token":{"value":"A"}}`, want: `{"token":{"type":"unspecified","value":"A"}}`},
		{kind: event.CommandStart, params: `{"token":{"type":"rfid","value":" "}}`, field: "params.token.value"},
		{kind: event.CommandStart, field: "params.token.value"},
		{kind: event.CommandStart, params: `{"token":{"type":"rfid","value":5}}`, field: "params.token.value"},
		{kind: event.CommandStart, params: `{"token":{"type":"rfid","value":"A"},"limit_a":0}`, field: "params.limit_a"},
		{kind: event.CommandStart, params: `{"token":{"type":"rfid","value":"A"},"colour":1}`, field: "params.colour"},
		{kind: event.CommandStart, params: `[]`, field: "params"},
		{kind: event.CommandStart, params: `{} {}`, field: "params"},
		{kind: event.CommandStop, want: `{}`, life: time.Hour},
		{kind: event.CommandUnlock, params: `{"connector":-1}`, field: "params.connector"},
		{kind: event.CommandReset, params: `{"kind":"soft"}`},
		{kind: event.CommandReset, params: `{"kind":"warm"}`, field: "params.kind"},
		{kind: event.CommandReset, params: `{"kind":"resume"}`},
		{kind: event.CommandStart, params: `{"token":{"type":"none"}}`, want: `{"token":{"type":"none","value":""}}`},
		{kind: event.CommandSetAvailability, params: `{"available":true,"connector":2}`, field: "params.connector"},
		{kind: event.CommandTrigger, params: `{"message":"transaction"}`},
		{kind: event.CommandTrigger, params: `{"message":"custom:Coffee"}`},
		{kind: event.CommandTrigger, params: `{"message":"custom:"}`, field: "params.message"},
		{kind: event.CommandGetLog, want: `{"kind":"diagnostics","url":""}`},
		{kind: event.CommandGetLog, params: `{"from":"2026-11-22T11:00:00Z","to":"2026-11-22T10:00:00Z"}`, field: "params.to"},
		{kind: event.CommandInstallCertificate, params: `{"kind":"v2g_root","certificate":"PEM"}`},
		{kind: event.CommandListCertificates},
		{kind: event.CommandListCertificates, params: `{"kind":"v2g_chain"}`},
		{kind: event.CommandListCertificates, params: `{"kind":"x"}`, field: "params.kind"},
		{kind: event.CommandSignCertificate, params: `{"kind":"v2g"}`},
		{kind: event.CommandSignCertificate, params: `{"kind":"x"}`, field: "params.kind"},
		{kind: event.CommandShowMessage, params: `{"text":"hi","priority":"in_front","format":"utf8","state":"idle","session":"s","language":"en"}`},
		{kind: event.CommandShowMessage, params: `{"id":7}`},
		{kind: event.CommandShowMessage, params: `{"text":"hi","priority":"loud"}`, field: "params.priority"},
		{kind: event.CommandShowMessage, params: `{"text":"hi","format":"rtf"}`, field: "params.format"},
		{kind: event.CommandSetAvailability, params: `{"available":false}`},
		{kind: event.CommandSetAvailability, params: `{}`, field: "params.available"},
		{kind: event.CommandSetLimit, params: `{"limit_a":6,"until":"` + in(time.Hour) + `"}`, life: time.Hour},
		{kind: event.CommandSetLimit, params: `{"limit_a":0,"until":"` + in(time.Minute) + `"}`, life: time.Minute},
		{kind: event.CommandSetLimit, params: `{"limit_a":6,"limit_w":5,"until":"` + in(time.Hour) + `"}`, field: "params.limit_a"},
		{kind: event.CommandSetLimit, params: `{"until":"` + in(time.Hour) + `"}`, field: "params.limit_a"},
		{kind: event.CommandSetLimit, params: `{"limit_w":-1,"until":"` + in(time.Hour) + `"}`, field: "params.limit_w"},
		{kind: event.CommandSetLimit, params: `{"limit_a":6}`, field: "params.until"},
		{kind: event.CommandSetLimit, params: `{"limit_a":6,"until":"` + in(-time.Hour) + `"}`, field: "params.until"},
		{kind: event.CommandClearLimit},
		{kind: event.CommandGetLimit, params: `{"unit":"A","duration_s":60}`},
		{kind: event.CommandGetLimit, params: `{"unit":"mA"}`, field: "params.unit"},
		{kind: event.CommandGetLimit, params: `{"duration_s":-1}`, field: "params.duration_s"},
		{kind: event.CommandGetConfiguration},
		{kind: event.CommandGetConfiguration, params: `{"variables":[{"component":"","variable":"","value":""}]}`, field: "params.variables[0].variable"},
		{kind: event.CommandSetConfiguration, params: `{"variables":[]}`, field: "params.variables"},
		{kind: event.CommandTrigger, params: `{"message":"meter"}`},
		{kind: event.CommandTrigger, params: `{"message":"coffee"}`, field: "params.message"},
		{kind: event.CommandReserve, params: `{"reservation":1,"token":{"type":"rfid","value":"A"},"until":"` + in(time.Hour) + `"}`},
		{kind: event.CommandReserve, params: `{"token":{"type":"rfid","value":"A"},"until":"` + in(time.Hour) + `"}`, field: "params.reservation"},
		{kind: event.CommandCancelReservation, params: `{}`, field: "params.reservation"},
		{kind: event.CommandUpdateFirmware, params: `{"url":"https://x/f","retrieve":"` + in(time.Hour) + `"}`, life: 24 * time.Hour},
		{kind: event.CommandUpdateFirmware, params: `{"url":"f"}`, field: "params.url"},
		{kind: event.CommandUpdateFirmware, params: `{"url":"https://x/f","signature":"s"}`, field: "params.signature"},
		{kind: event.CommandUpdateFirmware, params: `{"url":"https://x/f","retries":-1}`, field: "params.retries"},
		{kind: event.CommandGetLog, params: `{"kind":"diagnostics","url":"ftp://x/"}`},
		{kind: event.CommandGetLog, params: `{"kind":"poems","url":"ftp://x/"}`, field: "params.kind"},
		{kind: event.CommandClearCache},
		{kind: event.CommandSendLocalList, params: `{"version":1,"entries":[{"token":{"type":"rfid","value":"A"},"status":"accepted"}]}`},
		{kind: event.CommandSendLocalList, params: `{"version":1,"entries":[{"token":{"type":"rfid","value":"A"}}]}`, field: "params.entries[0].status"},
		{kind: event.CommandSendLocalList, params: `{"version":2,"differential":true,"entries":[{"token":{"type":"rfid","value":"A"}}]}`},
		{kind: event.CommandSendLocalList, params: `{"entries":[]}`, field: "params.version"},
		{kind: event.CommandInstallCertificate, params: `{"kind":"csms_root","certificate":"PEM"}`},
		{kind: event.CommandInstallCertificate, params: `{"kind":"csms_root"}`, field: "params.certificate"},
		{kind: event.CommandDeleteCertificate, params: `{"hash":{"algorithm":"MD5"}}`, field: "params.hash.algorithm"},
		{kind: event.CommandListCertificates, params: `{"kind":"csms_root"}`},
		{kind: event.CommandSignCertificate},
		{kind: event.CommandShowMessage, params: `{}`, field: "params.text"},
		{kind: event.CommandSendData, params: `{"vendor":"v"}`},
		{kind: event.CommandSendData, params: `{}`, field: "params.vendor"},
		{kind: event.CommandCall, params: `{"protocol":"ocpp1.6","action":"Heartbeat","payload":{}}`},
		{kind: event.CommandCall, params: `{"protocol":"ocpp1.6","action":"Heartbeat"}`, field: "params.payload"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %s", tt.kind, tt.params), func(t *testing.T) {
			c := event.Command{Type: tt.kind, Station: "CP1"}
			if tt.params != "" {
				c.Params = []byte(tt.params)
			}
			err := CompleteCommand(&c, now)
			var wrong *FieldError
			if tt.field != "" {
				if !errors.As(err, &wrong) || wrong.Field != tt.field {
					t.Fatalf("error %v, want one about %s", err, tt.field)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.want != "" && string(c.Params) != tt.want {
				t.Errorf("params %s, want %s", c.Params, tt.want)
			}
			if tt.life > 0 && c.Expires.Sub(now) != tt.life {
				t.Errorf("expires after %s, want %s", c.Expires.Sub(now), tt.life)
			}
		})
	}
}

func TestCompleteCommandEnvelope(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		c     event.Command
		field string
	}{
		{"no station", event.Command{Type: event.CommandUnlock}, "station"},
		{"gateway's own", event.Command{Type: event.CommandRestart}, ""},
		{"gateway's own with a station", event.Command{Type: event.CommandRestart, Station: "CP1"}, "station"},
		{"free parameters", event.Command{Type: event.CommandScan, Params: []byte(`{"range":"10.0.0.0/24"}`)}, ""},
		{"free parameters that are none", event.Command{Type: event.CommandScan, Params: []byte(`[]`)}, "params"},
		{"recording", event.Command{Type: event.CommandRecord, Params: []byte(`{"station":"CP1","from":"2026-11-22T10:00:00Z","to":"2026-11-22T11:00:00Z"}`)}, ""},
		{"recording of nobody", event.Command{Type: event.CommandRecord}, "params.station"},
		{"recording backwards", event.Command{Type: event.CommandRecord, Params: []byte(`{"station":"CP1","from":"2026-11-22T10:00:00Z","to":"2026-11-22T10:00:00Z"}`)}, "params.to"},
		{"availability of a connector", event.Command{Type: event.CommandSetAvailability, Station: "CP1", EVSE: 1, Params: []byte(`{"available":true,"connector":2}`)}, ""},
		{"negative EVSE", event.Command{Type: event.CommandUnlock, Station: "CP1", EVSE: -1}, "evse"},
		{"in the past", event.Command{Type: event.CommandUnlock, Station: "CP1", Expires: now}, "expires"},
		{"too far", event.Command{Type: event.CommandUnlock, Station: "CP1", Expires: now.Add(MaxCommandLife + time.Second)}, "expires"},
		{"far", event.Command{Type: event.CommandUnlock, Station: "CP1", Expires: now.Add(MaxCommandLife)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CompleteCommand(&tt.c, now)
			var wrong *FieldError
			if tt.field == "" && err != nil || tt.field != "" && (!errors.As(err, &wrong) || wrong.Field != tt.field) {
				t.Errorf("error %v, want one about %q", err, tt.field)
			}
		})
	}
}

// FuzzComplete: what passes is whole, in our own words, and passes again.
func FuzzComplete(f *testing.F) {
	f.Add("start", `{"token":{"value":"A"}}`)
	f.Add("set_limit", `{"limit_a":6,"until":"2027-01-01T00:00:00Z"}`)
	f.Add("call", `{"protocol":"ocpp1.6","action":"Heartbeat","payload":{}}`)
	f.Add("scan", `{"a":1}`)
	f.Add("unlock", ``)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, kind, params string) {
		c := event.Command{Type: event.CommandType(kind), Params: []byte(params)}
		if !c.Type.ForGateway() {
			c.Station = "CP1"
		}
		if CompleteCommand(&c, now) != nil {
			return
		}
		again := c
		if err := CompleteCommand(&again, now); err != nil || string(again.Params) != string(c.Params) || !again.Expires.Equal(c.Expires) {
			t.Fatalf("%s %s: first %s, then %s, %v", kind, params, c.Params, again.Params, err)
		}
	})
}
