package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/danielgtaylor/huma/v2"
)

const roleKey = "role"

// NewToken returns a secret for an API token.
func NewToken() string { return "cy_" + rand.Text() + rand.Text()[:6] }

// HashToken is the form in which an API token is kept. It is long and random, so
// a fast hash does.
func HashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

type accessKey struct{}

func accessOf(ctx context.Context) fleet.Access {
	a, ok := ctx.Value(accessKey{}).(fleet.Access)
	if !ok {
		return fleet.Access{} // the zero scope would see everything: authenticate lets nobody past without
	}
	return a
}

func scopeOf(a fleet.Access) fleet.Scope {
	return fleet.Scope{Tenant: a.Tenant, Location: a.Location}
}

// rank orders roles: each may do all that the one before may.
func rank(r fleet.Role) int {
	switch r {
	case fleet.RoleViewer:
		return 1
	case fleet.RoleOperator:
		return 2
	case fleet.RoleAdmin:
		return 3
	}
	return 0
}

// authenticate finds out who asks and whether they may.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	refuse := func(status int, detail string) {
		if status == http.StatusUnauthorized {
			ctx.SetHeader("WWW-Authenticate", `Bearer realm="chargeyard"`)
		}
		if err := huma.WriteErr(a.huma, ctx, status, detail); err != nil {
			a.log.Debug("write refusal", "err", err)
		}
	}
	scheme, secret, _ := strings.Cut(ctx.Header("Authorization"), " ")
	secret = strings.TrimSpace(secret)
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		refuse(http.StatusUnauthorized, "expected the header Authorization: Bearer and an API token; chargeyard-cloud token create makes one")
		return
	}
	hash := HashToken(secret)
	access, err := a.store.Access(ctx.Context(), hash)
	if errors.Is(err, fleet.ErrNotFound) || err == nil && access.Tenant == "" {
		refuse(http.StatusUnauthorized, "this API token is not known")
		return
	}
	if err != nil {
		a.log.Error("look up API token", "err", err)
		refuse(http.StatusServiceUnavailable, "the manager cannot look up tokens now")
		return
	}
	need, ok := ctx.Operation().Metadata[roleKey].(fleet.Role)
	if !ok || rank(access.Role) < rank(need) {
		refuse(http.StatusForbidden, "this needs the role "+string(need)+", your token has "+string(access.Role))
		return
	}
	next(huma.WithValue(huma.WithValue(ctx, accessKey{}, access), secretKey{}, hash))
}

// secretKey is where a request keeps the hash of its token.
type secretKey struct{}

// stands tells whether the token of a request still stands for access. What
// cannot be looked up now has not been taken away.
func (a *API) stands(ctx context.Context, access fleet.Access) bool {
	hash, ok := ctx.Value(secretKey{}).(string)
	if !ok {
		return false // authenticate lets nobody past without
	}
	now, err := a.store.Access(ctx, hash)
	if errors.Is(err, fleet.ErrNotFound) {
		return false
	}
	return err != nil || now == access
}

// wholeTenant refuses a token that is narrowed to one location: what it is about
// to change holds everywhere.
func wholeTenant(a fleet.Access) error {
	if a.Location != "" {
		return huma.Error403Forbidden("this changes what holds at every location: expected a token that is not narrowed to one")
	}
	return nil
}
