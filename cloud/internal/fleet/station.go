package fleet

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
)

// StationID is the manager's name for a station that its gateway knows by
// identity. It depends on nothing else, so that projections made anew give the
// same names, and is safe in a URL: "st" and sixteen letters and digits.
func StationID(g event.GatewayID, identity event.StationID) string {
	sum := sha256.Sum256([]byte(string(g) + "/" + string(identity))) // a gateway's id holds no slash
	return "st" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}
