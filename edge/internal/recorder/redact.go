package recorder

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// hidden stands in place of a secret.
const hidden = "…hidden…"

// secretNames are parts of the names of members, configuration keys and variables
// whose values are nobody's business, in lower case.
var secretNames = []string{"password", "passwd", "passphrase", "secret", "authorizationkey", "privatekey", "private_key", "apikey", "api_key",
	"accesskey", "credential", "simpin", "presharedkey", "psk"}

func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, s := range secretNames {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// suspicious finds what may be a secret in a text that cannot be taken apart.
var suspicious = regexp.MustCompile(`(?i)` + strings.Join(secretNames, "|") + `|private key-----|basic [a-z0-9+/=]{4,}|://[^/\s"]*@`)

// Redact takes the passwords and keys out of a frame: in configuration keys and
// variables by their names, in members by theirs, private keys and passwords in
// addresses wherever they stand, JSON inside of texts included. Of a frame that is
// no JSON everything after the first sign of a secret goes, and what is left is
// returned as text.
func Redact(frame []byte) (object json.RawMessage, text string) {
	d := json.NewDecoder(bytes.NewReader(frame))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return nil, cutSecret(string(bytes.ToValidUTF8(frame, []byte("\uFFFD"))))
	}
	v, changed := redact(v)
	if !changed {
		var compact bytes.Buffer // one line, whatever the station wrote
		if err := json.Compact(&compact, frame); err == nil {
			return bytes.ToValidUTF8(compact.Bytes(), []byte("\uFFFD")), ""
		}
	}
	b, err := encode(v)
	if err != nil {
		return nil, hidden
	}
	return b, ""
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

func cutSecret(text string) string {
	if at := suspicious.FindStringIndex(text); at != nil {
		return text[:at[0]] + hidden
	}
	return text
}

// redact returns v without its secrets, and whether there were any.
func redact(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return redactText(v)
	case []any:
		changed := false
		for i := range v {
			clean, c := redact(v[i])
			v[i], changed = clean, changed || c
		}
		return v, changed
	case map[string]any:
		return redactObject(v)
	}
	return v, false
}

// values are the members that hold the value of a configuration key or variable.
var values = []string{"value", "attributeValue"}

func redactObject(o map[string]any) (any, bool) {
	changed := false
	hide := func(o map[string]any, name string) {
		if old, ok := o[name]; ok && old != nil && old != "" {
			o[name], changed = hidden, true
		}
	}
	if secretVariable(o) {
		for _, name := range values {
			hide(o, name)
		}
		if list, ok := o["variableAttribute"].([]any); ok { // NotifyReport
			for _, item := range list {
				if a, ok := item.(map[string]any); ok {
					hide(a, "value")
				}
			}
		}
	}
	for name, member := range o {
		if text, ok := member.(string); ok && secretName(name) || name == "key" && isVPN(o) {
			if ok && text != "" {
				o[name], changed = hidden, true
			}
			continue
		}
		clean, c := redact(member)
		if c {
			o[name], changed = clean, true
		}
	}
	return o, changed
}

// isVPN tells that o is the VPN of a network profile, whose key is a secret.
// OCPP 2.0.1 VPNType.
func isVPN(o map[string]any) bool {
	_, server := o["server"]
	_, user := o["user"]
	return server && user
}

// secretVariable tells that o is a configuration key of 1.6 or a variable of 2.x
// with a name that says secret.
func secretVariable(o map[string]any) bool {
	if key, ok := o["key"].(string); ok && secretName(key) {
		return true
	}
	variable, ok := o["variable"].(map[string]any)
	if !ok {
		return false
	}
	name, _ := variable["name"].(string)
	instance, _ := variable["instance"].(string)
	return secretName(name) || secretName(instance)
}

// redactText takes the secrets out of a text: JSON inside of it, a private key,
// the password of an address.
func redactText(text string) (string, bool) {
	if strings.Contains(text, "PRIVATE KEY-----") {
		return hidden, true
	}
	if trimmed := strings.TrimSpace(text); len(trimmed) > 1 && (trimmed[0] == '{' || trimmed[0] == '[') {
		d := json.NewDecoder(strings.NewReader(trimmed))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err == nil && !d.More() {
			clean, changed := redact(v)
			if !changed {
				return text, false
			}
			b, err := encode(clean)
			if err != nil {
				return hidden, true
			}
			return string(b), true
		}
		if clean := cutSecret(text); clean != text {
			return clean, true
		}
		return text, false
	}
	if strings.Contains(text, "://") && strings.Contains(text, "@") {
		if u, err := url.Parse(text); err == nil && u.User != nil {
			u.User = url.User("hidden")
			return u.String(), true
		} else if err != nil {
			return cutSecret(text), true
		}
	}
	return text, false
}
