package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// FieldError names what is wrong with a command.
type FieldError struct {
	Field  string // "params.limit_a", as the JSON has it
	Reason string // what was expected and what came
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func field(name, format string, args ...any) error {
	return &FieldError{Field: name, Reason: fmt.Sprintf(format, args...)}
}

// commandLives are how long commands without an expires of their own may wait for
// their gateway and station. A driver stands in front of the charger for some
// of them: an unlock that comes an hour late helps nobody.
var commandLives = map[event.CommandType]time.Duration{
	event.CommandStart:             2 * time.Minute,
	event.CommandUnlock:            2 * time.Minute,
	event.CommandStop:              time.Hour,
	event.CommandTrigger:           2 * time.Minute,
	event.CommandGetLimit:          5 * time.Minute,
	event.CommandGetConfiguration:  5 * time.Minute,
	event.CommandListCertificates:  5 * time.Minute,
	event.CommandShowMessage:       5 * time.Minute,
	event.CommandSendData:          5 * time.Minute,
	event.CommandCall:              5 * time.Minute,
	event.CommandReset:             15 * time.Minute,
	event.CommandReserve:           5 * time.Minute,
	event.CommandUpdateFirmware:    24 * time.Hour,
	event.CommandSetConfiguration:  24 * time.Hour,
	event.CommandSendLocalList:     24 * time.Hour,
	event.CommandSetAvailability:   24 * time.Hour,
	event.CommandCancelReservation: 24 * time.Hour,
	event.CommandClearLimit:        24 * time.Hour,
	event.CommandRecord:            15 * time.Minute,
}

// otherLife holds for the types that commandLives does not name.
const otherLife = time.Hour

// MaxCommandLife is the furthest that a command's expires may lie ahead.
const MaxCommandLife = 30 * 24 * time.Hour

// CommandLife is how long a command of type t without an expires of its own lives.
func CommandLife(t event.CommandType) time.Duration {
	if d, ok := commandLives[t]; ok {
		return d
	}
	return otherLife
}

// CompleteCommand checks a command from outside and fills in what it left open: its
// expires. It returns a *FieldError.
func CompleteCommand(c *event.Command, now time.Time) error {
	if !slices.Contains(event.CommandTypes, c.Type) {
		return field("type", "expected one of %s, got %q", typeNames(), c.Type)
	}
	if c.Type.ForGateway() {
		if c.Station != "" {
			return field("station", "%s is for the gateway itself: expected no station, got %q", c.Type, c.Station)
		}
	} else if c.Station == "" {
		return field("station", "%s is for a station: expected one", c.Type)
	}
	if c.EVSE < 0 {
		return field("evse", "expected 0 (any, or the whole station) or more, got %d", c.EVSE)
	}
	if err := checkParams(c, now); err != nil {
		return err
	}
	if c.Expires.IsZero() {
		c.Expires = now.Add(CommandLife(c.Type))
		if until := leaseEnd(c); !until.IsZero() && until.Before(c.Expires) {
			c.Expires = until
		}
	}
	c.Expires = c.Expires.UTC().Truncate(time.Millisecond)
	if !c.Expires.After(now) {
		return field("expires", "expected a time to come, got %s", c.Expires.Format(event.TimeLayout))
	}
	if c.Expires.After(now.Add(MaxCommandLife)) {
		return field("expires", "expected at most %d days ahead, got %s", int(MaxCommandLife.Hours()/24), c.Expires.Format(event.TimeLayout))
	}
	return nil
}

func typeNames() string {
	names := make([]string, len(event.CommandTypes))
	for i, t := range event.CommandTypes {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

// leaseEnd is the until of a command that has one: it means nothing afterwards.
func leaseEnd(c *event.Command) time.Time {
	var p struct {
		Until time.Time `json:"until"`
	}
	if c.Type != event.CommandSetLimit && c.Type != event.CommandReserve {
		return time.Time{}
	}
	if json.Unmarshal(c.Params, &p) != nil {
		return time.Time{} // checkParams has spoken about it
	}
	return p.Until
}

// CommandParams returns an empty value of the parameters of t, nil for a type whose
// parameters have no form of their own.
func CommandParams(t event.CommandType) any {
	switch t {
	case event.CommandStart:
		return new(event.StartParams)
	case event.CommandStop:
		return new(event.StopParams)
	case event.CommandUnlock:
		return new(event.UnlockParams)
	case event.CommandReset:
		return new(event.ResetParams)
	case event.CommandSetAvailability:
		return new(event.SetAvailabilityParams)
	case event.CommandSetLimit:
		return new(event.SetLimitParams)
	case event.CommandClearLimit:
		return new(event.ClearLimitParams)
	case event.CommandGetLimit:
		return new(event.GetLimitParams)
	case event.CommandGetConfiguration:
		return new(event.GetConfigurationParams)
	case event.CommandSetConfiguration:
		return new(event.SetConfigurationParams)
	case event.CommandTrigger:
		return new(event.TriggerParams)
	case event.CommandReserve:
		return new(event.ReserveParams)
	case event.CommandCancelReservation:
		return new(event.CancelReservationParams)
	case event.CommandUpdateFirmware:
		return new(event.UpdateFirmwareParams)
	case event.CommandGetLog:
		return new(event.GetLogParams)
	case event.CommandClearCache:
		return new(event.ClearCacheParams)
	case event.CommandSendLocalList:
		return new(event.SendLocalListParams)
	case event.CommandInstallCertificate:
		return new(event.InstallCertificateParams)
	case event.CommandDeleteCertificate:
		return new(event.DeleteCertificateParams)
	case event.CommandListCertificates:
		return new(event.ListCertificatesParams)
	case event.CommandSignCertificate:
		return new(event.SignCertificateParams)
	case event.CommandShowMessage:
		return new(event.ShowMessageParams)
	case event.CommandSendData:
		return new(event.SendDataParams)
	case event.CommandCall:
		return new(event.CallParams)
	case event.CommandRestart:
		return new(event.RestartParams)
	case event.CommandRecord:
		return new(event.RecordParams)
	}
	return nil
}

// checkParams reads c.Params as those of its type: no unknown field, nothing
// missing, nothing that no device could take.
func checkParams(c *event.Command, now time.Time) error {
	if len(bytes.TrimSpace(c.Params)) == 0 || string(bytes.TrimSpace(c.Params)) == "null" {
		c.Params = json.RawMessage("{}")
	}
	p := CommandParams(c.Type)
	if p == nil {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(c.Params, &object); err != nil {
			return field("params", "expected an object: %v", err)
		}
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(c.Params))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return paramError(c.Type, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return field("params", "expected one object")
	}
	if err := paramRules(c, p, now); err != nil {
		return err
	}
	out, err := json.Marshal(p) // in our own words, whatever the order and case of theirs
	if err != nil {
		return field("params", "%v", err)
	}
	c.Params = out
	return nil
}

// paramError turns what the JSON decoder says into the name of a field.
func paramError(t event.CommandType, err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		name := "params"
		if wrong.Field != "" {
			name += "." + wrong.Field
		}
		return field(name, "expected %s, got %s", wrong.Type, wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name = strings.Trim(name, `"`)
		return field("params."+name, "%s has no such parameter", t)
	}
	return field("params", "%v", err)
}

func paramRules(c *event.Command, params any, now time.Time) error {
	switch p := params.(type) {
	case *event.StartParams:
		if p.Token.Type != "none" { // nobody has to show one
			if err := present("token.value", p.Token.Value); err != nil {
				return err
			}
		}
		return firstError(tokenType(&p.Token), positive("limit_a", p.LimitA))
	case *event.UnlockParams:
		if p.Connector < 0 {
			return field("params.connector", "expected 0 or more, got %d", p.Connector)
		}
	case *event.ResetParams:
		return oneOf("kind", p.Kind, "soft", "hard", "resume")
	case *event.SetAvailabilityParams:
		if p.Connector < 0 || p.Connector > 0 && c.EVSE == 0 {
			return field("params.connector", "expected 0, or a connector of the EVSE that the command names, got %d", p.Connector)
		}
		return required(c.Params, "available")
	case *event.SetLimitParams:
		if (p.LimitA == nil) == (p.LimitW == nil) {
			return field("params.limit_a", "expected one of limit_a and limit_w")
		}
		return firstError(notNegative("limit_a", p.LimitA), notNegative("limit_w", p.LimitW), ahead("until", p.Until, now))
	case *event.GetLimitParams:
		if p.DurationS < 0 {
			return field("params.duration_s", "expected 0 or more, got %d", p.DurationS)
		}
		if p.Unit != "" {
			return oneOf("unit", p.Unit, "A", "W")
		}
	case *event.GetConfigurationParams:
		return variables(p.Variables)
	case *event.SetConfigurationParams:
		if len(p.Variables) == 0 {
			return field("params.variables", "expected at least one")
		}
		return variables(p.Variables)
	case *event.TriggerParams:
		if word, own := strings.CutPrefix(p.Message, "custom:"); own {
			return present("message", word)
		}
		return oneOf("message", p.Message, "boot", "heartbeat", "status", "meter", "transaction", "firmware", "publish_firmware", "log",
			"sign_certificate", "sign_v2g_certificate", "sign_v2g20_certificate", "sign_combined_certificate", "custom:<the device's own word>")
	case *event.ReserveParams:
		if p.Reservation < 1 {
			return field("params.reservation", "expected 1 or more, got %d", p.Reservation)
		}
		return firstError(present("token.value", p.Token.Value), tokenType(&p.Token), ahead("until", p.Until, now))
	case *event.CancelReservationParams:
		if p.Reservation < 1 {
			return field("params.reservation", "expected 1 or more, got %d", p.Reservation)
		}
	case *event.UpdateFirmwareParams:
		if p.Retrieve.IsZero() {
			p.Retrieve = now.UTC().Truncate(time.Millisecond)
		}
		if (p.Certificate == "") != (p.Signature == "") {
			return field("params.signature", "expected certificate and signature together, or neither")
		}
		return firstError(address("url", p.URL), counts(p.Retries, p.RetryInterval))
	case *event.GetLogParams:
		if p.Kind == "" {
			p.Kind = "diagnostics"
		}
		return firstError(oneOf("kind", p.Kind, "diagnostics", "security"), addressIf("url", p.URL), span(p.From, p.To), counts(p.Retries, p.RetryInterval))
	case *event.SendLocalListParams:
		if p.Version < 1 {
			return field("params.version", "expected 1 or more, got %d", p.Version)
		}
		for i := range p.Entries {
			e := &p.Entries[i]
			at := fmt.Sprintf("entries[%d].", i)
			err := firstError(present(at+"token.value", e.Token.Value), tokenType(&e.Token))
			if err == nil && (e.Status != "" || !p.Differential) {
				err = oneOf(at+"status", e.Status, "accepted", "blocked", "expired", "invalid")
			}
			if err != nil {
				return err
			}
		}
	case *event.InstallCertificateParams:
		return firstError(oneOf("kind", p.Kind, rootKinds...), present("certificate", p.Certificate))
	case *event.DeleteCertificateParams:
		return firstError(
			oneOf("hash.algorithm", p.Hash.Algorithm, "SHA256", "SHA384", "SHA512"),
			present("hash.issuer_name_hash", p.Hash.IssuerNameHash),
			present("hash.issuer_key_hash", p.Hash.IssuerKeyHash),
			present("hash.serial", p.Hash.Serial))
	case *event.ListCertificatesParams:
		if p.Kind == "" {
			return nil // all
		}
		return oneOf("kind", p.Kind, append(slices.Clone(rootKinds), "v2g_chain")...)
	case *event.SignCertificateParams:
		return oneOf("kind", p.Kind, "", "station", "v2g", "v2g20")
	case *event.ShowMessageParams:
		if p.ID < 0 {
			return field("params.id", "expected 0 (the gateway chooses one) or more, got %d", p.ID)
		}
		if p.ID == 0 { // with one, no text takes the message away
			if err := present("text", p.Text); err != nil {
				return err
			}
		}
		return firstError(
			oneOf("priority", p.Priority, "", "normal", "in_front", "always_front"),
			oneOf("format", p.Format, "", "utf8", "ascii", "html", "uri", "qrcode"),
			span(p.Start, p.End))
	case *event.SendDataParams:
		return present("vendor", p.Vendor)
	case *event.CallParams:
		return firstError(present("protocol", p.Protocol), present("action", p.Action), required(c.Params, "payload"))
	case *event.RecordParams:
		return firstError(present("station", string(p.Station)), addressIf("url", p.URL), span(p.From, p.To))
	}
	return nil
}

// rootKinds are the kinds of root certificates.
var rootKinds = []string{"csms_root", "manufacturer_root", "mo_root", "v2g_root", "oem_root"}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func present(name, value string) error {
	if strings.TrimSpace(value) == "" {
		return field("params."+name, "expected a text, got none")
	}
	return nil
}

// required tells a field that is missing from one that is zero.
func required(params json.RawMessage, name string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(params, &object); err != nil {
		return field("params", "%v", err)
	}
	if v, ok := object[name]; !ok || string(v) == "null" {
		return field("params."+name, "expected one")
	}
	return nil
}

func tokenType(t *event.Token) error {
	if t.Type == "" {
		t.Type = "unspecified"
	}
	return nil
}

func positive(name string, v *float64) error {
	if v != nil && *v <= 0 {
		return field("params."+name, "expected more than 0, got %g", *v)
	}
	return nil
}

func notNegative(name string, v *float64) error {
	if v != nil && *v < 0 {
		return field("params."+name, "expected 0 or more, got %g", *v)
	}
	return nil
}

func ahead(name string, t, now time.Time) error {
	if !t.After(now) {
		return field("params."+name, "expected a time to come, got %s", t.UTC().Format(event.TimeLayout))
	}
	return nil
}

func oneOf(name, value string, words ...string) error {
	if !slices.Contains(words, value) {
		return field("params."+name, "expected one of %s, got %q", strings.Join(words, ", "), value)
	}
	return nil
}

func variables(vs []event.Variable) error {
	for i, v := range vs {
		if strings.TrimSpace(v.Variable) == "" {
			return field(fmt.Sprintf("params.variables[%d].variable", i), "expected a name, got none")
		}
	}
	return nil
}

func address(name, value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return field("params."+name, "expected a URL with scheme and host, got %q", value)
	}
	return nil
}

// addressIf lets an address be left out where the manager gives one.
func addressIf(name, value string) error {
	if value == "" {
		return nil
	}
	return address(name, value)
}

func span(from, to time.Time) error {
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return field("params.to", "expected a time after %s, got %s", from.UTC().Format(event.TimeLayout), to.UTC().Format(event.TimeLayout))
	}
	return nil
}

func counts(retries, interval int) error {
	if retries < 0 {
		return field("params.retries", "expected 0 or more, got %d", retries)
	}
	if interval < 0 {
		return field("params.retry_interval_s", "expected 0 or more, got %d", interval)
	}
	return nil
}
