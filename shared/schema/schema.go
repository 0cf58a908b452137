// Package schema holds the rules that the OCPP schemas state about values, as
// plain functions, and the errors that tell which of them a message broke. The
// generated Validate methods of the OCPP message packages are made of it.
package schema

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

// Rule names a rule as JSON Schema does.
type Rule string

// The rules.
const (
	Required   Rule = "required"
	MaxLength  Rule = "maxLength" // counted in characters
	Enum       Rule = "enum"
	MinItems   Rule = "minItems"
	MaxItems   Rule = "maxItems"
	Minimum    Rule = "minimum"
	Maximum    Rule = "maximum"
	MultipleOf Rule = "multipleOf"
	Format     Rule = "format"
)

// Violation is one value that breaks a rule.
type Violation struct {
	Path string // meterValue[0].sampledValue[3].unit
	Rule Rule
	Want string // the bound, the words, the form
	Got  string // the value, or its length or number of items
}

// String returns a sentence: where, what was expected and what came.
func (v Violation) String() string {
	return v.Path + ": expected " + string(v.Rule) + " " + v.Want + ", got " + v.Got
}

// ValidationError lists the violations of one message, at least one.
type ValidationError struct {
	Violations []Violation
}

// Error lists the violations.
func (e *ValidationError) Error() string {
	texts := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		texts[i] = v.String()
	}
	return strings.Join(texts, "; ")
}

// Check collects the violations of one message. The zero Check is ready; one
// that finds nothing allocates nothing. Its methods are called some thousand
// times from generated code and so kept from being copied there.
type Check struct {
	path       []step
	violations []Violation
}

type step struct {
	name  string
	index int // of an element, or -1
}

// Err returns a *ValidationError, or nil when every rule was kept.
func (c *Check) Err() error {
	if len(c.violations) == 0 {
		return nil
	}
	return &ValidationError{Violations: c.violations}
}

// Enter goes down into the field name; Leave comes back.
//
//go:noinline
func (c *Check) Enter(name string) {
	c.path = append(c.path, step{name: name, index: -1})
}

// EnterItem goes down into element i of the field name; Leave comes back.
//
//go:noinline
func (c *Check) EnterItem(name string, i int) {
	c.path = append(c.path, step{name: name, index: i})
}

// Leave goes back up. An element that is no object is checked between EnterItem
// and Leave under the empty name.
//
//go:noinline
func (c *Check) Leave() {
	c.path = c.path[:len(c.path)-1]
}

// Length checks that text has at most limit characters.
//
//go:noinline
func (c *Check) Length(name, text string, limit int) {
	if len(text) > limit && utf8.RuneCountInString(text) > limit {
		c.add(name, MaxLength, strconv.Itoa(limit), strconv.Itoa(utf8.RuneCountInString(text))+" characters")
	}
}

// Word checks that text is one of words.
//
//go:noinline
func (c *Check) Word(name, text string, words []string) {
	if !slices.Contains(words, text) {
		c.add(name, Enum, "one of "+strings.Join(words, ", "), strconv.Quote(text))
	}
}

// Items checks that a list of n elements has at least least and at most most;
// a bound of -1 is none.
//
//go:noinline
func (c *Check) Items(name string, n, least, most int) {
	if least >= 0 && n < least {
		c.add(name, MinItems, strconv.Itoa(least), strconv.Itoa(n)+" items")
	}
	if most >= 0 && n > most {
		c.add(name, MaxItems, strconv.Itoa(most), strconv.Itoa(n)+" items")
	}
}

// AtLeast checks that v is not below limit.
//
//go:noinline
func (c *Check) AtLeast(name string, v, limit float64) {
	if v < limit {
		c.add(name, Minimum, number(limit), number(v))
	}
}

// AtMost checks that v is not above limit.
//
//go:noinline
func (c *Check) AtMost(name string, v, limit float64) {
	if v > limit {
		c.add(name, Maximum, number(limit), number(v))
	}
}

// Decimals checks that v has at most places decimals, in decimal arithmetic:
// 21.4 is a multiple of 0.1 although no float64 is.
func (c *Check) Decimals(name string, v float64, places int) {
	if lenient.Decimals(v) > places {
		c.add(name, MultipleOf, "1e-"+strconv.Itoa(places), number(v))
	}
}

// Finite checks that v can be written as a JSON number.
//
//go:noinline
func (c *Check) Finite(name string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		c.add(name, Format, "a finite number", number(v))
	}
}

// Time checks that t is a time.
//
//go:noinline
func (c *Check) Time(name string, t lenient.Time) {
	switch {
	case t.IsZero():
		c.add(name, Required, "a time", "nothing")
	case t.Quality == lenient.Unreadable:
		c.add(name, Format, "date-time", strconv.Quote(t.Raw))
	}
}

// URI checks that text is an absolute URI.
func (c *Check) URI(name, text string) {
	if u, err := url.Parse(text); err != nil || !u.IsAbs() {
		c.add(name, Format, "uri", strconv.Quote(text))
	}
}

func (c *Check) add(name string, rule Rule, want, got string) {
	var path strings.Builder
	for _, at := range append(slices.Clone(c.path), step{name: name, index: -1}) {
		if path.Len() > 0 && at.name != "" {
			path.WriteByte('.')
		}
		path.WriteString(at.name)
		if at.index >= 0 {
			path.WriteByte('[')
			path.WriteString(strconv.Itoa(at.index))
			path.WriteByte(']')
		}
	}
	c.violations = append(c.violations, Violation{Path: path.String(), Rule: rule, Want: want, Got: got})
}

func number(v float64) string {
	return strconv.FormatFloat(v, 'f', -1, 64)
}
