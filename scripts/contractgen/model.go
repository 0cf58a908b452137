package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// A pkg is what the generator read of one Go package: its structs and its named
// strings, with their comments.
type pkg struct {
	structs map[string]*structType
	enums   map[string]*enumType
	aliases map[string]string // other named types: name to underlying name
}

type structType struct {
	name   string
	doc    string
	fields []field
}

type field struct {
	name     string // on the wire; empty for an embedded struct
	doc      string
	typ      ast.Expr
	optional bool
}

type enumType struct {
	doc    string
	values []string
}

// read parses the package in dir. Files that only tests use are left out.
func read(dir string) (*pkg, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	p := &pkg{structs: map[string]*structType{}, enums: map[string]*enumType{}, aliases: map[string]string{}}
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range f.Decls {
			if g, ok := decl.(*ast.GenDecl); ok {
				p.declare(g)
			}
		}
	}
	return p, nil
}

func (p *pkg) declare(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			doc := text(s.Doc)
			if doc == "" {
				doc = text(g.Doc)
			}
			switch t := s.Type.(type) {
			case *ast.StructType:
				p.structs[s.Name.Name] = newStruct(s.Name.Name, doc, t)
			case *ast.Ident:
				if t.Name == "string" {
					e := p.enum(s.Name.Name)
					e.doc = doc
				} else {
					p.aliases[s.Name.Name] = t.Name
				}
			}
		case *ast.ValueSpec:
			id, ok := s.Type.(*ast.Ident)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, v := range s.Values {
				lit, ok := v.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				if word, err := strconv.Unquote(lit.Value); err == nil {
					e := p.enum(id.Name)
					e.values = append(e.values, word)
				}
			}
		}
	}
}

func (p *pkg) enum(name string) *enumType {
	e := p.enums[name]
	if e == nil {
		e = &enumType{}
		p.enums[name] = e
	}
	return e
}

func newStruct(name, doc string, t *ast.StructType) *structType {
	s := &structType{name: name, doc: doc}
	for _, f := range t.Fields.List {
		var tag string
		if f.Tag != nil {
			if raw, err := strconv.Unquote(f.Tag.Value); err == nil {
				tag = reflect.StructTag(raw).Get("json")
			}
		}
		doc := text(f.Doc)
		if c := text(f.Comment); c != "" {
			doc = strings.TrimSpace(doc + " " + c)
		}
		word, opts, _ := strings.Cut(tag, ",")
		if word == "-" {
			continue
		}
		optional := strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero")
		if len(f.Names) == 0 && word == "" {
			s.fields = append(s.fields, field{typ: f.Type})
			continue
		}
		s.fields = append(s.fields, field{name: word, doc: doc, typ: f.Type, optional: optional})
	}
	return s
}

// text is a comment as one line.
func text(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// A schema is a JSON Schema (2020-12) as far as this contract needs it.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type,omitempty"`
	Format      string             `json:"format,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Examples    []string           `json:"examples,omitempty"` // words in use; others may be added
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Additional  *schema            `json:"additionalProperties,omitempty"`
	MinItems    int                `json:"minItems,omitempty"`
	MaxItems    int                `json:"maxItems,omitempty"`
}

// A contract reads types of the two packages; event's names need no prefix.
type contract struct {
	event, wire *pkg
}

// of makes the schema of a Go type as it stands in package home.
func (c *contract) of(home *pkg, t ast.Expr) (*schema, error) {
	switch t := t.(type) {
	case *ast.StarExpr:
		return c.of(home, t.X)
	case *ast.ArrayType:
		items, err := c.of(home, t.Elt)
		if err != nil {
			return nil, err
		}
		s := &schema{Type: "array", Items: items}
		if n, ok := t.Len.(*ast.BasicLit); ok {
			if s.MinItems, err = strconv.Atoi(n.Value); err != nil {
				return nil, err
			}
			s.MaxItems = s.MinItems
		}
		return s, nil
	case *ast.MapType:
		v, err := c.of(home, t.Value)
		if err != nil {
			return nil, err
		}
		return &schema{Type: "object", Additional: v}, nil
	case *ast.SelectorExpr:
		switch x := fmt.Sprint(t.X) + "." + t.Sel.Name; x {
		case "time.Time":
			return &schema{Type: "string", Format: "date-time"}, nil
		case "json.RawMessage":
			return &schema{}, nil
		default:
			if fmt.Sprint(t.X) == "event" {
				return c.named(c.event, t.Sel.Name)
			}
			return nil, fmt.Errorf("no schema for %s", x)
		}
	case *ast.Ident:
		return c.named(home, t.Name)
	}
	return nil, fmt.Errorf("no schema for a %T", t)
}

func (c *contract) named(home *pkg, name string) (*schema, error) {
	switch name {
	case "string":
		return &schema{Type: "string"}, nil
	case "bool":
		return &schema{Type: "boolean"}, nil
	case "int", "int64", "uint64":
		return &schema{Type: "integer"}, nil
	case "float64":
		return &schema{Type: "number"}, nil
	case "Sequence":
		return &schema{Type: "string", Pattern: "^[0-9a-f]{16}$"}, nil
	}
	if e := home.enums[name]; e != nil {
		return &schema{Type: "string", Examples: e.values}, nil
	}
	if s := home.structs[name]; s != nil {
		return c.object(home, s)
	}
	if u := home.aliases[name]; u != "" {
		return c.named(home, u)
	}
	return nil, fmt.Errorf("no schema for %s", name)
}

func (c *contract) object(home *pkg, s *structType) (*schema, error) {
	out := &schema{Type: "object", Description: s.doc, Properties: map[string]*schema{}}
	for _, f := range s.fields {
		t, err := c.of(home, f.typ)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", s.name, f.name, err)
		}
		if f.name == "" { // embedded
			for k, v := range t.Properties {
				out.Properties[k] = v
			}
			out.Required = append(out.Required, t.Required...)
			continue
		}
		if f.doc != "" {
			t.Description = f.doc
		}
		out.Properties[f.name] = t
		if !f.optional {
			out.Required = append(out.Required, f.name)
		}
	}
	return out, nil
}

// rows lists the fields of s for a table, embedded ones in their place.
func (c *contract) rows(home *pkg, s *structType) ([]row, error) {
	var out []row
	for _, f := range s.fields {
		t, err := c.of(home, f.typ)
		if err != nil {
			return nil, err
		}
		if f.name == "" {
			inner := f.typ
			from := home
			if sel, ok := inner.(*ast.SelectorExpr); ok {
				from, inner = c.event, sel.Sel
			}
			more, err := c.rows(from, from.structs[fmt.Sprint(inner)])
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		out = append(out, row{name: f.name, typ: typeWord(t), optional: f.optional, doc: f.doc})
	}
	return out, nil
}

type row struct {
	name, typ string
	optional  bool
	doc       string
}

func typeWord(s *schema) string {
	switch {
	case s.Type == "array":
		return "list of " + typeWord(s.Items)
	case s.Additional != nil:
		return "map to " + typeWord(s.Additional)
	case s.Format == "date-time":
		return "time"
	case s.Pattern != "":
		return "sequence"
	case s.Type == "":
		return "any"
	}
	return s.Type
}
