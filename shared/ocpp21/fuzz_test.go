package ocpp21_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/internal/schematest"
)

func FuzzDecode(f *testing.F) {
	version.Fuzz(f,
		schematest.Seed{Message: "NotifyPeriodicEventStreamRequest", Payload: `{"id":123,"pending":0,"data":[{"t":"2024-08-27T12:30:40Z","v":"230.4"},{"t":"0,5","v":230.2}],"basetime":null}`},
		schematest.Seed{Message: "TransactionEventRequest", Payload: `{"eventType":"Updated","timestamp":"2026-11-22 06:01:02","triggerReason":"X","seqNo":-1,"transactionInfo":{"transactionId":"","operationMode":"V2X"},"costDetails":{"totalCost":{"currency":"EURO"}}}`},
		schematest.Seed{Message: "BatterySwapRequest", Payload: `{"batteryData":[{"evseId":1,"serialNumber":"x","soC":101,"soH":-0.1}],"eventType":"BatteryIn","idToken":{"idToken":"","type":""},"requestId":1e30}`},
		schematest.Seed{Message: "SetDERControlRequest", Payload: `{"isDefault":"yes","controlId":"c","controlType":"VoltVar","curve":{"curveData":[{"x":1,"y":"2"}],"priority":1.5,"yUnit":"PctMaxW"}}`},
		schematest.Seed{Message: "HeartbeatResponse", Payload: `null`},
	)
}
