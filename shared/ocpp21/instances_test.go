package ocpp21_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/internal/schematest"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

var version = schematest.Version{
	Name: "2.1", Protocol: ocppj.V21, Messages: 181,
	NewRequest: func(action string) schematest.Message {
		if m, ok := ocpp21.NewRequest(action); ok {
			return m
		}
		return nil
	},
	NewResponse: func(action string) schematest.Message {
		if m, ok := ocpp21.NewResponse(action); ok {
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
