package ocpp_test

import (
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
)

// Whatever a station sends, it stays connected and gets the answers to what it
// asks next, and so do the others.
func FuzzConversation(f *testing.F) {
	for _, seed := range []string{
		`[2,"1","BootNotification",{"chargePointVendor":"A","chargePointModel":"B"}]`,
		`[2,"1","Heartbeat",{}]`,
		`[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Charging","timestamp":"2026-01-01T00:00:00"}]`,
		`[2,"1","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"1970-01-01T00:00:00Z"}]`,
		`[2,"1","StopTransaction",{"transactionId":-1,"meterStop":-5,"timestamp":"x","transactionData":[{"timestamp":"x","sampledValue":[{"value":"NaN"}]}]}]`,
		`[2,"1","MeterValues",{"connectorId":0,"transactionId":"0","meterValue":[{"timestamp":0,"sampledValue":[{"value":1e400,"unit":"kWh","phase":"L9","measurand":"Current.import"},{"value":"1,5","unit":"mA","measurand":"Current.Import","phase":"N"}]}]}]`,
		`[2,"1","DataTransfer",{"vendorId":"v","data":{"a":[1]}}]`,
		`[2,"1","SignCertificate",{"csr":"x"}]`,
		`[2,"1","LogStatusNotification",{"status":"UploadFailure","requestId":99999999999}]`,
		`[2,"1","SecurityEventNotification",{"type":"x","timestamp":null}]`,
		`[3,"1",{}]`, `[4,"1","x","y",{}]`, `[2,`, `[]`, "\x00", `[2,"1","StopTransaction",`,
	} {
		f.Add([]byte(seed), false)
	}
	f.Add([]byte{0xff, 0xfe}, true)
	y := ocpptest.Start(f, ocpptest.Config(), site.Config{}, quiet, v16.New())
	f.Fuzz(func(t *testing.T, frame []byte, binary bool) {
		s := y.Connect(t, "FUZZ", nil)
		kind := websocket.TextMessage
		if binary {
			kind = websocket.BinaryMessage
		}
		s.SendAs(kind, frame)
		s.Send(`[2,"last","Heartbeat",{}]`)
		for range 3 { // at most one answer to the frame stands before it
			answer, err := s.Next()
			if err != nil {
				t.Fatalf("%q ended the connection: %v", frame, err)
			}
			if strings.HasPrefix(answer, `[3,"last",`) {
				return
			}
		}
		t.Fatalf("%q was answered more than once", frame)
	})
}
