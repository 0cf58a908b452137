package api

import (
	"encoding/json"
	"testing"
)

func TestRedacted(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing to hide", `{"variables":[{"variable":"HeartbeatInterval","value":"300"}]}`, `{"variables":[{"variable":"HeartbeatInterval","value":"300"}]}`},
		{"our words", `{"variables":[{"component":"Ocpp16","variable":"AuthorizationKey","value":"0123"},{"variable":"Other","value":"7"}]}`,
			`{"variables":[{"component":"Ocpp16","value":"…","variable":"AuthorizationKey"},{"value":"7","variable":"Other"}]}`},
		{"a call of 1.6", `{"action":"ChangeConfiguration","payload":{"key":"authorizationkey","value":"0123"}}`,
			`{"action":"ChangeConfiguration","payload":{"key":"authorizationkey","value":"…"}}`},
		{"a call of 2.0.1", `{"payload":{"setVariableData":[{"attributeValue":"secret","component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"}}]}}`,
			`{"payload":{"setVariableData":[{"attributeValue":"…","component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"}}]}}`},
		{"a network profile", `{"payload":{"connectionData":{"apn":{"apnPassword":"secret"},"messageTimeout":30}}}`,
			`{"payload":{"connectionData":{"apn":{"apnPassword":"…"},"messageTimeout":30}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(redacted(json.RawMessage(tt.in))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
