package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestVerify(t *testing.T) {
	v := newVerifier()
	first, second := HashSecret("one"), HashSecret("two")
	tests := []struct {
		name, hash, secret string
		want               bool
	}{
		{"right", first, "one", true},
		{"right again", first, "one", true},
		{"wrong", first, "two", false},
		{"wrong again", first, "two", false},
		{"right after wrong", first, "one", true},
		{"new password", second, "two", true},
		{"old password", second, "one", false},
		{"empty", second, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := v.verify(t.Context(), "gw-1", tt.hash, []byte(tt.secret))
			if err != nil || got != tt.want {
				t.Errorf("verify: %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// TestVerifyRemembers: the second time costs no slow hash, so it needs no slot.
func TestVerifyRemembers(t *testing.T) {
	v := newVerifier()
	hash := HashSecret("one")
	for _, secret := range []string{"one", "wrong"} {
		if _, err := v.verify(t.Context(), "gw-1", hash, []byte(secret)); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(v.slots) {
		v.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for secret, want := range map[string]bool{"one": true, "wrong": false} {
		if got, err := v.verify(ctx, "gw-1", hash, []byte(secret)); err != nil || got != want {
			t.Errorf("remembered %q: %v, %v; want %v", secret, got, err, want)
		}
	}
	if _, err := v.verify(ctx, "gw-2", hash, []byte("one")); !errors.Is(err, context.Canceled) {
		t.Errorf("another gateway: %v, want that it waits", err)
	}
}

// TestVerifyStorm: many connections of many gateways at once agree.
func TestVerifyStorm(t *testing.T) {
	v := newVerifier()
	hash := HashSecret("one")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			g := event.GatewayID([]string{"gw-1", "gw-2"}[i%2])
			if ok, err := v.verify(t.Context(), g, hash, []byte("one")); err != nil || !ok {
				t.Errorf("verify: %v, %v", ok, err)
			}
		})
	}
	wg.Wait()
}

func TestCompareRefuses(t *testing.T) {
	good := HashSecret("one")
	for _, hash := range []string{
		"", "one", "$2y$10$abc", strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=19456", "m=9999999", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1), good[:len(good)-30], good + "$",
	} {
		if ok, err := compare(hash, []byte("one")); ok || err == nil {
			t.Errorf("compare(%q): %v, %v; want an error", hash, ok, err)
		}
	}
}

func TestMosquittoLine(t *testing.T) {
	line, err := MosquittoLine("gw-1", "secret")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(line, "$")
	if len(parts) != 5 || parts[0] != "gw-1:" || parts[1] != "7" || parts[2] != "101" || len(parts[3]) != 16 || len(parts[4]) != 88 {
		t.Errorf("line %q", line)
	}
}

func TestNewSecretDiffers(t *testing.T) {
	if a, b := NewSecret(), NewSecret(); a == b || len(a) < 40 {
		t.Errorf("secrets %q and %q", a, b)
	}
}
