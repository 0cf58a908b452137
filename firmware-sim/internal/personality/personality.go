// Package personality makes quirky chargers of good ones: each personality stands
// between a charger and its wire and breaks one rule, as chargers in the field do.
//
// A charger does not know of its personality: it goes on to keep its books by what
// is true, so that a test can hold against them what the far end has made of it.
package personality

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Personality is one way to be difficult.
type Personality struct {
	Name string
	Does string // what the charger does, for people
	// Versions of OCPP, as sub-protocols, that it makes sense in.
	Versions []string
	// Hops is a charger that comes with another version of OCPP at times; the
	// depot sees to it.
	Hops bool
	// Pause is how long the charger waits where its personality is to wait.
	Pause time.Duration

	unnamed bool
	quirk   func(*wire)
}

// every is all versions, second those of OCPP 2.
var (
	every  = []string{ocppj.V16, ocppj.V201, ocppj.V21}
	first  = []string{ocppj.V16}
	second = []string{ocppj.V201, ocppj.V21}
)

// Find returns a personality by its name, which may be followed by a colon and a
// duration: how long it waits, as in slow-answers:5s.
func Find(name string) (*Personality, error) {
	name, pause, timed := strings.Cut(name, ":")
	for _, p := range All() {
		if p.Name != name {
			continue
		}
		if timed {
			d, err := time.ParseDuration(pause)
			if err != nil || p.Pause == 0 || d <= 0 {
				return nil, fmt.Errorf("personality %s: %q: expected no time, or one such as slow-answers:5s", name, pause)
			}
			p.Pause = d
		}
		return &p, nil
	}
	names := []string{}
	for _, p := range All() {
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("there is no personality %q: expected one of %s", name, strings.Join(names, ", "))
}

// Speaks tells whether the personality makes sense in a version of OCPP.
func (p *Personality) Speaks(version string) bool { return slices.Contains(p.Versions, version) }

// Dialer returns the dialer of one charger with this personality. It remembers
// over connections what the personality has to remember.
func (p *Personality) Dialer(inner charger.Dialer, version string) charger.Dialer {
	w := &wire{
		version: version, pause: p.Pause, began: time.Now(),
		asked: map[string]*frame{}, ordered: map[string]*frame{}, own: map[string]bool{},
	}
	if p.quirk != nil {
		p.quirk(w)
	}
	return &dialer{inner: inner, wire: w, unnamed: p.unnamed}
}

type dialer struct {
	inner   charger.Dialer
	wire    *wire
	unnamed bool
}

// Dial connects and puts the personality between.
func (d *dialer) Dial(ctx context.Context, login charger.Login) (charger.Conn, error) {
	login.Unnamed = login.Unnamed || d.unnamed
	inner, err := d.inner.Dial(ctx, login)
	if err != nil {
		return nil, err
	}
	return d.wire.connect(inner), nil
}
