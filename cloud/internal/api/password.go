package api

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// The cost of a hash: what OWASP advises for argon2id. A gateway refuses much
// dearer ones.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashSize   = 32 // bytes
	saltSize   = 16
)

// newPassword returns a password for a station that nobody can guess, of as many
// characters as an OCPP 1.6 station can keep in plain.
func newPassword() string { return rand.Text()[:20] }

// hashPassword returns a password as gateways compare it: argon2id in the PHC
// text form.
func hashPassword(password string) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) //nolint:errcheck // it never fails
	key := argon2.IDKey(plainKey([]byte(password)), salt, hashPasses, hashMemory, 1, hashSize)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, hashMemory, hashPasses, b64(salt), b64(key))
}

// plainKey is the one form of a password that stations send in two: what is all
// hex digits stands for the bytes. OCPP 1.6 security whitepaper A00.FR.206.
func plainKey(password []byte) []byte {
	for len(password) >= 16 {
		decoded := make([]byte, hex.DecodedLen(len(password)))
		if _, err := hex.Decode(decoded, password); err != nil {
			break
		}
		password = decoded
	}
	return password
}
