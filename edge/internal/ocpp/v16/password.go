package v16

import (
	"encoding/hex"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
)

// keyPassword is the key whose value is the password of the charge point, written
// but never read. OCPP 1.6 security extension §2.4.
const keyPassword = "AuthorizationKey"

// passwordOf reads a password that a command sets: 16 to 20 bytes, as text or in
// hexadecimal digits, which is how it is sent. OCPP-J 1.6 §6.2.2.
func passwordOf(value string) (password []byte, sent string, ok bool) {
	if b, err := hex.DecodeString(value); err == nil && len(b) >= 16 && len(b) <= 20 {
		return b, value, true
	}
	if len(value) >= 16 && len(value) <= 20 {
		return []byte(value), strings.ToUpper(hex.EncodeToString([]byte(value))), true
	}
	return nil, "", false
}

// newPassword makes the password good that the charge point is about to be told,
// beside the one that it has: it may come back with either.
func (j *errand) newPassword(password []byte) error {
	hash, err := credential.NewHash(password)
	if err != nil {
		return err
	}
	return j.OnStation(func() error { return j.st.PasswordChanged(hash) })
}
