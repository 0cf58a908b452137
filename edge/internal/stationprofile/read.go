package stationprofile

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing wrong with a profile.
type Fault struct {
	File string
	Line int    // 0: of the file as a whole
	Key  string // may be empty
	Text string // what was expected and what came
}

// String returns "wallbox.yaml: line 4: timeout: expected …".
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File + ": ")
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", f.Line)
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Text)
	return b.String()
}

// Faults is the error of profiles with anything wrong, in the order of the files
// and their lines.
type Faults []Fault

// Error lists all of them, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// MaxFile is how large a profile may be, in bytes.
const MaxFile = 64 << 10

// Parse reads one profile. The error is Faults, without a file's name.
func Parse(text []byte) (Profile, error) {
	var p Profile
	if len(text) > MaxFile {
		return p, Faults{{Text: fmt.Sprintf("expected at most %d bytes, got %d", MaxFile, len(text))}}
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	switch err := d.Decode(&p); {
	case errors.Is(err, io.EOF):
		return p, Faults{{Text: "expected a profile, got an empty file"}}
	case err != nil:
		return p, complaints(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return p, Faults{{Text: "expected one YAML document, got another one after ---"}}
	}
	faults := p.check()
	if len(faults) == 0 {
		return p, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err == nil && len(doc.Content) > 0 {
		for i := range faults {
			faults[i].Line = lineOf(doc.Content[0], strings.Split(faults[i].Key, "."))
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return p, faults
}

func (p *Profile) check() Faults {
	var faults Faults
	if strings.TrimSpace(p.Name) == "" {
		faults = append(faults, Fault{Key: "name", Text: "missing, expected a name to show"})
	}
	if len(p.Match) == 0 {
		faults = append(faults, Fault{Key: "match", Text: "missing, expected which stations the profile is for"})
	}
	for _, m := range p.Match {
		if weight(m.Vendor)+weight(m.Model)+weight(m.Firmware) == 0 {
			faults = append(faults, Fault{Key: "match", Text: "expected part of a vendor, model or firmware, got a pattern that fits every station"})
		}
	}
	if p.Behaviour.IsZero() {
		faults = append(faults, Fault{Key: "behaviour", Text: "missing, expected at least one behaviour to switch"})
	}
	for _, f := range p.Behaviour.Check() {
		f.Key = "behaviour." + f.Key
		faults = append(faults, f)
	}
	return faults
}

// lineOf returns the line of the key that path leads to, or of the deepest one on
// the way that is there; 0 when nothing is.
func lineOf(n *yaml.Node, path []string) (line int) {
	for _, step := range path {
		var next *yaml.Node
		for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				next, line = n.Content[i+1], n.Content[i].Line
			}
		}
		n = next
	}
	return line
}

var (
	linePart = regexp.MustCompile(`^line (\d+): `)
	unknown  = regexp.MustCompile(`^field (.+) not found in type stationprofile\.(\w+)$`)
	mismatch = regexp.MustCompile(`^cannot unmarshal (!!\w+) ?(.*) into (.+)$`)
)

// complaints says what the YAML library found in words for people who have never
// seen a Go type.
func complaints(err error) Faults {
	texts := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if types := new(yaml.TypeError); errors.As(err, &types) {
		texts = types.Errors
	}
	faults := make(Faults, 0, len(texts))
	for _, text := range texts {
		var f Fault
		if m := linePart.FindStringSubmatch(text); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil {
				f.Line, text = n, text[len(m[0]):]
			}
		}
		f.Text = text
		if m := unknown.FindStringSubmatch(text); m != nil {
			f.Key, f.Text = m[1], "unknown key, expected one of "+strings.Join(keysOf(m[2]), ", ")
		} else if m := mismatch.FindStringSubmatch(text); m != nil {
			got := cmp.Or(strings.Trim(m[2], "`"), map[string]string{"!!map": "a mapping", "!!seq": "a list"}[m[1]])
			f.Text = fmt.Sprintf("expected %s, got %s", wordOf(m[3]), got)
		}
		faults = append(faults, f)
	}
	return faults
}

func wordOf(goType string) string {
	switch goType {
	case "time.Duration":
		return "a time span such as 30s or 5m"
	case "int":
		return "a whole number"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "string":
		return "a text"
	}
	if strings.HasPrefix(goType, "[]") {
		return "a list"
	}
	return "a mapping"
}

// keysOf lists the keys of the part of a profile that the Go type name stands for.
func keysOf(name string) []string {
	var keys []string
	for _, t := range []reflect.Type{reflect.TypeFor[Profile](), reflect.TypeFor[For](), reflect.TypeFor[Behaviour]()} {
		for i := 0; t.Name() == name && i < t.NumField(); i++ {
			keys = append(keys, t.Field(i).Tag.Get("yaml"))
		}
	}
	return keys
}

//go:embed profiles/*.yaml
var embedded embed.FS

// Book holds the profiles of a gateway. It is not changed once it is made.
type Book struct {
	own   []Profile // the installer's
	built []Profile
}

// Load returns the built-in profiles and those of dir, where every file named
// *.yaml is one; an empty dir is none. A profile of dir takes the place of a
// built-in one of the same name. The error is Faults, or that of reading.
func Load(dir string) (*Book, error) {
	inner, err := fs.Sub(embedded, "profiles")
	if err != nil {
		return nil, fmt.Errorf("built-in profiles: %w", err)
	}
	b := &Book{}
	var faults Faults
	if b.built, faults, err = readAll(inner, ""); err != nil {
		return nil, fmt.Errorf("built-in profiles: %w", err)
	}
	if dir != "" {
		own, more, err := readAll(os.DirFS(dir), strings.TrimSuffix(dir, "/")+"/")
		if err != nil {
			return nil, fmt.Errorf("profiles: %w", err)
		}
		b.own = own
		faults = append(faults, more...)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	b.built = slices.DeleteFunc(b.built, func(p Profile) bool {
		return slices.ContainsFunc(b.own, func(o Profile) bool { return o.Name == p.Name })
	})
	return b, nil
}

// readAll reads every profile of a folder, called prefix before its files' names.
func readAll(from fs.FS, prefix string) ([]Profile, Faults, error) {
	names, err := fs.Glob(from, "*.yaml")
	if err != nil {
		return nil, nil, err
	}
	if _, err := fs.ReadDir(from, "."); err != nil {
		return nil, nil, err
	}
	var all []Profile
	var faults Faults
	seen := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, nil, err
		}
		p, err := Parse(text)
		if found := Faults(nil); errors.As(err, &found) {
			for _, f := range found {
				f.File = prefix + name
				faults = append(faults, f)
			}
			continue
		}
		if before, ok := seen[p.Name]; ok {
			faults = append(faults, Fault{File: prefix + name, Key: "name", Text: fmt.Sprintf("expected each name once, %q is that of %s too", p.Name, before)})
			continue
		}
		seen[p.Name] = name
		all = append(all, p)
	}
	return all, faults, nil
}

// Find returns the profile of a station: of the installer's that fit the one that
// says most about it, else of the built-in ones. Nil: none fits. The profile is
// not to be changed.
func (b *Book) Find(vendor, model, firmware string) *Profile {
	for _, list := range [][]Profile{b.own, b.built} {
		var best *Profile
		most := -1
		for i := range list {
			if fit := list[i].fit(vendor, model, firmware); fit > most {
				best, most = &list[i], fit
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// Named returns the profile called name; nil: there is none.
func (b *Book) Named(name string) *Profile {
	for _, list := range [][]Profile{b.own, b.built} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// Names lists the profiles, in order.
func (b *Book) Names() []string {
	var names []string
	for _, list := range [][]Profile{b.own, b.built} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	slices.Sort(names)
	return names
}
