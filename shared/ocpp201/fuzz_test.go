package ocpp201_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/internal/schematest"
)

func FuzzDecode(f *testing.F) {
	version.Fuzz(f,
		schematest.Seed{Message: "TransactionEventRequest", Payload: `{"eventType":"ended","timestamp":1795327262,"triggerReason":"EVDeparted ","seqNo":"3","transactionInfo":[{"transactionId":4711}],"meterValue":{"sampledValue":{"value":"1.532,8"}}}`},
		schematest.Seed{Message: "NotifyReportRequest", Payload: `{"requestId":1,"generatedAt":"","seqNo":0,"reportData":[{"component":{"name":"EVSE","evse":{"id":1.0}},"variable":{"name":"Power"},"variableAttribute":[{"value":11000,"mutability":"readonly"},{},{},{},{}]}]}`},
		schematest.Seed{Message: "HeartbeatRequest", Payload: `{"customData":{"a":{"b":[1,{"c":null}]}},"CustomData":{"vendorId":"x","vendorId":"y"}}`},
		schematest.Seed{Message: "DataTransferRequest", Payload: `{"vendorId":"v","data":[1,2,{}]}`},
		schematest.Seed{Message: "HeartbeatResponse", Payload: `null`},
	)
}
