package station2

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// carryOutAdded is carryOut for what OCPP 2.1 added.
func (s *Station) carryOutAdded(req ocpp21.Request, payload []byte) (ocpp21.Response, func()) {
	switch req := req.(type) {
	case *ocpp21.UpdateDynamicScheduleRequest:
		return &ocpp21.UpdateDynamicScheduleResponse{Status: s.updateDynamic(req.ChargingProfileID, req.ScheduleUpdate)}, nil
	case *ocpp21.UsePriorityChargingRequest:
		return s.usePriority(req)
	case *ocpp21.NotifyAllowedEnergyTransferRequest:
		return &ocpp21.NotifyAllowedEnergyTransferResponse{Status: ocpp21.NotifyAllowedEnergyTransferStatusAccepted}, nil
	case *ocpp21.AFRRSignalRequest:
		return &ocpp21.AFRRSignalResponse{Status: ocpp21.GenericStatusAccepted}, nil
	case *ocpp21.GetPeriodicEventStreamRequest:
		return s.listStreams(), nil
	case *ocpp21.AdjustPeriodicEventStreamRequest:
		return s.adjustStream(req), nil
	case *ocpp21.RequestBatterySwapRequest:
		return &ocpp21.RequestBatterySwapResponse{Status: ocpp21.GenericStatusAccepted}, func() { s.swapBattery(req) }
	case *ocpp21.NotifyWebPaymentStartedRequest:
		return &ocpp21.NotifyWebPaymentStartedResponse{}, nil
	case *ocpp21.SetDERControlRequest:
		return s.setDER(req, payload)
	case *ocpp21.GetDERControlRequest:
		return s.reportDER(req)
	case *ocpp21.ClearDERControlRequest:
		return &ocpp21.ClearDERControlResponse{Status: s.clearDER(req)}, nil
	case *ocpp21.SetDefaultTariffRequest:
		s.state.Tariffs[req.EVSEID] = TariffState{ID: req.Tariff.TariffID, Currency: req.Tariff.Currency, Payload: slices.Clone(json.RawMessage(payload))}
		s.Dirty()
		return &ocpp21.SetDefaultTariffResponse{Status: ocpp21.TariffSetStatusAccepted}, nil
	case *ocpp21.GetTariffsRequest:
		return s.listTariffs(req), nil
	case *ocpp21.ClearTariffsRequest:
		return s.clearTariffs(req), nil
	case *ocpp21.ChangeTransactionTariffRequest:
		return s.changeTariff(req)
	}
	return nil, nil
}

// ---- dynamic schedules (K28) and priority charging (K21)

// updateDynamic changes the limit of a profile of kind Dynamic.
func (s *Station) updateDynamic(id int64, u ocpp21.ChargingScheduleUpdate) ocpp21.ChargingProfileStatus {
	for _, i := range s.state.Profiles {
		p, err := decodeProfile(i)
		if err != nil || p.ID != id {
			continue
		}
		if p.ChargingProfileKind != ocpp21.ChargingProfileKindDynamic {
			return ocpp21.ChargingProfileStatusRejected
		}
		period := &p.ChargingSchedule[0].ChargingSchedulePeriod[0]
		period.Limit, period.Setpoint, period.DischargeLimit = u.Limit, u.Setpoint, u.DischargeLimit
		p.DynUpdateTime = at(s.Now())
		s.install(int64(i.EVSE), p, i.Source)
		return ocpp21.ChargingProfileStatusAccepted
	}
	return ocpp21.ChargingProfileStatusRejected
}

// pullDynamic asks for the newest limit of the dynamic profiles.
func (s *Station) pullDynamic() {
	for _, i := range s.state.Profiles {
		p, err := decodeProfile(i)
		if err != nil || p.ChargingProfileKind != ocpp21.ChargingProfileKindDynamic || p.DynUpdateInterval == nil || *p.DynUpdateInterval <= 0 {
			continue
		}
		name := "dynamic " + strconv.FormatInt(p.ID, 10)
		if s.Awaits(name) {
			continue
		}
		s.In(name, time.Duration(*p.DynUpdateInterval)*time.Second, func() {
			if !s.Accepted() {
				return
			}
			s.say(&ocpp21.PullDynamicScheduleUpdateRequest{ChargingProfileID: p.ID}, func(answer ocpp21.Response, err error) {
				if resp, ok := answer.(*ocpp21.PullDynamicScheduleUpdateResponse); ok && err == nil && resp.ScheduleUpdate != nil {
					s.updateDynamic(p.ID, *resp.ScheduleUpdate)
				}
			})
		})
	}
}

func (s *Station) usePriority(req *ocpp21.UsePriorityChargingRequest) (ocpp21.Response, func()) {
	answer := func(status ocpp21.PriorityChargingStatus) *ocpp21.UsePriorityChargingResponse {
		return &ocpp21.UsePriorityChargingResponse{Status: status}
	}
	running := slices.ContainsFunc(s.evses, func(e *evse) bool {
		tx := s.running(e)
		return tx != nil && tx.ID == req.TransactionID
	})
	if !running {
		return answer(ocpp21.PriorityChargingStatusRejected), nil
	}
	if req.Activate && len(s.plan().priority.Profiles) == 0 {
		return answer(ocpp21.PriorityChargingStatusNoProfile), nil
	}
	return answer(ocpp21.PriorityChargingStatusAccepted), func() {
		delete(s.priority, req.TransactionID)
		if req.Activate {
			s.priority[req.TransactionID] = true
		}
		s.applyLimits()
	}
}

// ---- periodic event streams (N11 to N15)

// stream is an open periodic event stream.
type stream struct {
	opened bool
	base   time.Time
	data   []ocpp21.StreamDataElement
	sentAt time.Time
}

// openStreams tells the CSMS of the streams that it does not know to be open.
func (s *Station) openStreams() {
	if !s.v21() || !s.Accepted() {
		return
	}
	for id, d := range s.state.Streams {
		if st := s.streams[id]; st != nil && st.opened {
			continue
		}
		st := &stream{base: s.Now(), sentAt: s.Now()}
		s.streams[id] = st
		s.say(&ocpp21.OpenPeriodicEventStreamRequest{ConstantStreamData: d.constant()}, func(answer ocpp21.Response, err error) {
			resp, ok := answer.(*ocpp21.OpenPeriodicEventStreamResponse)
			st.opened = ok && err == nil && resp.Status == ocpp21.GenericStatusAccepted
			if !st.opened && s.streams[id] == st {
				delete(s.streams, id)
			}
		})
	}
}

func (d StreamState) constant() ocpp21.ConstantStreamData {
	return ocpp21.ConstantStreamData{ID: d.ID, VariableMonitoringID: d.Monitor, Params: ocpp21.PeriodicEventStreamParams{Interval: d.Interval, Values: d.Values}}
}

// stream takes what a monitor has to say when it has an open stream, and sends
// what has come together by SEND.
func (s *Station) stream(monitor int64, value string) bool {
	st, d := s.streams[monitor], s.state.Streams[monitor]
	if st == nil || !st.opened {
		return false
	}
	st.data = append(st.data, ocpp21.StreamDataElement{T: s.Now().Sub(st.base).Seconds(), V: value})
	full := d.Values != nil && *d.Values > 0 && int64(len(st.data)) >= *d.Values
	due := d.Interval != nil && s.Now().Sub(st.sentAt) >= time.Duration(*d.Interval)*time.Second
	if (full || due || d.Values == nil && d.Interval == nil) && s.Accepted() {
		req := &ocpp21.NotifyPeriodicEventStreamRequest{ID: d.ID, Data: st.data, Basetime: at(st.base)}
		s.Send(req.Action(), s.encode(req))
		st.data, st.base, st.sentAt = nil, s.Now(), s.Now()
	}
	return true
}

func (s *Station) closeStream(monitor int64) {
	d, ok := s.state.Streams[monitor]
	if !ok {
		return
	}
	delete(s.state.Streams, monitor)
	if st := s.streams[monitor]; st != nil && st.opened {
		s.say(&ocpp21.ClosePeriodicEventStreamRequest{ID: d.ID}, nil)
	}
	delete(s.streams, monitor)
}

func (s *Station) listStreams() ocpp21.Response {
	resp := &ocpp21.GetPeriodicEventStreamResponse{}
	for _, d := range s.state.Streams {
		resp.ConstantStreamData = append(resp.ConstantStreamData, d.constant())
	}
	slices.SortFunc(resp.ConstantStreamData, func(a, b ocpp21.ConstantStreamData) int { return int(a.ID - b.ID) })
	return resp
}

func (s *Station) adjustStream(req *ocpp21.AdjustPeriodicEventStreamRequest) ocpp21.Response {
	d, ok := s.state.Streams[req.ID]
	if !ok {
		return &ocpp21.AdjustPeriodicEventStreamResponse{Status: ocpp21.GenericStatusRejected}
	}
	d.Interval, d.Values = req.Params.Interval, req.Params.Values
	s.state.Streams[req.ID] = d
	s.Dirty()
	return &ocpp21.AdjustPeriodicEventStreamResponse{Status: ocpp21.GenericStatusAccepted}
}

// ---- battery swap (S)

// swapBattery takes a battery in and gives another out.
func (s *Station) swapBattery(req *ocpp21.RequestBatterySwapRequest) {
	battery := func(n int64, soc float64) []ocpp21.BatteryData {
		return []ocpp21.BatteryData{{EVSEID: 1, SerialNumber: "SIM-" + strconv.FormatInt(n, 10), SoC: soc, SoH: 95}}
	}
	s.keep(&ocpp21.BatterySwapRequest{BatteryData: battery(1, 12), EventType: ocpp21.BatterySwapEventBatteryIn, IDToken: req.IDToken, RequestID: req.RequestID})
	s.In("swap", time.Second, func() {
		s.keep(&ocpp21.BatterySwapRequest{BatteryData: battery(2, 90), EventType: ocpp21.BatterySwapEventBatteryOut, IDToken: req.IDToken, RequestID: req.RequestID})
	})
}

// ---- distributed energy resources (R)

// setDER is R04: a control replaces those of its type, default or not, that were
// there before.
func (s *Station) setDER(req *ocpp21.SetDERControlRequest, payload []byte) (ocpp21.Response, func()) {
	if !slices.Contains(derControls, req.ControlType) {
		return &ocpp21.SetDERControlResponse{Status: ocpp21.DERControlStatusNotSupported}, nil
	}
	var superseded []string
	for id, held := range s.state.DER {
		if held.Type == string(req.ControlType) && held.Default == req.IsDefault && id != req.ControlID {
			superseded = append(superseded, id)
			delete(s.state.DER, id)
		}
	}
	slices.Sort(superseded)
	s.state.DER[req.ControlID] = DERControl{Type: string(req.ControlType), Default: req.IsDefault, Payload: slices.Clone(json.RawMessage(payload))}
	s.Dirty()
	return &ocpp21.SetDERControlResponse{Status: ocpp21.DERControlStatusAccepted, SupersededIDs: superseded}, func() {
		if !req.IsDefault {
			s.keep(&ocpp21.NotifyDERStartStopRequest{ControlID: req.ControlID, Started: true, Timestamp: at(s.Now()), SupersededIDs: superseded})
		}
	}
}

// derControls are those that the simulated inverter has.
var derControls = []ocpp21.DERControl{
	ocpp21.DERControlLimitMaxDischarge, ocpp21.DERControlVoltVar, ocpp21.DERControlVoltWatt, ocpp21.DERControlFreqWatt, ocpp21.DERControlWattVar,
	ocpp21.DERControlFixedPFInject, ocpp21.DERControlFixedPFAbsorb, ocpp21.DERControlFixedVar, ocpp21.DERControlFreqDroop, ocpp21.DERControlGradients,
	ocpp21.DERControlEnterService,
}

// reportDER is R05.
func (s *Station) reportDER(req *ocpp21.GetDERControlRequest) (ocpp21.Response, func()) {
	var ids []string
	for id, held := range s.state.DER {
		if (req.ControlID == "" || id == req.ControlID) && (req.ControlType == "" || held.Type == string(req.ControlType)) && (req.IsDefault == nil || held.Default == *req.IsDefault) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return &ocpp21.GetDERControlResponse{Status: ocpp21.DERControlStatusNotFound}, nil
	}
	slices.Sort(ids)
	return &ocpp21.GetDERControlResponse{Status: ocpp21.DERControlStatusAccepted}, func() {
		for n, id := range ids {
			if report := s.oneDER(id); report != nil {
				report.RequestID, report.Tbc = req.RequestID, optional(n+1 < len(ids))
				s.say(report, nil).Keep = true
			}
		}
	}
}

// oneDER is the report of one control.
func (s *Station) oneDER(id string) *ocpp21.ReportDERControlRequest {
	held := s.state.DER[id]
	var set ocpp21.SetDERControlRequest
	if _, err := set.Decode(held.Payload); err != nil {
		return nil
	}
	r := &ocpp21.ReportDERControlRequest{}
	switch {
	case set.Curve != nil:
		r.Curve = []ocpp21.DERCurveGet{{ID: id, CurveType: set.ControlType, IsDefault: held.Default, Curve: *set.Curve}}
	case set.EnterService != nil:
		r.EnterService = []ocpp21.EnterServiceGet{{ID: id, EnterService: *set.EnterService}}
	case set.FixedPFAbsorb != nil:
		r.FixedPFAbsorb = []ocpp21.FixedPFGet{{ID: id, IsDefault: held.Default, FixedPF: *set.FixedPFAbsorb}}
	case set.FixedPFInject != nil:
		r.FixedPFInject = []ocpp21.FixedPFGet{{ID: id, IsDefault: held.Default, FixedPF: *set.FixedPFInject}}
	case set.FixedVar != nil:
		r.FixedVar = []ocpp21.FixedVarGet{{ID: id, IsDefault: held.Default, FixedVar: *set.FixedVar}}
	case set.FreqDroop != nil:
		r.FreqDroop = []ocpp21.FreqDroopGet{{ID: id, IsDefault: held.Default, FreqDroop: *set.FreqDroop}}
	case set.Gradient != nil:
		r.Gradient = []ocpp21.GradientGet{{ID: id, Gradient: *set.Gradient}}
	case set.LimitMaxDischarge != nil:
		r.LimitMaxDischarge = []ocpp21.LimitMaxDischargeGet{{ID: id, IsDefault: held.Default, LimitMaxDischarge: *set.LimitMaxDischarge}}
	}
	return r
}

func (s *Station) clearDER(req *ocpp21.ClearDERControlRequest) ocpp21.DERControlStatus {
	n := 0
	for id, held := range s.state.DER {
		if held.Default == req.IsDefault && (req.ControlID == "" || id == req.ControlID) && (req.ControlType == "" || held.Type == string(req.ControlType)) {
			delete(s.state.DER, id)
			n++
		}
	}
	if n == 0 {
		return ocpp21.DERControlStatusNotFound
	}
	s.Dirty()
	return ocpp21.DERControlStatusAccepted
}

// ---- tariffs (I)

func (s *Station) listTariffs(req *ocpp21.GetTariffsRequest) ocpp21.Response {
	resp := &ocpp21.GetTariffsResponse{Status: ocpp21.TariffGetStatusNoTariff}
	for evse, t := range s.state.Tariffs {
		if req.EVSEID != 0 && evse != req.EVSEID {
			continue
		}
		a := ocpp21.TariffAssignment{TariffID: t.ID, TariffKind: ocpp21.TariffKindDefaultTariff}
		if evse > 0 {
			a.EVSEIDs = []int64{evse}
		}
		resp.Status = ocpp21.TariffGetStatusAccepted
		resp.TariffAssignments = append(resp.TariffAssignments, a)
	}
	slices.SortFunc(resp.TariffAssignments, func(a, b ocpp21.TariffAssignment) int { return slices.Compare(a.EVSEIDs, b.EVSEIDs) })
	return resp
}

func (s *Station) clearTariffs(req *ocpp21.ClearTariffsRequest) ocpp21.Response {
	resp := &ocpp21.ClearTariffsResponse{}
	for evse, t := range s.state.Tariffs {
		if (len(req.TariffIDs) == 0 || slices.Contains(req.TariffIDs, t.ID)) && (req.EVSEID == nil || *req.EVSEID == evse) {
			delete(s.state.Tariffs, evse)
			s.Dirty()
			resp.ClearTariffsResult = append(resp.ClearTariffsResult, ocpp21.ClearTariffsResult{TariffID: t.ID, Status: ocpp21.TariffClearStatusAccepted})
		}
	}
	for _, id := range req.TariffIDs {
		if !slices.ContainsFunc(resp.ClearTariffsResult, func(r ocpp21.ClearTariffsResult) bool { return r.TariffID == id }) {
			resp.ClearTariffsResult = append(resp.ClearTariffsResult, ocpp21.ClearTariffsResult{TariffID: id, Status: ocpp21.TariffClearStatusNoTariff})
		}
	}
	if len(resp.ClearTariffsResult) == 0 {
		resp.ClearTariffsResult = []ocpp21.ClearTariffsResult{{Status: ocpp21.TariffClearStatusNoTariff}}
	}
	return resp
}

func (s *Station) changeTariff(req *ocpp21.ChangeTransactionTariffRequest) (ocpp21.Response, func()) {
	for _, e := range s.evses {
		if tx := s.running(e); tx != nil && tx.ID == req.TransactionID {
			return &ocpp21.ChangeTransactionTariffResponse{Status: ocpp21.TariffChangeStatusAccepted}, func() {
				s.update(e, tx, happening{trigger: ocpp21.TriggerReasonTariffChanged})
			}
		}
	}
	return &ocpp21.ChangeTransactionTariffResponse{Status: ocpp21.TariffChangeStatusTxNotFound}, nil
}
