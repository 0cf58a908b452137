package job

import (
	"strconv"
	"strings"
	"unicode"
)

// SameValue tells whether a configuration value reads back as it was written.
func SameValue(written, read string) bool {
	written, read = strings.TrimSpace(written), strings.TrimSpace(read)
	if strings.EqualFold(written, read) {
		return true
	}
	a, errA := strconv.ParseFloat(written, 64)
	b, errB := strconv.ParseFloat(read, 64)
	if errA == nil && errB == nil {
		return a == b
	}
	split := func(r rune) bool { return r == ',' || unicode.IsSpace(r) }
	return strings.EqualFold(strings.Join(strings.FieldsFunc(written, split), ","), strings.Join(strings.FieldsFunc(read, split), ","))
}

// Secret tells that the value of a key or variable is nobody's business.
func Secret(name string) bool {
	name = strings.ToLower(name)
	return name == "authorizationkey" || strings.Contains(name, "password")
}
