package main

import (
	"fmt"
	"strings"
)

// emitDecode writes the reading of a type.
func emitDecode(w *writer, s *structure, shared map[string]*structure, required uint64) {
	w.line("func (v *%s) decode(r *lenient.Reader) bool {", s.name)
	w.line("\to := r.Object(%sFields, %#b)", lower(s.name), required)
	w.line("\tfor o.Next() {")
	if len(s.fields) == 0 {
		w.line("\t\to.ExtraTo(&v.Extra, %v)", s.open)
	} else {
		w.line("\t\tswitch o.Field {")
		for i, f := range s.fields {
			w.line("\t\tcase %d:", i)
			emitRead(w, f, shared)
		}
		w.line("\t\tdefault:\n\t\t\to.ExtraTo(&v.Extra, %v)\n\t\t}", s.open)
	}
	w.line("\t}\n\treturn o.Found()\n}\n")
}

// emitReset writes the emptying of a type with lists of objects. The lists keep
// their room, for the next message that is decoded into it.
func emitReset(w *writer, s *structure) {
	kept := objectLists(s)
	if len(kept) == 0 {
		return
	}
	for i, name := range kept {
		kept[i] = fmt.Sprintf("%s: v.%s[:0]", name, name)
	}
	w.line("func (v *%s) reset() { *v = %s{%s} }\n", s.name, s.name, strings.Join(kept, ", "))
}

// emptied returns the statement that empties variable v of type s.
func emptied(s *structure, v string) string {
	if len(objectLists(s)) > 0 {
		return v + ".reset()"
	}
	return fmt.Sprintf("*%s = %s{}", v, s.name)
}

// objectLists are the fields of s that are lists of objects.
func objectLists(s *structure) []string {
	var names []string
	for _, f := range s.fields {
		if f.list && f.kind == kindObject {
			names = append(names, f.name)
		}
	}
	return names
}

func emitRead(w *writer, f field, shared map[string]*structure) {
	target := "v." + f.name
	switch {
	case f.list && f.kind == kindObject:
		w.line("%s = %s[:0]", target, target)
		w.line("for a := r.Array(); a.Next(); {")
		w.line("%s = lenient.Extend(%s, &a, %d)", target, target, objectSize)
		w.line("e := &%s[len(%s)-1]", target, target)
		w.line("%s", emptied(shared[f.typeName], "e"))
		w.line("if !e.decode(r) { %s = %s[:len(%s)-1] }", target, target, target)
		w.line("}")
	case f.list && f.kind == kindText:
		w.line("%s = r.Texts()", target)
	case f.list && f.kind == kindWord:
		w.line("%s = lenient.Words[%s](r, %sWords)", target, f.typeName, lower(f.typeName))
	case f.list:
		w.line("%s = r.Ints()", target)
	case f.kind == kindObject && f.required:
		w.line("%s = %s{}", target, f.typeName)
		w.line("%s.decode(r)", target)
	case f.kind == kindObject:
		w.line("decode%s(r, &%s)", f.typeName, target)
	case f.kind == kindWord:
		w.line("r.WordTo((*string)(&%s), %sWords)", target, lower(f.typeName))
	case f.kind == kindRaw:
		w.line("%s = r.Raw()", target)
	case f.kind == kindTime:
		w.line("r.TimeTo(&%s)", target)
	case f.kind == kindAnyText:
		w.line("r.AnyTextTo(&%s)", target)
	case f.kind == kindText || f.kind == kindURI:
		w.line("r.TextTo(&%s)", target)
	case f.required:
		w.line("r.%sTo(&%s)", number(f), target)
	default:
		w.line("r.Optional%s(&%s)", number(f), target)
	}
	if f.list && f.minItems > 0 {
		w.line("r.Items(len(%s))", target)
	}
}

// number returns the part of a function's name that tells what it reads.
func number(f field) string {
	switch f.kind {
	case kindInt:
		return "Int"
	case kindNumber:
		return "Number"
	default:
		return "Bool"
	}
}

// objectSize is how many bytes of JSON the elements of lists take at least, for
// a good guess at the length of a list.
const objectSize = 96

// emitAppend writes the writing of a type.
func emitAppend(w *writer, s *structure) {
	w.line("// AppendJSON appends the object as the schema wants it: without Extra, and")
	w.line("// without optional fields that are empty.")
	w.line("func (v *%s) AppendJSON(b []byte) []byte {", s.name)
	if len(s.fields) == 0 && !s.open {
		w.line("\treturn append(b, '{', '}')\n}\n")
	} else {
		w.line("\tstart := len(b)")
		for _, f := range s.fields {
			emitWrite(w, f)
		}
		if s.open {
			w.line("b = lenient.AppendExtra(b, v.Extra)")
		}
		w.line("\treturn lenient.CloseObject(b, start)\n}\n")
	}
}

// emitEncodingJSON writes the two methods of encoding/json.
func emitEncodingJSON(w *writer, s *structure, message bool) {
	w.line("// MarshalJSON is AppendJSON for encoding/json.")
	w.line("func (v %s) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }\n", s.name)
	w.line("// UnmarshalJSON reads leniently, for encoding/json; deviations are lost.")
	w.line("func (v *%s) UnmarshalJSON(data []byte) error {", s.name)
	if message {
		w.line("\t_, err := v.Decode(data)")
	} else {
		w.line("\t*v = %s{}", s.name)
		w.line("\tr := lenient.NewReader(data)")
		w.line("\tv.decode(&r)")
		w.line("\t_, err := r.Finish()")
	}
	w.line("\treturn err\n}\n")
}

func emitWrite(w *writer, f field) {
	target := "v." + f.name
	name := fmt.Sprintf("`,%q:`", f.json)
	if f.kind == kindObject {
		switch {
		case f.list:
			if !f.required {
				w.line("if len(%s) > 0 {", target)
				defer w.line("}")
			}
			w.line("b = lenient.AppendName(b, %s)", name)
			w.line("from%s := len(b)", f.name)
			w.line("for i := range %s {", target)
			w.line("b = %s[i].AppendJSON(lenient.Comma(b))\n}", target)
			w.line("b = lenient.CloseArray(b, from%s)", f.name)
		case f.required:
			w.line("b = %s.AppendJSON(lenient.AppendName(b, %s))", target, name)
		default:
			w.line("b = append%s(b, %s, %s)", f.typeName, name, target)
		}
		return
	}
	function := ""
	switch {
	case f.list && f.kind == kindInt:
		function = "Ints"
	case f.list:
		function = "Texts"
	case f.kind == kindInt:
		function = "Int"
	case f.kind == kindNumber && f.schema.MultipleOf != nil:
		function = "Rounded"
	case f.kind == kindNumber:
		function = "Float"
	case f.kind == kindBool:
		function = "Bool"
	case f.kind == kindTime:
		function, target = "Date", "&"+target
	case f.kind == kindWord:
		function, target = "Text", "string("+target+")"
	case f.kind == kindRaw:
		function = "Raw"
	default:
		function = "Text"
	}
	if !f.required {
		function = "Optional" + function
	}
	w.line("b = lenient.Append%s(b, %s, %s)", function, name, target)
}

// emitOptional writes what is done with a field of type s that may be nil.
func emitOptional(w *writer, s *structure) {
	w.line("//go:noinline")
	w.line("func decode%s(r *lenient.Reader, v **%s) {", s.name, s.name)
	w.line("if e := new(%s); e.decode(r) { *v = e }\n}\n", s.name)
	w.line("//go:noinline")
	w.line("func append%s(b []byte, name string, v *%s) []byte {", s.name, s.name)
	w.line("if v == nil { return b }")
	w.line("return v.AppendJSON(lenient.AppendName(b, name))\n}\n")
	w.line("//go:noinline")
	w.line("func check%s(c *schema.Check, name string, v *%s) {", s.name, s.name)
	w.line("if v == nil { return }")
	w.line("c.Enter(name)\nv.check(c)\nc.Leave()\n}\n")
}

// checks tells whether a type has any rule to check.
func checks(s *structure, shared map[string]*structure) bool {
	for _, f := range s.fields {
		if f.kind == kindObject && checks(shared[f.typeName], shared) || checkItems(f) != "" || check(f, `""`, "x") != "" {
			return true
		}
	}
	return false
}
