package credential

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPasswords(t *testing.T) {
	key := []byte{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ':', 0xff, 13, 14} // quirk 8: binary, with a colon
	digits := hex.EncodeToString(key)
	foreign, err := hashAs([]byte(digits)) // made by another program, of the digits as they are
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		configured string
		sent       string
		want       bool
	}{
		{"text", "correct horse", "correct horse", true},
		{"other text", "correct horse", "correct horsf", false},
		{"short", "x", "x", true},
		{"empty", "correct horse", "", false},
		{"hex configured, bytes sent", digits, string(key), true},
		{"hex configured, hex sent", digits, digits, true},
		{"hex configured, capitals sent", digits, strings.ToUpper(digits), true},
		{"bytes configured, hex sent", string(key), digits, true},
		{"bytes configured, bytes sent", string(key), string(key), true},
		{"digits that are a text", "12345678901234567890", "12345678901234567890", true},
		{"digits as bytes in hex", "12345678901234567890", hex.EncodeToString([]byte("12345678901234567890")), true},
		{"other digits", "12345678901234567890", "12345678901234567891", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPasswords(2)
			if err != nil {
				t.Fatal(err)
			}
			hash, err := NewHash([]byte(tt.configured))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time from memory
				got, err := p.Matches(t.Context(), hash, []byte(tt.sent))
				if err != nil || got != tt.want {
					t.Fatalf("got %v, %v; want %v", got, err, tt.want)
				}
			}
		})
	}
	t.Run("hash of another program", func(t *testing.T) {
		p, err := NewPasswords(2)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Matches(t.Context(), foreign, []byte(digits)); err != nil || !ok {
			t.Errorf("got %v, %v; want true", ok, err)
		}
	})
}

func hashAs(password []byte) (string, error) {
	h := Hash{memory: 8, passes: 1, lanes: 1, salt: []byte("saltsalt")}
	return "$argon2id$v=19$m=8,t=1,p=1$" + base64.RawStdEncoding.EncodeToString(h.salt) + "$" +
		base64.RawStdEncoding.EncodeToString(h.derive(password, 32)), nil
}

// A storm of 1,000 returning stations costs one slow hash, not a thousand.
func TestPasswordStorm(t *testing.T) {
	p, err := NewPasswords(2)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := NewHash([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Matches(t.Context(), hash, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	busy := context.Background()
	if err := p.slow.Acquire(busy, 2); err != nil { // no slow hash can run any more
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if ok, err := p.Matches(ctx, hash, []byte("secret")); !ok || err != nil {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
	wg.Wait()
	cancel()
	if _, err := p.Matches(ctx, hash, []byte("not seen before")); err == nil {
		t.Error("a new password was judged without its turn")
	}
}

func TestParseHash(t *testing.T) {
	good, err := NewHash([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseHash(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "secret", "$argon2id$", strings.Replace(good, "argon2id", "argon2i", 1), good[:len(good)-30],
		strings.Replace(good, "m=19456", "m=19456000", 1), strings.Replace(good, "t=2", "t=200", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "v=19", "v=16", 1), good + "$x",
	} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestBasic(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	tests := []struct {
		name, header, want string
		ok                 bool
	}{
		{"plain", "Basic " + encode([]byte("CP-1:secret")), "secret", true},
		{"scheme in lower case", "basic " + encode([]byte("CP-1:secret")), "secret", true},
		{"colon in the password", "Basic " + encode([]byte("CP-1:a:b")), "a:b", true},
		{"bytes", "Basic " + encode([]byte("CP-1:\xff\x00")), "\xff\x00", true},
		{"no password", "Basic " + encode([]byte("CP-1:")), "", true},
		{"another user", "Basic " + encode([]byte("CP-2:secret")), "", false},
		{"prefix of the user", "Basic " + encode([]byte("CP-11:secret")), "", false},
		{"bearer", "Bearer abc", "", false},
		{"no base64", "Basic %%%", "", false},
		{"none", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Basic(tt.header, "CP-1")
			if string(got) != tt.want || ok != tt.ok {
				t.Errorf("got %q, %v; want %q, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	if got, ok := Basic("Basic "+encode([]byte("a:b:secret")), "a:b"); string(got) != "secret" || !ok {
		t.Errorf("identity with a colon: got %q, %v", got, ok)
	}
}
