package ocpp16_test

import (
	"encoding/json"
	"testing"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

const startTransactionFrame = `[2,"8f0ec1a5-8d2b-4a3b-9f0c-3b2a1d4e5f60","StartTransaction",{"connectorId":1,"idTag":"04A1B2C3D4E5F6","meterStart":1520340,"timestamp":"2026-11-22T06:01:02.345Z"}]`

// meterValuesFrame has ten samples in one meter value, as a three-phase
// charger sends them.
const meterValuesFrame = `[2,"8f0ec1a5-8d2b-4a3b-9f0c-3b2a1d4e5f61","MeterValues",{"connectorId":1,"transactionId":4711,"meterValue":[{"timestamp":"2026-11-22T06:02:02Z","sampledValue":[` +
	`{"value":"1520840","context":"Sample.Periodic","format":"Raw","measurand":"Energy.Active.Import.Register","location":"Outlet","unit":"Wh"},` +
	`{"value":"10980.5","context":"Sample.Periodic","format":"Raw","measurand":"Power.Active.Import","location":"Outlet","unit":"W"},` +
	`{"value":"15.9","context":"Sample.Periodic","format":"Raw","measurand":"Current.Import","phase":"L1","location":"Outlet","unit":"A"},` +
	`{"value":"16.0","context":"Sample.Periodic","format":"Raw","measurand":"Current.Import","phase":"L2","location":"Outlet","unit":"A"},` +
	`{"value":"15.8","context":"Sample.Periodic","format":"Raw","measurand":"Current.Import","phase":"L3","location":"Outlet","unit":"A"},` +
	`{"value":"229.8","context":"Sample.Periodic","format":"Raw","measurand":"Voltage","phase":"L1-N","location":"Outlet","unit":"V"},` +
	`{"value":"230.4","context":"Sample.Periodic","format":"Raw","measurand":"Voltage","phase":"L2-N","location":"Outlet","unit":"V"},` +
	`{"value":"231.0","context":"Sample.Periodic","format":"Raw","measurand":"Voltage","phase":"L3-N","location":"Outlet","unit":"V"},` +
	`{"value":"32.0","context":"Sample.Periodic","format":"Raw","measurand":"Current.Offered","location":"Outlet","unit":"A"},` +
	`{"value":"61","context":"Sample.Periodic","format":"Raw","measurand":"SoC","location":"EV","unit":"Percent"}]}]}]`

func payload(tb testing.TB, frame string) []byte {
	tb.Helper()
	f, err := ocppj.Parse([]byte(frame))
	if err != nil {
		tb.Fatal(err)
	}
	return f.Payload
}

func BenchmarkFrame(b *testing.B) {
	for _, bb := range []struct{ name, frame string }{
		{"StartTransaction", startTransactionFrame},
		{"MeterValues", meterValuesFrame},
	} {
		b.Run(bb.name, func(b *testing.B) {
			data := []byte(bb.frame)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ocppj.Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	b.Run("StartTransaction", func(b *testing.B) {
		data := payload(b, startTransactionFrame)
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		var m ocpp16.StartTransactionRequest
		for b.Loop() {
			if _, err := m.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("MeterValues", func(b *testing.B) {
		data := payload(b, meterValuesFrame)
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		var m ocpp16.MeterValuesRequest
		for b.Loop() {
			if _, err := m.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("MeterValuesFrame", func(b *testing.B) { // the frame and its payload
		data := []byte(meterValuesFrame)
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		var m ocpp16.MeterValuesRequest
		for b.Loop() {
			f, err := ocppj.Parse(data)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := m.Decode(f.Payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEncodingJSON is the reference: the same payload through
// encoding/json into a struct of strings.
func BenchmarkEncodingJSON(b *testing.B) {
	data := []byte(meterValuesFrame)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var frame []json.RawMessage
		if err := json.Unmarshal(data, &frame); err != nil {
			b.Fatal(err)
		}
		var m struct {
			ConnectorID   int64  `json:"connectorId"`
			TransactionID *int64 `json:"transactionId"`
			MeterValue    []struct {
				Timestamp    string `json:"timestamp"`
				SampledValue []struct {
					Value     string `json:"value"`
					Context   string `json:"context"`
					Format    string `json:"format"`
					Measurand string `json:"measurand"`
					Phase     string `json:"phase"`
					Location  string `json:"location"`
					Unit      string `json:"unit"`
				} `json:"sampledValue"`
			} `json:"meterValue"`
		}
		if err := json.Unmarshal(frame[3], &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	var m ocpp16.MeterValuesRequest
	if _, err := m.Decode(payload(b, meterValuesFrame)); err != nil {
		b.Fatal(err)
	}
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = m.AppendJSON(buffer[:0])
	}
}

func BenchmarkValidate(b *testing.B) {
	var m ocpp16.MeterValuesRequest
	if _, err := m.Decode(payload(b, meterValuesFrame)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
