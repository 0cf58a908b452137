package desired

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// isTokens tells whether a section is one of tokens-00 to tokens-3f.
func isTokens(section string) bool {
	if !wire.IsTokenSection(section) {
		return false
	}
	_, hex, _ := strings.Cut(section, "-")
	n, err := strconv.ParseUint(hex, 16, 8)
	return err == nil && len(hex) == 2 && n < wire.TokenSections
}

func tokensOf(content []byte) ([]site.TokenInfo, error) {
	section, err := decode[wire.Tokens](content)
	if err != nil {
		return nil, err
	}
	tokens := make([]site.TokenInfo, len(section.Tokens))
	for i, t := range section.Tokens {
		if wire.TokenKey(t.Value) == "" {
			return nil, fmt.Errorf("token %d: expected a value, got %q", i, t.Value)
		}
		if t.Status == "" {
			return nil, fmt.Errorf("token %d: expected a status, got none", i)
		}
		tokens[i] = site.TokenInfo{Token: t.Token, Decision: t.Status, Parent: t.Parent, Expires: t.Expires}
	}
	return tokens, nil
}

func stationsOf(content []byte) ([]site.Admission, error) {
	section, err := decode[wire.Stations](content)
	if err != nil {
		return nil, err
	}
	stations := make([]site.Admission, len(section.Stations))
	for i, s := range section.Stations {
		if s.Identity == "" {
			return nil, fmt.Errorf("station %d: expected an identity, got none", i)
		}
		a := site.Admission{Station: s.Identity, SecurityProfile: s.Profile, Registration: s.Registration}
		for _, h := range append([]string{s.PasswordHash}, s.PasswordHashes...) {
			if h != "" && !slices.Contains(a.PasswordHashes, h) {
				a.PasswordHashes = append(a.PasswordHashes, h)
			}
		}
		if s.Profile < 0 || s.Profile > 3 {
			return nil, fmt.Errorf("station %d %q: expected a security_profile of 0 to 3, got %d", i, s.Identity, s.Profile)
		}
		switch s.Registration {
		case "", site.RegistrationAccepted, site.RegistrationPending, site.RegistrationRejected:
		default:
			return nil, fmt.Errorf("station %d %q: expected a registration accepted, pending or rejected, got %q", i, s.Identity, s.Registration)
		}
		stations[i] = a
	}
	return stations, nil
}

func planOf(content []byte) (site.Plan, error) {
	section, err := decode[wire.SitePlan](content)
	if err != nil {
		return site.Plan{}, err
	}
	plan := site.Plan{FallbackA: section.FallbackA, LimitA: section.LimitA}
	for i, c := range section.Circuits {
		if c.LimitA <= 0 {
			return site.Plan{}, fmt.Errorf("circuit %d %q: expected a positive limit_a, got %v", i, c.Name, c.LimitA)
		}
		plan.Circuits = append(plan.Circuits, site.Circuit{Name: c.Name, LimitA: c.LimitA, Stations: c.Stations})
	}
	return plan, nil
}

// decode reads the content of a section. Unknown fields are a newer manager's.
func decode[T any](content []byte) (T, error) {
	var v T
	if err := json.Unmarshal(content, &v); err != nil {
		return v, fmt.Errorf("content: %w", err)
	}
	return v, nil
}
