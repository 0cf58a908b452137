package v201_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
)

// BenchmarkTransactionEvent is an Updated with the values of three phases, from
// the socket through the dialect and the site and back.
func BenchmarkTransactionEvent(b *testing.B) {
	y := ocpptest.Start(b, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	ws, response, err := ocpptest.Dial(b.Context(), y.URL+"/CP-1", http.Header{}, "ocpp2.0.1")
	if err != nil {
		b.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := ws.Close(); err != nil {
			b.Error(err)
		}
	}()
	say := func(frame []byte) {
		if err := ws.WriteMessage(websocket.TextMessage, frame); err != nil {
			b.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
	say([]byte(`[2,"0","TransactionEvent",` + tx("Started", "Authorized", "a", 0, state("Charging"), evse1+card) + `]`))
	before, after, _ := strings.Cut(`[2,"1","TransactionEvent",`+tx("Updated", "MeterValuePeriodic", "a", 1, "", periodic)+`]`, `"seqNo":1`)
	var frame []byte
	seq := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		frame = append(append(frame[:0], before...), `"seqNo":`...)
		frame = append(strconv.AppendInt(frame, seq, 10), after...)
		say(frame)
	}
}

// periodic are values as a three-phase station sends them.
const periodic = `,"meterValue":[{"timestamp":"2026-01-01T00:00:01Z","sampledValue":[` +
	`{"value":1520.4,"measurand":"Energy.Active.Import.Register","unitOfMeasure":{"unit":"Wh"}},{"value":11040.0,"measurand":"Power.Active.Import","unitOfMeasure":{"unit":"W"}},` +
	`{"value":16.0,"measurand":"Current.Import","phase":"L1","unitOfMeasure":{"unit":"A"}},{"value":230.0,"measurand":"Voltage","phase":"L1-N","unitOfMeasure":{"unit":"V"}},` +
	`{"value":16.0,"measurand":"Current.Import","phase":"L2","unitOfMeasure":{"unit":"A"}},{"value":230.0,"measurand":"Voltage","phase":"L2-N","unitOfMeasure":{"unit":"V"}},` +
	`{"value":16.0,"measurand":"Current.Import","phase":"L3","unitOfMeasure":{"unit":"A"}},{"value":230.0,"measurand":"Voltage","phase":"L3-N","unitOfMeasure":{"unit":"V"}},` +
	`{"value":42.8,"measurand":"SoC","location":"EV","unitOfMeasure":{"unit":"Percent"}},{"value":50.0,"measurand":"Frequency","unitOfMeasure":{"unit":"Hz"}}]}]`
