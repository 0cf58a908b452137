package site

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// The kinds of questions.
const (
	QuestionSignCertificate        = "sign_certificate"         // {"csr": PEM, "kind"} → {"chain": PEM}
	QuestionISO15118Certificate    = "iso15118_certificate"     // OCPP 2.x Get15118EVCertificate
	QuestionCertificateStatus      = "certificate_status"       // GetCertificateStatus (OCSP)
	QuestionCertificateChainStatus = "certificate_chain_status" // GetCertificateChainStatus
	QuestionVATNumber              = "vat_number"               // VatNumberValidation
	QuestionDynamicSchedule        = "dynamic_schedule"         // PullDynamicScheduleUpdate
	QuestionChargingNeeds          = "ev_charging_needs"        // NotifyEVChargingNeeds
	QuestionData                   = "data"                     // DataTransfer
)

// Question is something that a charger waits for and that the manager alone may
// know. Payload and answer are those of the charger's protocol.
type Question struct {
	Kind    string
	Payload json.RawMessage
}

// ErrUnsupported says that the manager answers no questions of this kind.
var ErrUnsupported = errors.New("the manager answers no such question")

// Ask asks the manager and waits for its answer as long as wait, on the station's
// goroutine. The error wraps ErrManagerAway (at once while there is no
// connection, and when no answer came in time) or ErrUnsupported.
func (st *Station) Ask(q Question, wait time.Duration) (json.RawMessage, error) {
	return st.AskAt(0, q, wait)
}

// AskAt is Ask about one EVSE.
func (st *Station) AskAt(evse int, q Question, wait time.Duration) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return st.site.manager.Ask(ctx, event.Address{Station: st.id, EVSE: evse}, q)
}

// Signer signs requests for certificates; the site's own CA provides it.
type Signer interface {
	// Sign returns the chain for a request, leaf first, both PEM. kind is station.
	Sign(ctx context.Context, station event.StationID, kind, csr string) (chain string, err error)
}
