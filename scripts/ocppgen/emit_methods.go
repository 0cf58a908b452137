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
	keep := "Extra"
	if s.open {
		keep = "Open"
	}
	if len(s.fields) == 0 {
		w.line("\t\to.%s(&v.Extra)", keep)
	} else {
		w.line("\t\tswitch o.Field {")
		for i, f := range s.fields {
			w.line("\t\tcase %d:", i)
			emitRead(w, f, shared)
		}
		w.line("\t\tdefault:\n\t\t\to.%s(&v.Extra)\n\t\t}", keep)
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
	if f.list {
		if f.kind == kindObject {
			w.line("%s = %s[:0]", target, target)
		} else {
			w.line("%s = nil", target)
		}
		w.line("for a := r.Array(); a.Next(); {")
		switch f.kind {
		case kindObject:
			w.line("%s = lenient.Extend(%s, &a, %d)", target, target, objectSize)
			w.line("e := &%s[len(%s)-1]", target, target)
			w.line("%s", emptied(shared[f.typeName], "e"))
			w.line("if !e.decode(r) { %s = %s[:len(%s)-1] }", target, target, target)
		case kindInt, kindNumber, kindBool:
			w.line("if e, ok := %s; ok { %s = append(%s, e) }", read(f), target, target)
		default:
			w.line("%s = append(%s, %s)", target, target, read(f))
		}
		w.line("}")
		if f.minItems > 0 {
			w.line("if len(%s) == 0 { r.NoItems() }", target)
		}
		return
	}
	switch f.kind {
	case kindObject:
		if f.required {
			w.line("%s = %s{}", target, f.typeName)
			w.line("%s.decode(r)", target)
		} else {
			w.line("if e := new(%s); e.decode(r) { %s = e }", f.typeName, target)
		}
	case kindInt, kindNumber, kindBool:
		if f.required {
			w.line("%s, _ = %s", target, read(f))
		} else {
			w.line("if e, ok := %s; ok { %s = &e }", read(f), target)
		}
	default:
		w.line("%s = %s", target, read(f))
	}
}

// objectSize is how many bytes of JSON the elements of lists take at least, for
// a good guess at the length of a list.
const objectSize = 96

// read returns the call that reads one value.
func read(f field) string {
	switch f.kind {
	case kindInt:
		return "r.Int()"
	case kindNumber:
		return "r.Number()"
	case kindBool:
		return "r.Bool()"
	case kindTime:
		return "r.Time()"
	case kindWord:
		return fmt.Sprintf("%s(r.Word(%sWords))", f.typeName, lower(f.typeName))
	case kindRaw:
		return "r.Raw()"
	case kindAnyText:
		return "r.AnyText()"
	default:
		return "r.Text()"
	}
}

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
	condition := ""
	if !f.required {
		switch {
		case f.list || f.kind == kindRaw:
			condition = "len(" + target + ") > 0"
		case f.kind == kindText || f.kind == kindAnyText || f.kind == kindURI || f.kind == kindWord:
			condition = target + ` != ""`
		case f.kind == kindTime:
			condition = "!" + target + ".IsZero()"
		default:
			condition = target + " != nil"
		}
		w.line("if %s {", condition)
	}
	w.line("b = append(b, `,%q:`...)", f.json)
	if f.list {
		from := "from"
		w.line("%s := len(b)", from+f.name)
		w.line("for i := range %s {\nb = append(b, ',')", target)
		w.line("b = %s\n}", write(f, target+"[i]"))
		w.line("b = lenient.CloseArray(b, %s)", from+f.name)
	} else {
		if condition != "" && (f.kind == kindInt || f.kind == kindNumber || f.kind == kindBool) {
			target = "*" + target
		}
		w.line("b = %s", write(f, target))
	}
	if condition != "" {
		w.line("}")
	}
}

// write returns the expression that appends one value.
func write(f field, value string) string {
	switch f.kind {
	case kindInt:
		return "strconv.AppendInt(b, " + value + ", 10)"
	case kindNumber:
		if f.schema.MultipleOf != nil {
			return "lenient.AppendDecimal(b, " + value + ", 1)"
		}
		return "lenient.AppendNumber(b, " + value + ")"
	case kindBool:
		return "strconv.AppendBool(b, " + value + ")"
	case kindTime, kindObject:
		return value + ".AppendJSON(b)"
	case kindWord:
		return "lenient.AppendString(b, string(" + value + "))"
	case kindRaw:
		return "append(b, " + value + "...)"
	default:
		return "lenient.AppendString(b, " + value + ")"
	}
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
