package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode reads text into c and returns what could not be read. Whole is false
// when so much could not that the values say nothing.
func decode(text []byte, c *Config) (faults Faults, whole bool) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(c)
	if err == nil {
		if err = d.Decode(new(yaml.Node)); err == nil {
			return Faults{{Text: "expected one YAML document, got another one after ---"}}, true
		}
	}
	if errors.Is(err, io.EOF) { // an empty file has its own faults
		return nil, true
	}
	if types := new(yaml.TypeError); errors.As(err, &types) {
		whole = true
		for _, text := range types.Errors {
			faults = append(faults, plain(text))
			whole = whole && !strings.Contains(text, "already defined") // nothing around it was read
		}
		return faults, whole
	}
	return Faults{plain(strings.TrimPrefix(err.Error(), "yaml: "))}, false
}

var (
	lineOf   = regexp.MustCompile(`^line (\d+): `)
	unknown  = regexp.MustCompile(`^field (.+) not found in type \w+\.(\w+)$`)
	mismatch = regexp.MustCompile(`^cannot unmarshal (!!\w+) ?(.*) into (.+)$`)
)

// plain takes a complaint of the YAML library apart and says it for people who
// have never seen a Go type.
func plain(text string) Fault {
	var f Fault
	if m := lineOf.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			f.Line, text = n, text[len(m[0]):]
		}
	}
	f.Text = text
	if m := unknown.FindStringSubmatch(text); m != nil {
		f.Key = m[1]
		f.Text = "unknown key"
		if keys := keysOf(m[2]); len(keys) > 0 {
			f.Text += ", expected one of " + strings.Join(keys, ", ")
		}
	} else if m := mismatch.FindStringSubmatch(text); m != nil {
		got := strings.Trim(m[2], "`")
		if got == "" {
			got = map[string]string{"!!map": "a mapping", "!!seq": "a list"}[m[1]]
		}
		f.Text = fmt.Sprintf("expected %s, got %s", wordOf(m[3]), got)
	}
	return f
}

func wordOf(goType string) string {
	switch goType {
	case "time.Duration":
		return "a time span such as 30s or 5m"
	case "int", "int64", "uint":
		return "a whole number"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "string", "event.GatewayID", "event.StationID":
		return "a text"
	}
	if strings.HasPrefix(goType, "[]") {
		return "a list"
	}
	return "a mapping"
}

// keysOf lists the keys of the part of the file that the Go type name stands for.
func keysOf(name string) []string {
	var keys []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			if t.Name() == name {
				keys = append(keys, t.Field(i).Tag.Get("yaml"))
			}
			walk(t.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[Config]())
	return keys
}

// prefix opens the environment variables that override keys:
// CHARGEYARD_MQTT_PASSWORD for mqtt.password.
const prefix = "CHARGEYARD_"

// override applies the environment: every key that is not part of a list has a
// variable. Others with the prefix are not ours to judge.
func override(c *Config, environ []string) Faults {
	given := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, prefix) {
			given[name] = value
		}
	}
	var faults Faults
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), name+"_"+strings.ToUpper(v.Type().Field(i).Tag.Get("yaml")))
			}
		case reflect.Slice:
		case reflect.String:
			if value, ok := given[name]; ok {
				v.SetString(value)
			}
		default:
			value, ok := given[name]
			if !ok {
				return
			}
			n := yaml.Node{Kind: yaml.ScalarNode, Value: value}
			if err := n.Decode(v.Addr().Interface()); err != nil {
				text := err.Error()
				if types := new(yaml.TypeError); errors.As(err, &types) {
					text = plain(types.Errors[0]).Text
				}
				faults = append(faults, Fault{Key: name, Text: text})
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), strings.TrimSuffix(prefix, "_"))
	return faults
}

// lines finds the line at which a key of the file stands.
type lines struct{ root *yaml.Node }

func newLines(text []byte) lines {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return lines{}
	}
	return lines{root: doc.Content[0]}
}

// of returns the line of the key that path leads to (names, and indexes as
// numbers), or of the deepest one on the way that is there; 0 when nothing is.
func (l lines) of(path ...any) int {
	n, line := l.root, 0
	for _, step := range path {
		if n == nil {
			break
		}
		var next *yaml.Node
		switch at := step.(type) {
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == at {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
		case int:
			if n.Kind == yaml.SequenceNode && at < len(n.Content) {
				next, line = n.Content[at], n.Content[at].Line
			}
		}
		n = next
	}
	return line
}

// parseBytes reads a size with or without a unit.
func parseBytes(text string) (Bytes, error) {
	number := strings.TrimRight(text, "kKMGiB ")
	factor := int64(1)
	switch strings.TrimSpace(text[len(number):]) {
	case "", "B":
	case "kB", "KB":
		factor = 1e3
	case "MB":
		factor = 1e6
	case "GB":
		factor = 1e9
	case "KiB", "K":
		factor = 1 << 10
	case "MiB", "M":
		factor = 1 << 20
	case "GiB", "G":
		factor = 1 << 30
	default:
		return 0, fmt.Errorf("expected a size such as 64MiB, got %q", text)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > 1<<50/factor {
		return 0, fmt.Errorf("expected a size such as 64MiB, got %q", text)
	}
	return Bytes(n * factor), nil
}

func sortFaults(faults Faults) Faults {
	slices.SortStableFunc(faults, func(a, b Fault) int { return a.Line - b.Line })
	return faults
}
