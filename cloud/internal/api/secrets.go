package api

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// secretName is what a setting is called whose value only the station is to know:
// OCPP 1.6 AuthorizationKey, OCPP 2 BasicAuthPassword, passwords of networks.
var secretName = regexp.MustCompile(`(?i)authorizationkey|password`)

// hidden stands for a secret.
const hidden = "…"

// redacted returns the parameters of a command without the passwords in them.
// Whoever gave the command knows them; nobody else is to read them.
func redacted(params json.RawMessage) json.RawMessage {
	if !secretName.Match(params) {
		return params
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return json.RawMessage(`{}`)
	}
	redact(v)
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return b
}

// redact hides values beside the name of a secret setting, and fields that are
// called so themselves.
func redact(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			redact(e)
		}
	case map[string]any:
		secret := secretName.MatchString(settingOf(v))
		for name, e := range v {
			_, text := e.(string)
			if text && (secretName.MatchString(name) || secret && strings.HasSuffix(strings.ToLower(name), "value")) {
				v[name] = hidden
				continue
			}
			redact(e)
		}
	}
}

// settingOf is the name of the setting that an object is about: in our own words,
// in those of OCPP 1.6, or of OCPP 2.
func settingOf(v map[string]any) string {
	for _, field := range []string{"variable", "key"} {
		switch name := v[field].(type) {
		case string:
			return name
		case map[string]any:
			text, _ := name["name"].(string)
			return text
		}
	}
	return ""
}
