package lenient

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// maxLevels is how many levels of arrays and objects a Reader descends into by
// itself; what nests deeper is unknown to every schema and kept raw.
const maxLevels = 24

// A Reader reads one payload. It is made by NewReader, belongs to one call of
// Decode and lives on its stack. After a syntax error it reads nothing more:
// every method returns zero and ends its loop.
type Reader struct {
	data       []byte
	pos        int
	need       bool // the value under the cursor belongs to a required field
	broken     bool // a syntax error ended the reading
	level      int  // how many elements of path are in use
	path       [maxLevels]step
	deviations []Deviation
	problems   []Problem
}

// step is one level of the way to the value under the cursor: a field of an
// object or an element of an array.
type step struct {
	name  string
	index int // -1 in an object
}

// NewReader returns a Reader of payload, which must not change while it reads.
// Nothing that the Reader returns refers to payload.
func NewReader(payload []byte) Reader {
	return Reader{data: payload, pos: Space(payload, 0), need: true}
}

// Finish checks that nothing follows the payload and returns what was recorded
// on the way: nil and nil for a payload as the schema wants it. The error is an
// *Error.
func (r *Reader) Finish() ([]Deviation, error) {
	if !r.broken {
		if r.pos = Space(r.data, r.pos); r.pos < len(r.data) {
			r.fail(r.pos, "the end of the payload")
		}
	}
	if len(r.problems) > 0 {
		return r.deviations, &Error{Problems: r.problems}
	}
	return r.deviations, nil
}

// Object is the walk over the members of one JSON object.
type Object struct {
	// Field is the index of the member under the cursor in the list of fields
	// given to Reader.Object, or -1 for one that is not in it.
	Field int

	r       *Reader
	fields  []string
	need    uint64 // required fields, by bit
	seen    uint64 // fields with a value, by bit
	key     []byte // of the member under the cursor, with its quotes
	found   bool   // there was an object
	open    bool   // there may be more members
	first   bool
	wrapped bool // in an array of one
}

// Object begins to read an object of at most 64 fields; required has the bit
// 1<<i set for each required fields[i]. The value of each member that Next
// finds must be read before Next is called again.
func (r *Reader) Object(fields []string, required uint64) Object {
	o := Object{Field: -1, r: r, fields: fields, need: required}
	if r.broken {
		return o
	}
	c := r.peek()
	if c == 'n' && r.level == 0 && r.literal("null") { // a payload of null means {}
		r.deviate(KindNull, "null")
		o.found = true
		r.missing(fields, required)
		return o
	}
	if c == '[' {
		o.wrapped = r.unwrap()
		c = r.peek()
	}
	if c != '{' || r.level == maxLevels {
		r.mismatch("an object")
		r.rewrap(o.wrapped)
		return o
	}
	r.pos++
	r.level++
	o.found, o.open, o.first = true, true, true
	return o
}

// Found tells whether there was an object at all.
func (o *Object) Found() bool {
	return o.found
}

// Next moves to the next member and reports whether there is one. At the end
// it records the required fields that had no value.
func (o *Object) Next() bool {
	r := o.r
	for o.open && !r.broken {
		r.path[r.level-1] = step{index: -1}
		r.pos = Space(r.data, r.pos)
		switch c := r.peek(); {
		case c == '}':
			r.pos++
			return o.end()
		case o.first:
			o.first = false
		case c == ',':
			r.pos = Space(r.data, r.pos+1)
		default:
			r.fail(r.pos, "a comma or the end of the object")
			return false
		}
		if r.peek() != '"' {
			r.fail(r.pos, "a field name")
			return false
		}
		end, plain, want := scanString(r.data, r.pos)
		if want != "" {
			r.fail(end, want)
			return false
		}
		o.key = r.data[r.pos:end]
		r.pos = Space(r.data, end)
		if r.peek() != ':' {
			r.fail(r.pos, "a colon")
			return false
		}
		r.pos = Space(r.data, r.pos+1)
		o.find(plain)
		if o.Field >= 0 && r.peek() == 'n' && r.literal("null") {
			r.deviate(KindNull, "null")
			continue
		}
		return true
	}
	return false
}

// find sets Field, and the name in the path, for the key under the cursor.
func (o *Object) find(plain bool) {
	r := o.r
	key := o.key[1 : len(o.key)-1]
	if !plain {
		key = []byte(Unquote(o.key))
	}
	from := o.Field + 1 // most chargers write the fields in the order of the schema
	o.Field = -1
	for i := range o.fields {
		if i += from; i >= len(o.fields) {
			i -= len(o.fields)
		}
		if string(key) == o.fields[i] {
			o.Field = i
			break
		}
	}
	if o.Field < 0 {
		o.fold(key)
		if o.Field < 0 {
			return
		}
	}
	r.path[r.level-1].name = o.fields[o.Field]
	bit := uint64(1) << o.Field
	r.need = o.need&bit != 0
	if o.seen&bit != 0 {
		r.deviate(KindDuplicateKey, string(key))
	}
	if r.peek() != 'n' {
		o.seen |= bit
	}
}

// fold looks for key in other case.
func (o *Object) fold(key []byte) {
	for i, field := range o.fields {
		if len(field) == len(key) && strings.EqualFold(field, string(key)) {
			o.Field = i
			o.r.path[o.r.level-1].name = field
			o.r.deviate(KindKeyCase, quote(key))
			return
		}
	}
}

// end leaves the object and always returns false.
func (o *Object) end() bool {
	r := o.r
	o.open = false
	r.level--
	r.missing(o.fields, o.need&^o.seen)
	r.rewrap(o.wrapped)
	return false
}

// missing records the required fields that had no value.
func (r *Reader) missing(fields []string, bits uint64) {
	for i, field := range fields {
		if bits&(1<<i) == 0 {
			continue
		}
		path := field
		if at := r.where(); at != "" {
			path = at + "." + field
		}
		r.report(Problem{Path: path, Class: ClassOccurrence, Want: "a value"})
	}
}

// Extra keeps the member under the cursor, whose Field is -1, in extra, which
// it makes when it is nil. It records it as unknown.
func (o *Object) Extra(extra *map[string]json.RawMessage) {
	o.keep(extra, true)
}

// Open is Extra for objects whose schema allows any field.
func (o *Object) Open(extra *map[string]json.RawMessage) {
	o.keep(extra, false)
}

func (o *Object) keep(extra *map[string]json.RawMessage, unknown bool) {
	r := o.r
	name := Unquote(o.key)
	r.path[r.level-1].name = name
	raw := r.skip()
	if r.broken {
		return
	}
	if *extra == nil {
		*extra = make(map[string]json.RawMessage)
	}
	if _, twice := (*extra)[name]; twice {
		r.deviate(KindDuplicateKey, quote([]byte(name)))
	} else if unknown {
		r.deviate(KindUnknownField, quote(raw))
	}
	(*extra)[name] = bytes.Clone(raw)
}

// Array is the walk over the elements of one JSON array.
type Array struct {
	r      *Reader
	need   bool
	open   bool
	single bool // one element without its array
	first  bool
}

// Array begins to read an array. Anything but an array is taken as its only
// element.
func (r *Reader) Array() Array {
	a := Array{r: r, need: r.need}
	if r.broken {
		return a
	}
	if r.level == maxLevels {
		r.mismatch("less nesting")
		return a
	}
	a.open, a.first = true, true
	if r.peek() == '[' {
		r.pos++
	} else {
		a.single = true
		r.deviate(KindOneForArray, "")
	}
	r.level++
	r.path[r.level-1] = step{index: -1}
	return a
}

// Next moves to the next element and reports whether there is one. Elements
// that are null are left out.
func (a *Array) Next() bool {
	r := a.r
	for a.open && !r.broken {
		at := &r.path[r.level-1]
		r.need = a.need
		if a.single {
			if !a.first {
				return a.end()
			}
			a.first = false
			at.index = 0
			return true
		}
		r.pos = Space(r.data, r.pos)
		switch c := r.peek(); {
		case c == ']':
			r.pos++
			return a.end()
		case a.first:
			a.first = false
		case c == ',':
			r.pos = Space(r.data, r.pos+1)
		default:
			r.fail(r.pos, "a comma or the end of the array")
			return false
		}
		at.index++
		if r.peek() == 'n' && r.literal("null") {
			r.deviate(KindNull, "null")
			continue
		}
		return true
	}
	return false
}

func (a *Array) end() bool {
	a.open = false
	a.r.level--
	return false
}

// NoItems records that the list just read was empty although its schema wants
// at least one item.
func (r *Reader) NoItems() {
	if !r.broken {
		r.deviate(KindEmptyList, "[]")
	}
}

// Extend makes room for one more element of the array under the cursor, each of
// which takes about size bytes of JSON. An element that list has held before
// comes back as it was, so that what it holds can be used again.
func Extend[T any](list []T, a *Array, size int) []T {
	if cap(list) == 0 {
		// What is left of the payload has room for as many, and it is never a lot.
		list = make([]T, 0, min(max((len(a.r.data)-a.r.pos)/size, 1), 16))
	}
	if n := len(list); n < cap(list) {
		return list[:n+1]
	}
	return append(list, *new(T))
}

// peek returns the byte under the cursor, or 0 at the end.
func (r *Reader) peek() byte {
	if r.pos < len(r.data) {
		return r.data[r.pos]
	}
	return 0
}

// literal moves over word when it is under the cursor.
func (r *Reader) literal(word string) bool {
	end, want := scanWord(r.data, r.pos, word)
	if want == "" {
		r.pos = end
	}
	return want == ""
}

// skip moves over the value under the cursor and returns its text.
func (r *Reader) skip() []byte {
	if r.broken {
		return nil
	}
	end, want := scanValue(r.data, r.pos, MaxDepth-r.level)
	if want != "" {
		r.fail(end, want)
		return nil
	}
	raw := r.data[r.pos:end]
	r.pos = end
	return raw
}

// unwrap moves to the first element of the array under the cursor, for a place
// where one value was meant. It stays where it is when the array is empty.
func (r *Reader) unwrap() bool {
	first := Space(r.data, r.pos+1)
	if first >= len(r.data) || r.data[first] == ']' || r.data[first] == 'n' {
		return false
	}
	r.deviate(KindArrayForOne, "")
	r.pos = first
	return true
}

// rewrap moves behind the array that unwrap has entered, past any further
// elements.
func (r *Reader) rewrap(wrapped bool) {
	if !wrapped {
		return
	}
	for !r.broken {
		r.pos = Space(r.data, r.pos)
		switch r.peek() {
		case ']':
			r.pos++
			return
		case ',':
			r.pos = Space(r.data, r.pos+1)
			r.skip()
		default:
			r.fail(r.pos, "a comma or the end of the array")
		}
	}
}

// mismatch skips a value that cannot be understood and records it: as a
// problem where the schema requires it, else as a deviation.
func (r *Reader) mismatch(want string) {
	raw := r.skip()
	if r.broken {
		return
	}
	if r.need {
		r.report(Problem{Path: r.where(), Class: ClassType, Want: want, Got: quote(raw)})
	} else {
		r.deviate(KindUnreadable, quote(raw))
	}
}

// fail records a syntax error at byte at and ends the reading.
func (r *Reader) fail(at int, want string) {
	if r.broken {
		return
	}
	r.broken = true
	got := "the end"
	if at < len(r.data) {
		got = quote(r.data[at:])
	}
	if len(r.problems) == MaxRecords { // the one that matters most has its place
		r.problems = r.problems[:MaxRecords-1]
	}
	r.report(Problem{Path: r.where(), Class: ClassFormat, Want: want + " at byte " + strconv.Itoa(at), Got: got})
}

func (r *Reader) deviate(kind Kind, text string) {
	if len(r.deviations) < MaxRecords {
		r.deviations = append(r.deviations, Deviation{Path: r.where(), Kind: kind, Text: text})
	}
}

func (r *Reader) report(p Problem) {
	if len(r.problems) < MaxRecords {
		r.problems = append(r.problems, p)
	}
}

// where returns the path of the value under the cursor.
func (r *Reader) where() string {
	var b strings.Builder
	for _, at := range r.path[:r.level] {
		switch {
		case at.index >= 0:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(at.index))
			b.WriteByte(']')
		case at.name != "":
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(quote([]byte(at.name)))
		}
	}
	return b.String()
}
