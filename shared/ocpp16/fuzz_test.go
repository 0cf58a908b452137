package ocpp16_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/internal/schematest"
)

func FuzzDecode(f *testing.F) {
	version.Fuzz(f,
		schematest.Seed{Message: "MeterValuesRequest", Payload: string(payload(f, meterValuesFrame))},
		schematest.Seed{Message: "StartTransactionRequest", Payload: string(payload(f, startTransactionFrame))},
		schematest.Seed{Message: "MeterValuesRequest", Payload: `{"connectorId":"1","meterValue":{"timestamp":1795327262,"sampledValue":[{"value":12.5,"Unit":"Hz"},null,"x"]}}`},
		schematest.Seed{Message: "StopTransactionRequest", Payload: `[{"transactionId":0,"meterStop":"1.520,5","timestamp":"2026-11-22 06:01:02","reason":"","transactionData":[]}]`},
		schematest.Seed{Message: "BootNotificationRequest", Payload: `{"chargePointVendor":"\ud83d\udd0c\ud83d","chargePointModel":null,"iccid":-67,"iccid":"again","x":{"y":[1]}}`},
		schematest.Seed{Message: "SetChargingProfileRequest", Payload: `{"connectorId":0,"csChargingProfiles":{"chargingProfileId":1,"stackLevel":0,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","chargingSchedule":{"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":15.96,"numberPhases":3}],"minChargingRate":"6,0"}}}`},
		schematest.Seed{Message: "DataTransferRequest", Payload: `{"vendorId":"v","data":{"a":[1,2,{}]}}`},
		schematest.Seed{Message: "GetConfigurationResponse", Payload: `{"configurationKey":[{"key":"a","readonly":"TRUE","value":1}],"unknownKey":"b"}`},
		schematest.Seed{Message: "SendLocalListRequest", Payload: `{"listVersion":1,"updateType":"Full","localAuthorizationList":[{"idTag":"a","idTagInfo":{"status":"accepted","expiryDate":""}}]}`},
		schematest.Seed{Message: "HeartbeatResponse", Payload: `null`},
	)
}
