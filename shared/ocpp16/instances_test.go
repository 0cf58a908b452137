package ocpp16_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/internal/schematest"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

var version = schematest.Version{
	Name: "1.6", Protocol: ocppj.V16, Messages: 78,
	NewRequest: func(action string) schematest.Message {
		if m, ok := ocpp16.NewRequest(action); ok {
			return m
		}
		return nil
	},
	NewResponse: func(action string) schematest.Message {
		if m, ok := ocpp16.NewResponse(action); ok {
			return m
		}
		return nil
	},
}

func TestVerdicts(t *testing.T)    { version.Verdicts(t) }
func TestGolden(t *testing.T)      { version.Golden(t) }
func TestRefusals(t *testing.T)    { version.Refusals(t) }
func TestDecodeAgain(t *testing.T) { version.DecodeAgain(t) }
func TestSchemas(t *testing.T)     { version.Schemas(t) }
