package station2

import (
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// carryOut returns the answer to a request, and what is to happen once it has
// been sent. Payload is the request as it came.
func (s *Station) carryOut(req ocpp21.Request, payload []byte) (ocpp21.Response, func()) {
	switch req := req.(type) {
	case *ocpp21.RequestStartTransactionRequest:
		return s.remoteStart(req)
	case *ocpp21.RequestStopTransactionRequest:
		return s.remoteStop(req)
	case *ocpp21.UnlockConnectorRequest:
		return s.unlock(req)
	case *ocpp21.ResetRequest:
		return s.reset(req)
	case *ocpp21.ChangeAvailabilityRequest:
		return &ocpp21.ChangeAvailabilityResponse{Status: s.changeAvailability(req)}, nil
	case *ocpp21.TriggerMessageRequest:
		return s.trigger(req)
	case *ocpp21.ClearCacheRequest:
		if !s.model.Bool(model.AuthCacheEnabled) {
			return &ocpp21.ClearCacheResponse{Status: ocpp21.ClearCacheStatusRejected}, nil
		}
		clear(s.state.Cache)
		s.Dirty()
		return &ocpp21.ClearCacheResponse{Status: ocpp21.ClearCacheStatusAccepted}, nil
	case *ocpp21.GetLocalListVersionRequest:
		version := s.state.List.Version
		if len(s.state.List.Entries) == 0 { // D02.FR.02
			version = 0
		}
		return &ocpp21.GetLocalListVersionResponse{VersionNumber: version}, nil
	case *ocpp21.SendLocalListRequest:
		return &ocpp21.SendLocalListResponse{Status: s.updateList(req)}, nil
	case *ocpp21.ReserveNowRequest:
		return &ocpp21.ReserveNowResponse{Status: s.reserve(req)}, nil
	case *ocpp21.CancelReservationRequest:
		return &ocpp21.CancelReservationResponse{Status: s.cancelReservation(req.ReservationID)}, nil
	case *ocpp21.DataTransferRequest:
		if !slices.Contains(s.cfg.DataVendors, req.VendorID) {
			return &ocpp21.DataTransferResponse{Status: ocpp21.DataTransferStatusUnknownVendorId}, nil
		}
		return &ocpp21.DataTransferResponse{Status: ocpp21.DataTransferStatusAccepted}, nil
	case *ocpp21.GetTransactionStatusRequest:
		return s.transactionStatus(req), nil
	case *ocpp21.CostUpdatedRequest:
		for _, e := range s.evses {
			if tx := s.running(e); tx != nil && tx.ID == req.TransactionID {
				tx.Cost = req.TotalCost
				s.Dirty()
			}
		}
		return &ocpp21.CostUpdatedResponse{}, nil
	case *ocpp21.SetChargingProfileRequest:
		return s.setProfile(req), nil
	case *ocpp21.ClearChargingProfileRequest:
		return &ocpp21.ClearChargingProfileResponse{Status: s.clearProfiles(req)}, nil
	case *ocpp21.GetChargingProfilesRequest:
		return s.reportProfiles(req)
	case *ocpp21.GetCompositeScheduleRequest:
		return s.composite(req), nil
	}
	if resp, then := s.carryOutModel(req); resp != nil {
		return resp, then
	}
	if resp, then := s.carryOutUpkeep(req); resp != nil {
		return resp, then
	}
	if resp, then := s.carryOutDisplay(req, payload); resp != nil {
		return resp, then
	}
	return s.carryOutAdded(req, payload)
}

// carryOutModel is carryOut for the device model and monitoring.
func (s *Station) carryOutModel(req ocpp21.Request) (ocpp21.Response, func()) {
	switch req := req.(type) {
	case *ocpp21.GetVariablesRequest:
		return s.getVariables(req), nil
	case *ocpp21.SetVariablesRequest:
		return s.setVariables(req)
	case *ocpp21.GetBaseReportRequest:
		return s.baseReport(req)
	case *ocpp21.GetReportRequest:
		return s.getReport(req)
	case *ocpp21.SetNetworkProfileRequest:
		return s.setNetworkProfile(req), nil
	case *ocpp21.SetVariableMonitoringRequest:
		return s.setMonitors(req), nil
	case *ocpp21.ClearVariableMonitoringRequest:
		return s.clearMonitors(req), nil
	case *ocpp21.SetMonitoringBaseRequest:
		return s.setMonitoringBase(req.MonitoringBase), nil
	case *ocpp21.SetMonitoringLevelRequest:
		return s.setMonitoringLevel(req.Severity), nil
	case *ocpp21.GetMonitoringReportRequest:
		return s.monitoringReport(req)
	}
	return nil, nil
}

// remoteStart is F01 and F02.
func (s *Station) remoteStart(req *ocpp21.RequestStartTransactionRequest) (ocpp21.Response, func()) {
	no := func(reason string) (ocpp21.Response, func()) {
		return &ocpp21.RequestStartTransactionResponse{Status: ocpp21.RequestStartStopStatusRejected, StatusInfo: &ocpp21.StatusInfo{ReasonCode: reason}}, nil
	}
	if s.Registration != charger.Accepted { // B02.FR.05
		return no("CSNotAccepted")
	}
	t := tokenOf(req.IDToken)
	if req.GroupIDToken != nil {
		t.Group = req.GroupIDToken.IDToken
	}
	e := s.remoteEVSE(req.EVSEID, t)
	if e == nil {
		return no("TxInProgress")
	}
	if p := req.ChargingProfile; p != nil {
		if p.ChargingProfilePurpose != ocpp21.ChargingProfilePurposeTxProfile || p.TransactionID != "" || s.checkProfile(int64(e.id), *p) != nil { // F01.FR.10
			return no("InvalidProfile")
		}
	}
	resp := &ocpp21.RequestStartTransactionResponse{Status: ocpp21.RequestStartStopStatusAccepted}
	if tx := s.running(e); tx != nil { // F01.FR.13
		resp.TransactionID = tx.ID
	}
	return resp, func() {
		begin := func(group string) {
			if group != "" {
				t.Group = group
			}
			if e.auth != nil || s.usable(e) != nil || !s.reservedFor(e, t) {
				return
			}
			s.admit(e, &authorization{token: t, remote: req.RemoteStartID}, ocpp21.TriggerReasonRemoteStart)
			if tx := s.running(e); tx != nil && req.ChargingProfile != nil {
				req.ChargingProfile.TransactionID = tx.ID
				s.install(int64(e.id), *req.ChargingProfile, sourceCSO)
			}
		}
		if !s.model.Bool(model.AuthorizeRemoteStart) {
			begin("")
			return
		}
		e.authorizing = true
		s.authorize(e, t, func(accepted bool, group string) {
			e.authorizing = false
			if accepted {
				begin(group)
				return
			}
			e.refusals++
		})
	}
}

// remoteEVSE is where a remote start may begin: the one asked for, else one with
// a car, else a free one.
func (s *Station) remoteEVSE(id *int64, t Token) *evse {
	fits := func(e *evse) bool {
		return e != nil && e.auth == nil && !e.authorizing && s.usable(e) == nil && s.reservedFor(e, t)
	}
	if id != nil {
		if e := s.evse(*id); fits(e) {
			return e
		}
		return nil
	}
	var free *evse
	for _, e := range s.evses {
		if !fits(e) {
			continue
		}
		if e.plugged() {
			return e
		}
		if free == nil {
			free = e
		}
	}
	return free
}

// remoteStop is F03.
func (s *Station) remoteStop(req *ocpp21.RequestStopTransactionRequest) (ocpp21.Response, func()) {
	for _, e := range s.evses {
		if tx := s.running(e); tx != nil && tx.ID == req.TransactionID && s.Registration == charger.Accepted {
			return &ocpp21.RequestStopTransactionResponse{Status: ocpp21.RequestStartStopStatusAccepted}, func() {
				s.deauthorize(e, happening{trigger: ocpp21.TriggerReasonRemoteStop, reason: ocpp21.ReasonRemote})
			}
		}
	}
	return &ocpp21.RequestStopTransactionResponse{Status: ocpp21.RequestStartStopStatusRejected, StatusInfo: &ocpp21.StatusInfo{ReasonCode: "TxNotFound"}}, nil
}

// unlock is F05: never under an authorized transaction.
func (s *Station) unlock(req *ocpp21.UnlockConnectorRequest) (ocpp21.Response, func()) {
	e := s.evse(req.EVSEID)
	status := ocpp21.UnlockStatusUnlocked
	switch {
	case e == nil || req.ConnectorID != 1:
		status = ocpp21.UnlockStatusUnknownConnector
	case e.auth != nil && s.running(e) != nil:
		status = ocpp21.UnlockStatusOngoingAuthorizedTransaction
	case e.fault != nil && e.fault.code == ocpp16.ChargePointErrorCodeConnectorLockFailure:
		status = ocpp21.UnlockStatusUnlockFailed
	}
	return &ocpp21.UnlockConnectorResponse{Status: status}, nil
}

// changeAvailability is G03 and G04. What is scheduled takes effect by itself:
// status looks at transactions first.
func (s *Station) changeAvailability(req *ocpp21.ChangeAvailabilityRequest) ocpp21.ChangeAvailabilityStatus {
	inoperative := req.OperationalStatus == ocpp21.OperationalStatusInoperative
	affected := s.evses
	var id int64
	switch {
	case req.EVSE == nil || req.EVSE.ID == 0:
		s.state.Inoperative = inoperative
	default:
		e := s.evse(req.EVSE.ID)
		if e == nil || req.EVSE.ConnectorID != nil && *req.EVSE.ConnectorID != 1 {
			return ocpp21.ChangeAvailabilityStatusRejected
		}
		affected, id = []*evse{e}, req.EVSE.ID
		if req.EVSE.ConnectorID != nil {
			s.state.EVSEs[e.id-1].Connector = inoperative
		} else {
			s.state.EVSEs[e.id-1].Inoperative = inoperative
		}
	}
	s.Dirty()
	if !inoperative {
		return ocpp21.ChangeAvailabilityStatusAccepted
	}
	s.endReservations(id, ocpp21.ReservationUpdateStatusRemoved)
	for _, e := range affected {
		if s.running(e) != nil {
			return ocpp21.ChangeAvailabilityStatusScheduled
		}
	}
	return ocpp21.ChangeAvailabilityStatusAccepted
}

// transactionStatus is E14.
func (s *Station) transactionStatus(req *ocpp21.GetTransactionStatusRequest) ocpp21.Response {
	if req.TransactionID == "" {
		return &ocpp21.GetTransactionStatusResponse{MessagesInQueue: slices.ContainsFunc(s.Queue, func(m *charger.Message) bool { return m.Transaction > 0 })}
	}
	resp := &ocpp21.GetTransactionStatusResponse{OngoingIndicator: ptr(false)}
	for _, tx := range s.state.Transactions {
		if tx.ID != req.TransactionID {
			continue
		}
		resp.OngoingIndicator = ptr(s.running(s.evse(int64(tx.EVSE))) == tx)
		resp.MessagesInQueue = slices.ContainsFunc(s.Queue, func(m *charger.Message) bool { return m.Transaction == tx.Number })
	}
	return resp
}

// trigger is F06.
func (s *Station) trigger(req *ocpp21.TriggerMessageRequest) (ocpp21.Response, func()) {
	chosen := s.evses
	if req.EVSE != nil && req.EVSE.ID > 0 {
		e := s.evse(req.EVSE.ID)
		if e == nil || req.EVSE.ConnectorID != nil && *req.EVSE.ConnectorID != 1 {
			return &ocpp21.TriggerMessageResponse{Status: ocpp21.TriggerMessageStatusRejected}, nil
		}
		chosen = []*evse{e}
	}
	yes := &ocpp21.TriggerMessageResponse{Status: ocpp21.TriggerMessageStatusAccepted}
	send := func(all ...*call) { // B02: what is asked for may be said while Pending
		for _, c := range all {
			if c != nil {
				c.Early = true
			}
		}
	}
	switch req.RequestedMessage {
	case ocpp21.MessageTriggerBootNotification:
		if s.Registration == charger.Accepted { // F06.FR.17
			return &ocpp21.TriggerMessageResponse{Status: ocpp21.TriggerMessageStatusRejected}, nil
		}
		return yes, func() { s.bootBecause(ocpp21.BootReasonTriggered) }
	case ocpp21.MessageTriggerHeartbeat:
		return yes, func() { send(s.heartbeat()) }
	case ocpp21.MessageTriggerStatusNotification:
		return yes, func() {
			for _, e := range chosen {
				send(s.sayStatus(e, s.status(e)))
			}
		}
	case ocpp21.MessageTriggerMeterValues:
		return yes, func() { send(s.sayReadings(chosen)...) }
	case ocpp21.MessageTriggerTransactionEvent:
		return yes, func() {
			for _, e := range chosen {
				if tx := s.running(e); tx != nil {
					s.update(e, tx, happening{trigger: ocpp21.TriggerReasonTrigger, readings: s.reading(e, ocpp21.ReadingContextTrigger, model.TxUpdatedMeasurands)})
				}
			}
		}
	case ocpp21.MessageTriggerFirmwareStatusNotification:
		return yes, func() { send(s.sayFirmware()) }
	case ocpp21.MessageTriggerLogStatusNotification:
		return yes, func() { send(s.sayLog()) }
	case ocpp21.MessageTriggerPublishFirmwareStatusNotification:
		return yes, func() { send(s.sayPublished()) }
	case ocpp21.MessageTriggerSignChargingStationCertificate:
		return yes, func() { send(s.signCertificate(ocpp21.CertificateSigningUseChargingStationCertificate)) }
	case ocpp21.MessageTriggerSignV2GCertificate, ocpp21.MessageTriggerSignCombinedCertificate:
		return yes, func() { send(s.signCertificate(ocpp21.CertificateSigningUseV2GCertificate)) }
	case ocpp21.MessageTriggerSignV2G20Certificate:
		return yes, func() { send(s.signCertificate(ocpp21.CertificateSigningUseV2G20Certificate)) }
	}
	return &ocpp21.TriggerMessageResponse{Status: ocpp21.TriggerMessageStatusNotImplemented}, nil
}

// slotNumber reads a configuration slot of the network priority.
func slotNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil
}

// setNetworkProfile is B09.
func (s *Station) setNetworkProfile(req *ocpp21.SetNetworkProfileRequest) ocpp21.Response {
	d := req.ConnectionData
	switch {
	case req.ConfigurationSlot < 0 || req.ConfigurationSlot > 9, d.OCPPTransport != ocpp21.OCPPTransportJSON:
		return &ocpp21.SetNetworkProfileResponse{Status: ocpp21.SetNetworkProfileStatusFailed}
	case d.SecurityProfile < int64(s.model.Int(model.SecurityProfile)), d.SecurityProfile > 1 && !s.cfg.Secure:
		return &ocpp21.SetNetworkProfileResponse{Status: ocpp21.SetNetworkProfileStatusRejected}
	}
	s.state.Network[req.ConfigurationSlot] = NetworkSlot{URL: d.OCPPCsmsURL, SecurityProfile: d.SecurityProfile, Password: d.BasicAuthPassword}
	s.Dirty()
	return &ocpp21.SetNetworkProfileResponse{Status: ocpp21.SetNetworkProfileStatusAccepted}
}

// chooseNetwork takes the first slot of the priority at a start (B10). Addresses
// are given from outside: what counts of a profile is its security and password.
func (s *Station) chooseNetwork() {
	order := s.model.List(model.NetworkPriority)
	if len(order) == 0 {
		return
	}
	id, ok := slotNumber(order[0])
	slot, filled := s.state.Network[id]
	if !ok || !filled {
		return
	}
	if slot.SecurityProfile == 3 && s.state.Chain == "" {
		s.Log.Warn("a network profile needs a certificate that is not there", "slot", id)
		return
	}
	s.model.Values[model.ActiveNetworkProfile] = order[0]
	s.model.Values[model.SecurityProfile] = strconv.FormatInt(slot.SecurityProfile, 10)
	if slot.Password != "" {
		s.model.Values[model.BasicAuthPassword] = slot.Password
	}
	s.Dirty()
}
