package main

import (
	"fmt"
	"strings"
)

// emitCheck writes the validation of a type.
func emitCheck(w *writer, s *structure) {
	body := new(writer)
	for _, f := range s.fields {
		emitFieldCheck(body, f)
	}
	if body.Len() == 0 {
		w.line("func (v *%s) check(*schema.Check) {}\n", s.name)
		return
	}
	w.line("func (v *%s) check(c *schema.Check) {", s.name)
	w.Write(body.Bytes())
	w.line("}\n")
}

func emitFieldCheck(w *writer, f field) {
	target := "v." + f.name
	if f.list {
		element := check(f, `""`, target+"[i]")
		if f.kind == kindObject {
			element = target + "[i].check(c)\n"
		}
		items := checkItems(f)
		if items != "" && !f.required {
			items = fmt.Sprintf("if len(%s) > 0 {\n%s}\n", target, items)
		}
		w.WriteString(items)
		if element != "" {
			w.line("for i := range %s {\nc.EnterItem(%q, i)\n%sc.Leave()\n}", target, f.json, element)
		}
		return
	}
	value := target
	condition := ""
	if !f.required {
		switch f.kind {
		case kindText, kindAnyText, kindURI, kindWord:
			condition = target + ` != ""`
		case kindTime:
			condition = "!" + target + ".IsZero()"
		case kindInt, kindNumber:
			condition, value = target+" != nil", "*"+target
		default:
			condition = target + " != nil"
		}
	}
	text := check(f, fmt.Sprintf("%q", f.json), value)
	if f.kind == kindObject && !f.required {
		w.line("check%s(c, %q, %s)", f.typeName, f.json, target)
		return
	}
	if f.kind == kindObject {
		text = fmt.Sprintf("c.Enter(%q)\n%s.check(c)\nc.Leave()\n", f.json, target)
	}
	if text == "" {
		return
	}
	if condition != "" && f.kind != kindText { // an empty text is short enough
		text = fmt.Sprintf("if %s {\n%s}\n", condition, text)
	}
	w.WriteString(text)
}

// checkItems returns the check of the length of a list.
func checkItems(f field) string {
	if !f.list || f.minItems <= 0 && f.maxItems < 0 {
		return ""
	}
	return fmt.Sprintf("c.Items(%q, len(v.%s), %d, %d)\n", f.json, f.name, f.minItems, f.maxItems)
}

// check returns the checks of one value that is no object.
func check(f field, name, value string) string {
	var b strings.Builder
	n := f.schema
	call := func(function string, args ...string) {
		fmt.Fprintf(&b, "c.%s(%s)\n", function, strings.Join(append([]string{name}, args...), ", "))
	}
	switch f.kind {
	case kindWord:
		call("Word", "string("+value+")", lower(f.typeName)+"Words")
	case kindTime:
		call("Time", value)
	case kindURI:
		call("URI", value)
		if n.MaxLength >= 0 {
			call("Length", value, fmt.Sprint(n.MaxLength))
		}
	case kindText:
		call("Length", value, fmt.Sprint(n.MaxLength))
	case kindNumber, kindInt:
		number := value
		if f.kind == kindInt {
			number = "float64(" + value + ")"
		} else {
			call("Finite", value)
		}
		if n.MultipleOf != nil {
			call("Decimals", value, "1")
		}
		if n.Minimum != nil {
			call("AtLeast", number, fmt.Sprint(*n.Minimum))
		}
		if n.Maximum != nil {
			call("AtMost", number, fmt.Sprint(*n.Maximum))
		}
	}
	return b.String()
}
