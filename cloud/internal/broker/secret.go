package broker

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/chargeyard/chargeyard/shared/event"
	"golang.org/x/crypto/argon2"
)

// The cost of a new hash: what OWASP calls the second choice of argon2id.
const (
	hashMemory  = 19 << 10 // KiB
	hashTime    = 2
	hashThreads = 1
	hashSize    = 32
	saltSize    = 16
)

// Most that a stored hash may cost: one from elsewhere must not stop the broker.
const (
	maxHashMemory = 256 << 10 // KiB
	maxHashTime   = 16
)

// NewSecret returns a password that nobody can guess.
func NewSecret() string { return rand.Text() + rand.Text() }

// HashSecret hashes a password with argon2id, in the form $argon2id$v=19$….
func HashSecret(secret string) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) //nolint:errcheck // it never fails
	key := argon2.IDKey([]byte(secret), salt, hashTime, hashMemory, hashThreads, hashSize)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// MosquittoLine returns the line of a Mosquitto password file for a gateway.
// Mosquitto 2 calls PBKDF2 with HMAC-SHA-512 "$7$".
func MosquittoLine(g event.GatewayID, secret string) (string, error) {
	const iterations = 101
	salt := make([]byte, 12)
	rand.Read(salt) //nolint:errcheck // it never fails
	key, err := pbkdf2.Key(sha512.New, secret, salt, iterations, sha512.Size)
	if err != nil {
		return "", fmt.Errorf("hash for mosquitto: %w", err)
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s:$7$%d$%s$%s", g, iterations, b64(salt), b64(key)), nil
}

// compare tells whether secret has the argon2id hash.
func compare(hash string, secret []byte) (bool, error) {
	parts := strings.Split(hash, "$")
	bad := fmt.Errorf("password hash: expected $argon2id$v=%d$m=…,t=…,p=…$salt$key", argon2.Version)
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false, bad
	}
	var memory, passes uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil {
		return false, fmt.Errorf("%w: %w", bad, err)
	}
	if memory > maxHashMemory || passes < 1 || passes > maxHashTime || threads < 1 {
		return false, fmt.Errorf("%w: cost %s out of bounds", bad, parts[3])
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, fmt.Errorf("%w: %w", bad, err)
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) < 16 || len(want) > 128 {
		return false, bad
	}
	got := argon2.IDKey(secret, salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// verifier checks passwords. What a slow hash once decided is remembered as an
// HMAC under a key of this start, or a storm of reconnects costs a minute of
// CPU.
type verifier struct {
	key   [32]byte
	slots chan struct{} // two hashes at once: 19 MiB each

	mu       sync.Mutex
	accepted map[event.GatewayID][sha256.Size]byte
	rejected map[event.GatewayID][sha256.Size]byte // the newest wrong one: a gateway that is set up wrongly repeats it
}

func newVerifier() *verifier {
	v := &verifier{
		slots:    make(chan struct{}, 2),
		accepted: map[event.GatewayID][sha256.Size]byte{},
		rejected: map[event.GatewayID][sha256.Size]byte{},
	}
	rand.Read(v.key[:]) //nolint:errcheck // it never fails
	return v
}

// verify tells whether secret is the password of g whose stored hash is hash.
func (v *verifier) verify(ctx context.Context, g event.GatewayID, hash string, secret []byte) (bool, error) {
	mac := hmac.New(sha256.New, v.key[:])
	mac.Write([]byte(hash)) // a new password makes the old one forgotten
	mac.Write([]byte{0})
	mac.Write(secret)
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	if ok, known := v.recall(g, sum); known {
		return ok, nil
	}
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if ok, known := v.recall(g, sum); known { // somebody worked it out meanwhile
		return ok, nil
	}
	ok, err := compare(hash, secret)
	if err != nil {
		return false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if ok {
		v.accepted[g] = sum
	} else {
		v.rejected[g] = sum
	}
	return ok, nil
}

func (v *verifier) recall(g event.GatewayID, sum [sha256.Size]byte) (ok, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a, is := v.accepted[g]; is && hmac.Equal(a[:], sum[:]) {
		return true, true
	}
	if r, is := v.rejected[g]; is && hmac.Equal(r[:], sum[:]) {
		return false, true
	}
	return false, false
}
