// Package credential knows by what a station is recognised: what its identity may
// look like, and whether a password is the one whose hash is kept.
package credential

import (
	"unicode"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/event"
)

// MaxIdentity is how many characters an identity may have. OCPP 2.0.1 allows 48
// and 1.6 sets no limit; real ones are longer.
const MaxIdentity = 255

// ValidIdentity tells whether a station may be called id: printable characters,
// at most MaxIdentity of them.
func ValidIdentity(id event.StationID) bool {
	if id == "" || !utf8.ValidString(string(id)) || utf8.RuneCountInString(string(id)) > MaxIdentity {
		return false
	}
	for _, r := range string(id) {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
