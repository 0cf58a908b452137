package v201

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// triggers are the words of TriggerMessage for what a command asks for. The last
// one came with 2.1.
var triggers = map[string]ocpp201.MessageTrigger{
	"boot":                      ocpp201.MessageTriggerBootNotification,
	"heartbeat":                 ocpp201.MessageTriggerHeartbeat,
	"status":                    ocpp201.MessageTriggerStatusNotification,
	"meter":                     ocpp201.MessageTriggerMeterValues,
	"transaction":               ocpp201.MessageTriggerTransactionEvent,
	"firmware":                  ocpp201.MessageTriggerFirmwareStatusNotification,
	"publish_firmware":          ocpp201.MessageTriggerPublishFirmwareStatusNotification,
	"log":                       ocpp201.MessageTriggerLogStatusNotification,
	"sign_certificate":          ocpp201.MessageTriggerSignChargingStationCertificate,
	"sign_v2g_certificate":      ocpp201.MessageTriggerSignV2GCertificate,
	"sign_combined_certificate": ocpp201.MessageTriggerSignCombinedCertificate,
	"sign_v2g20_certificate":    "SignV2G20Certificate",
}

// triggered are the messages that a trigger brings where they are called
// otherwise.
var triggered = map[ocpp201.MessageTrigger]string{
	ocpp201.MessageTriggerSignChargingStationCertificate: ocpp201.ActionSignCertificate,
	ocpp201.MessageTriggerSignV2GCertificate:             ocpp201.ActionSignCertificate,
	ocpp201.MessageTriggerSignCombinedCertificate:        ocpp201.ActionSignCertificate,
	"SignV2G20Certificate":                               ocpp201.ActionSignCertificate,
}

func (j *errand) trigger(p *event.TriggerParams) (site.Outcome, error) {
	if word, custom := strings.CutPrefix(p.Message, "custom:"); custom {
		return j.triggerCustom(word)
	}
	word, ok := triggers[p.Message]
	if !ok {
		return job.Rejectedf("message: expected boot, heartbeat, status, meter, transaction, firmware, publish_firmware, log, "+
			"sign_certificate, sign_v2g_certificate, sign_v2g20_certificate, sign_combined_certificate or custom:<word>, got %q", p.Message), nil
	}
	if word == ocpp201.MessageTriggerStatusNotification {
		return j.triggerStatus()
	}
	if j.Order.EVSE == 0 {
		return j.triggerWord(word, nil)
	}
	return j.triggerWord(word, &ocpp201.EVSE{ID: int64(j.Order.EVSE)})
}

// triggerStatus asks for the status of each connector that the order is about, as
// far as they were told on this connection: a status is of a connector, and not
// every station takes less. OCPP 2.0.1 F06.FR.12.
func (j *errand) triggerStatus() (site.Outcome, error) {
	var places [][2]int
	err := j.OnStation(func() error {
		for at := range j.places {
			if at[1] != 0 && (j.Order.EVSE == 0 || j.Order.EVSE == at[0]) {
				places = append(places, at)
			}
		}
		return nil
	})
	if err != nil {
		return site.Outcome{}, err
	}
	slices.SortFunc(places, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	if len(places) == 0 && j.Order.EVSE != 0 {
		places = [][2]int{{j.Order.EVSE, 1}}
	}
	if len(places) == 0 {
		return j.triggerWord(ocpp201.MessageTriggerStatusNotification, nil)
	}
	var worst site.Outcome
	for i, at := range places {
		connector := int64(at[1])
		o, err := j.triggerWord(ocpp201.MessageTriggerStatusNotification, &ocpp201.EVSE{ID: int64(at[0]), ConnectorID: &connector})
		if err != nil {
			return site.Outcome{}, err
		}
		if i == 0 || o.State != event.StateAccepted {
			worst = o
		}
	}
	return worst, nil
}

// triggerWord asks for one message. OCPP 2.0.1 F06.
func (j *errand) triggerWord(word ocpp201.MessageTrigger, at *ocpp201.EVSE) (site.Outcome, error) {
	answer, err := j.askFor(word, at)
	if err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo))
	if answer.Status.Fold() == ocpp201.TriggerMessageStatusNotImplemented { // F06.FR.08
		o.State = event.StateUnsupported
	}
	return o, nil
}

func (j *errand) askFor(word ocpp201.MessageTrigger, at *ocpp201.EVSE) (*ocpp201.TriggerMessageResponse, error) {
	action := string(word)
	if other, ok := triggered[word]; ok {
		action = other
	}
	j.invite(action)
	var answer ocpp201.TriggerMessageResponse
	err := j.Call(&ocpp201.TriggerMessageRequest{RequestedMessage: word, EVSE: at}, &answer)
	return &answer, err
}

// customTrigger is a TriggerMessage for a message of the station's maker. OCPP 2.1
// F06: CustomTrigger.
type customTrigger struct {
	ocpp201.TriggerMessageRequest
	word string
}

// AppendJSON appends the payload to b: what 2.0.1 has of it, and the word.
func (r *customTrigger) AppendJSON(b []byte) []byte {
	b = r.TriggerMessageRequest.AppendJSON(b)
	b = append(b[:len(b)-1], `,"customTrigger":`...)
	b = lenient.AppendString(b, r.word)
	return append(b, '}')
}

func (j *errand) triggerCustom(word string) (site.Outcome, error) {
	request := &customTrigger{TriggerMessageRequest: ocpp201.TriggerMessageRequest{RequestedMessage: "CustomTrigger"}, word: word}
	if j.Order.EVSE != 0 {
		request.EVSE = &ocpp201.EVSE{ID: int64(j.Order.EVSE)}
	}
	var answer ocpp201.TriggerMessageResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo))
	if answer.Status.Fold() == ocpp201.TriggerMessageStatusNotImplemented {
		o.State = event.StateUnsupported
	}
	return o, nil
}

// Refresh implements site.Device: it asks for a boot, if none came over this
// connection, and for the status of every silent connector. A station that cannot
// be asked for its status is asked to report its device model: in there is the
// availability of each connector. Stations that cannot be asked are left alone.
func (p *Peer) Refresh(silent []event.Address) {
	profile := p.c.Profile()
	if profile.Refresh == stationprofile.None {
		return
	}
	j := p.errandOf(job.Own(p.c, p.name()))
	boot := !p.booted
	p.c.Go(func() {
		told := false
		if profile.Trigger != stationprofile.None {
			told = j.refresh(boot, silent)
		}
		if !told {
			j.refreshByReport()
		}
	})
}

// refresh tells whether the station tells its status anew.
func (j *errand) refresh(boot bool, silent []event.Address) (told bool) {
	ask := func(word ocpp201.MessageTrigger, at *ocpp201.EVSE) (agreed, gone bool) {
		answer, err := j.askFor(word, at)
		switch {
		case err != nil:
			j.c.Log().Info("station cannot be asked for its state", "message", string(word), "err", err)
			return false, !job.Lacking(err)
		case job.VerdictOf(string(answer.Status)) != job.Accepted:
			j.c.Log().Info("station does not tell its state anew", "message", string(word), "answer", strconv.Quote(string(answer.Status)))
			return false, false
		}
		return true, false
	}
	if boot {
		if _, gone := ask(ocpp201.MessageTriggerBootNotification, nil); gone {
			return true // or nobody can be asked at all
		}
	}
	if len(silent) == 0 { // nobody knows which connectors there are
		agreed, gone := ask(ocpp201.MessageTriggerStatusNotification, nil)
		return agreed || gone
	}
	for _, at := range silent {
		connector := int64(max(at.Connector, 1))
		agreed, gone := ask(ocpp201.MessageTriggerStatusNotification, &ocpp201.EVSE{ID: int64(at.EVSE), ConnectorID: &connector})
		if gone {
			return true
		}
		told = told || agreed
	}
	return told
}

// refreshByReport has the station report the state of its parts. OCPP 2.0.1 B07:
// the summary holds availability and problems; not every station has it.
func (j *errand) refreshByReport() {
	for _, base := range []ocpp201.ReportBase{ocpp201.ReportBaseSummaryInventory, ocpp201.ReportBaseFullInventory} {
		request := j.newRequest()
		if base == ocpp201.ReportBaseFullInventory {
			j.expectWhole(request)
		}
		var answer ocpp201.GetBaseReportResponse
		err := j.collect(ocpp201.ActionNotifyReport, request, func() (bool, error) {
			err := j.Call(&ocpp201.GetBaseReportRequest{RequestID: int64(request), ReportBase: base}, &answer)
			return err == nil && job.VerdictOf(string(answer.Status)) == job.Accepted, err
		}, func(message any) {
			if m, ok := message.(*ocpp201.NotifyReportRequest); ok {
				j.takeAvailability(m)
			}
		})
		if err != nil {
			j.c.Log().Info("station does not report its state", "report", string(base), "err", err)
			return
		}
		if job.VerdictOf(string(answer.Status)) == job.Accepted {
			return
		}
		j.isWhole(int64(request)) // it does not come
	}
}

// takeAvailability makes status of what a report says about the availability of
// the station and its parts. It runs on the station's goroutine.
func (j *errand) takeAvailability(m *ocpp201.NotifyReportRequest) {
	for i := range m.ReportData {
		d := &m.ReportData[i]
		if !strings.EqualFold(d.Variable.Name, "AvailabilityState") {
			continue
		}
		evse, connector, err := eventPlace(&d.Component)
		if err != nil {
			continue // counted where the report is handled
		}
		switch strings.ToLower(d.Component.Name) {
		case "chargingstation":
			evse, connector = 0, 0
		case "evse":
			connector = 0
		case "connector":
		default:
			continue
		}
		for k := range d.VariableAttribute {
			a := &d.VariableAttribute[k]
			if a.Value == "" || a.Type != "" && a.Type.Fold() != ocpp201.AttributeActual {
				continue
			}
			report := site.StatusReport{EVSE: evse, Connector: connector, DeviceTime: m.GeneratedAt.Raw}
			report.Status, report.Raw = statusOf(a.Value)
			if err := j.status(report); err != nil {
				j.c.Log().Warn("reported status not kept", "evse", evse, "connector", connector, "err", err)
			}
		}
	}
}
