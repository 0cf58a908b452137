package schema_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/schema"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		check func(c *schema.Check)
		want  string // of the error; empty for none
	}{
		{"short enough", func(c *schema.Check) { c.Length("a", strings.Repeat("€", 20), 20) }, ""},
		{"too long", func(c *schema.Check) { c.Length("a", strings.Repeat("€", 21), 20) }, "a: expected maxLength 20, got 21 characters"},
		{"known word", func(c *schema.Check) { c.Word("a", "x", []string{"x", "y"}) }, ""},
		{"unknown word", func(c *schema.Check) { c.Word("a", "X", []string{"x", "y"}) }, `a: expected enum one of x, y, got "X"`},
		{"items", func(c *schema.Check) { c.Items("a", 2, 2, 2); c.Items("a", 0, -1, -1) }, ""},
		{"too few items", func(c *schema.Check) { c.Items("a", 1, 2, -1) }, "a: expected minItems 2, got 1 items"},
		{"too many items", func(c *schema.Check) { c.Items("a", 3, -1, 2) }, "a: expected maxItems 2, got 3 items"},
		{"bounds", func(c *schema.Check) { c.AtLeast("a", 0, 0); c.AtMost("a", 3, 3) }, ""},
		{"below", func(c *schema.Check) { c.AtLeast("a", -0.5, 0) }, "a: expected minimum 0, got -0.5"},
		{"above", func(c *schema.Check) { c.AtMost("a", 4, 3) }, "a: expected maximum 3, got 4"},
		{"one decimal", func(c *schema.Check) { c.Decimals("a", 21.4, 1); c.Decimals("a", 16, 1) }, ""},
		{"two decimals", func(c *schema.Check) { c.Decimals("a", 21.45, 1) }, "a: expected multipleOf 1e-1, got 21.45"},
		{"finite", func(c *schema.Check) { c.Finite("a", 1) }, ""},
		{"infinite", func(c *schema.Check) { c.Finite("a", math.Inf(1)) }, "a: expected format a finite number, got +Inf"},
		{"time", func(c *schema.Check) { c.Time("a", lenient.At(time.Unix(1795327262, 0))) }, ""},
		{"no time", func(c *schema.Check) { c.Time("a", lenient.Time{}) }, "a: expected required a time, got nothing"},
		{"bad time", func(c *schema.Check) { c.Time("a", lenient.ParseTime("soon")) }, `a: expected format date-time, got "soon"`},
		{"uri", func(c *schema.Check) { c.URI("a", "ftp://user:pw@host/x") }, ""},
		{"no uri", func(c *schema.Check) { c.URI("a", "host/x") }, `a: expected format uri, got "host/x"`},
		{"path", func(c *schema.Check) {
			c.EnterItem("list", 3)
			c.Enter("part")
			c.Length("a", "xx", 1)
			c.Leave()
			c.Leave()
			c.EnterItem("texts", 1)
			c.Length("", "xx", 1)
			c.Leave()
			c.Length("b", "xx", 1)
		}, "list[3].part.a: expected maxLength 1, got 2 characters; texts[1]: expected maxLength 1, got 2 characters; b: expected maxLength 1, got 2 characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c schema.Check
			tt.check(&c)
			err := c.Err()
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if _, ok := errors.AsType[*schema.ValidationError](err); !ok || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
