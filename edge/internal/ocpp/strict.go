package ocpp

import (
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Strict returns the CALLERROR for a payload that departs from its schema, nil for
// one that does not. Found and err are those of Decode, or of Validate where
// Decode found nothing. It is for stations that are tested against the standard:
// all others are taken as they are.
func Strict(version string, found []lenient.Deviation, err error) *CallError {
	code, description := ocppj.Refuse(version, found, err)
	if code == "" {
		return nil
	}
	return &CallError{Code: code, Description: description}
}
