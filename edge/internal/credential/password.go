package credential

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
)

// The cost of a new hash: 19 MiB and two passes, as OWASP advises for argon2id.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashLanes  = 1
	hashSalt   = 16 // bytes
	hashKey    = 32 // bytes
)

// Hash is a password after argon2id, in the PHC text form
// $argon2id$v=19$m=19456,t=2,p=1$salt$key.
type Hash struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

// NewHash hashes a password under a new salt.
func NewHash(password []byte) (string, error) {
	h := Hash{memory: hashMemory, passes: hashPasses, lanes: hashLanes, salt: make([]byte, hashSalt)}
	if _, err := rand.Read(h.salt); err != nil {
		return "", fmt.Errorf("salt: %w", err)
	}
	h.key = h.derive(canonical(password), hashKey)
	text := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		text.EncodeToString(h.salt), text.EncodeToString(h.key)), nil
}

// ParseHash reads the text form. It refuses what would cost more than four times
// the memory or the passes of a new hash: the check runs for whoever knocks.
func ParseHash(text string) (Hash, error) {
	bad := errors.New("expected an argon2id hash ($argon2id$v=19$m=…,t=…,p=…$salt$key)")
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return Hash{}, bad
	}
	var h Hash
	var end string
	if n, err := fmt.Sscanf(parts[3]+" .", "m=%d,t=%d,p=%d %s", &h.memory, &h.passes, &h.lanes, &end); n != 4 || err != nil || end != "." {
		return Hash{}, bad
	}
	var errSalt, errKey error
	h.salt, errSalt = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, errKey = base64.RawStdEncoding.DecodeString(parts[5])
	if errSalt != nil || errKey != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return Hash{}, bad
	}
	if h.memory < 8 || h.memory > 4*hashMemory || h.passes < 1 || h.passes > 4*hashPasses || h.lanes < 1 || h.lanes > 4 {
		return Hash{}, fmt.Errorf("expected at most m=%d,t=%d,p=4, got %s", 4*hashMemory, 4*hashPasses, parts[3])
	}
	return h, nil
}

func (h Hash) derive(password []byte, size int) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.memory, h.lanes, uint32(size))
}

func (h Hash) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.key)), h.key) == 1
}

// canonical returns the one form of a password that stations send in two: an
// AuthorizationKey is configured as hex digits and sent as the bytes they stand
// for, but many stations send the digits. What is all hex digits becomes those
// bytes, on both sides of a comparison. OCPP 1.6 security whitepaper A00.FR.206.
func canonical(password []byte) []byte {
	for len(password) >= 16 {
		decoded := make([]byte, hex.DecodedLen(len(password)))
		if _, err := hex.Decode(decoded, password); err != nil {
			break
		}
		password = decoded
	}
	return password
}

// Passwords checks passwords against hashes. The slow hash runs a few at a time,
// because each takes 19 MiB; what it once accepted is remembered as an HMAC under
// a key of this start, so that a storm of returning stations costs nothing.
type Passwords struct {
	slow *semaphore.Weighted
	key  [sha256.Size]byte

	mu       sync.Mutex
	accepted map[string][sha256.Size]byte // by hash: the HMAC of the password
	refused  map[[sha256.Size]byte]struct{}
}

// maxRefused bounds what is remembered of wrong passwords.
const maxRefused = 1024

// NewPasswords returns Passwords that run parallel slow hashes at a time.
func NewPasswords(parallel int64) (*Passwords, error) {
	p := &Passwords{
		slow:     semaphore.NewWeighted(parallel),
		accepted: map[string][sha256.Size]byte{},
		refused:  map[[sha256.Size]byte]struct{}{},
	}
	if _, err := rand.Read(p.key[:]); err != nil {
		return nil, fmt.Errorf("key for remembered passwords: %w", err)
	}
	return p, nil
}

// Matches tells whether hash is that of password. It waits for its turn; the
// error is that of ctx or of a hash that cannot be read.
func (p *Passwords) Matches(ctx context.Context, hash string, password []byte) (bool, error) {
	code := p.code(hash, password)
	if ok, known := p.remembered(hash, code); known {
		return ok, nil
	}
	h, err := ParseHash(hash)
	if err != nil {
		return false, err
	}
	if err := p.slow.Acquire(ctx, 1); err != nil {
		return false, fmt.Errorf("wait for the password's turn: %w", err)
	}
	defer p.slow.Release(1)
	if ok, known := p.remembered(hash, code); known { // while waiting
		return ok, nil
	}
	same := canonical(password)
	ok := h.matches(same)
	if !ok && len(same) != len(password) { // a hash that was not made by NewHash
		ok = h.matches(password)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.accepted[hash] = code
		return true, nil
	}
	if len(p.refused) >= maxRefused {
		clear(p.refused)
	}
	p.refused[code] = struct{}{}
	return false, nil
}

// Remembered tells what is known without a slow hash: whether the password fits,
// and whether that is known at all.
func (p *Passwords) Remembered(hash string, password []byte) (fits, known bool) {
	return p.remembered(hash, p.code(hash, password))
}

// remembered returns what is known of the password with that code.
func (p *Passwords) remembered(hash string, code [sha256.Size]byte) (ok, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if accepted, found := p.accepted[hash]; found && subtle.ConstantTimeCompare(accepted[:], code[:]) == 1 {
		return true, true
	}
	_, known = p.refused[code]
	return false, known
}

// code binds a password to the hash that it was checked against.
func (p *Passwords) code(hash string, password []byte) (code [sha256.Size]byte) {
	mac := hmac.New(sha256.New, p.key[:])
	mac.Write([]byte(hash))
	mac.Write([]byte{0})
	mac.Write(password)
	mac.Sum(code[:0])
	return code
}

// Basic takes the Authorization header of HTTP Basic apart and returns the
// password, if the user name is id. Both may hold colons and the password any
// bytes, so the name decides where it begins.
func Basic(header string, id string) (password []byte, ok bool) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "basic") {
		return nil, false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return nil, false
	}
	if password, ok = bytes.CutPrefix(plain, []byte(id+":")); !ok {
		return nil, false
	}
	return password, true
}
