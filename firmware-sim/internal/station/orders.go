package station

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/schedule"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Ordered carries out a CALL of the central system and answers it at once,
// whatever of our own is under way.
func (s *Station) Ordered(f ocppj.Frame) {
	info, known := ocpp16.Lookup(f.Action)
	req, ok := ocpp16.NewRequest(f.Action)
	if !known || !ok {
		s.Refuse(f.ID, ocppj.NotImplemented, f.Action+" is not known")
		return
	}
	if info.Direction&ocpp16.FromServer == 0 {
		s.Refuse(f.ID, ocppj.NotSupported, f.Action+" is sent by charge points")
		return
	}
	if _, err := req.Decode(f.Payload); err != nil {
		s.Refuse(f.ID, ocppj.CodeOf(err), err.Error())
		return
	}
	if err := req.Validate(); err != nil {
		s.Refuse(f.ID, ocppj.CodeOf(err), err.Error())
		return
	}
	if p, ok := req.(*ocpp16.SetChargingProfileRequest); ok && (p.ConnectorID < 0 || p.ConnectorID > int64(len(s.connectors))) { // errata 1.6 §3.39
		s.Refuse(f.ID, ocppj.PropertyConstraintViolation, "connectorId: there is no connector "+itoa(p.ConnectorID))
		return
	}
	if g, ok := req.(*ocpp16.GetConfigurationRequest); ok && len(g.Key) > s.keys.Int(keys.GetConfigurationMaxKeys) {
		s.Refuse(f.ID, ocppj.OccurenceConstraintViolation, "key: more than GetConfigurationMaxKeys allows")
		return
	}
	resp, then := s.carryOut(req)
	if resp == nil {
		s.Refuse(f.ID, ocppj.NotSupported, f.Action+" is not supported")
		return
	}
	s.Reply(f, resp.AppendJSON(nil))
	if then != nil {
		then()
	}
}

// carryOut returns the answer to a request, and what is to happen once it has
// been sent.
func (s *Station) carryOut(req ocpp16.Request) (ocpp16.Response, func()) {
	switch req := req.(type) {
	case *ocpp16.RemoteStartTransactionRequest:
		return s.remoteStart(req)
	case *ocpp16.RemoteStopTransactionRequest:
		return s.remoteStop(req)
	case *ocpp16.UnlockConnectorRequest:
		return s.unlock(req)
	case *ocpp16.ResetRequest:
		if s.resetting != "" {
			return &ocpp16.ResetResponse{Status: ocpp16.ResetStatusRejected}, nil
		}
		return &ocpp16.ResetResponse{Status: ocpp16.ResetStatusAccepted}, func() {
			s.security("ResetOrReboot", string(req.Type)+" reset")
			s.reset(req.Type)
		}
	case *ocpp16.ChangeAvailabilityRequest:
		return &ocpp16.ChangeAvailabilityResponse{Status: s.changeAvailability(req)}, nil
	case *ocpp16.ChangeConfigurationRequest:
		return s.changeConfiguration(req)
	case *ocpp16.GetConfigurationRequest:
		known, unknown := s.keys.Report(req.Key)
		return &ocpp16.GetConfigurationResponse{ConfigurationKey: known, UnknownKey: unknown}, nil
	case *ocpp16.ClearCacheRequest:
		if !s.keys.Bool(keys.AuthorizationCacheEnabled) {
			return &ocpp16.ClearCacheResponse{Status: ocpp16.ClearCacheStatusRejected}, nil
		}
		clear(s.state.Cache)
		s.Dirty()
		return &ocpp16.ClearCacheResponse{Status: ocpp16.ClearCacheStatusAccepted}, nil
	case *ocpp16.DataTransferRequest:
		if !slices.Contains(s.cfg.DataVendors, req.VendorID) {
			return &ocpp16.DataTransferResponse{Status: ocpp16.DataTransferStatusUnknownVendorId}, nil
		}
		return &ocpp16.DataTransferResponse{Status: ocpp16.DataTransferStatusAccepted}, nil
	case *ocpp16.ReserveNowRequest:
		return &ocpp16.ReserveNowResponse{Status: s.reserve(req)}, nil
	case *ocpp16.CancelReservationRequest:
		if !s.cancelReservation(req.ReservationID) {
			return &ocpp16.CancelReservationResponse{Status: ocpp16.CancelReservationStatusRejected}, nil
		}
		return &ocpp16.CancelReservationResponse{Status: ocpp16.CancelReservationStatusAccepted}, nil
	case *ocpp16.GetLocalListVersionRequest:
		return &ocpp16.GetLocalListVersionResponse{ListVersion: s.listVersion()}, nil
	case *ocpp16.SendLocalListRequest:
		return &ocpp16.SendLocalListResponse{Status: s.updateList(req)}, nil
	case *ocpp16.SetChargingProfileRequest:
		return &ocpp16.SetChargingProfileResponse{Status: s.setProfile(req)}, nil
	case *ocpp16.ClearChargingProfileRequest:
		s.Dirty()
		if s.state.Profiles.Clear(req) == 0 {
			return &ocpp16.ClearChargingProfileResponse{Status: ocpp16.ClearChargingProfileStatusUnknown}, nil
		}
		return &ocpp16.ClearChargingProfileResponse{Status: ocpp16.ClearChargingProfileStatusAccepted}, nil
	case *ocpp16.GetCompositeScheduleRequest:
		return s.composite(req), nil
	case *ocpp16.TriggerMessageRequest:
		return s.trigger(string(req.RequestedMessage), req.ConnectorID)
	case *ocpp16.ExtendedTriggerMessageRequest:
		answer, then := s.trigger(string(req.RequestedMessage), req.ConnectorID)
		return &ocpp16.ExtendedTriggerMessageResponse{Status: answer.Status}, then
	}
	return s.carryOutUpkeep(req)
}

// listVersion is 0 for an empty list (§5.10).
func (s *Station) listVersion() int64 {
	if len(s.state.List.Entries) == 0 {
		return 0
	}
	return s.state.List.Version
}

// remoteStart is §5.11.
func (s *Station) remoteStart(req *ocpp16.RemoteStartTransactionRequest) (ocpp16.Response, func()) {
	no := &ocpp16.RemoteStartTransactionResponse{Status: ocpp16.RemoteStartStopStatusRejected}
	if s.Registration == charger.Pending { // §4.2
		return no, nil
	}
	c := s.remoteConnector(req)
	if c == nil {
		return no, nil
	}
	if p := req.ChargingProfile; p != nil {
		if p.ChargingProfilePurpose != ocpp16.ChargingProfilePurposeTxProfile || p.TransactionID != nil || schedule.Check(c.id, *p, s.bounds()) != nil {
			return no, nil
		}
	}
	return &ocpp16.RemoteStartTransactionResponse{Status: ocpp16.RemoteStartStopStatusAccepted}, func() {
		begin := func(parent string) {
			if s.running(c) == nil && s.usable(c) == nil && s.reservedFor(c, req.IDTag, parent) {
				s.admit(c, admission{tag: req.IDTag, parent: parent, profile: req.ChargingProfile})
			}
		}
		if !s.keys.Bool(keys.AuthorizeRemoteTxRequests) {
			begin("")
			return
		}
		c.authorizing = true
		s.authorize(req.IDTag, func(accepted bool, parent string) {
			c.authorizing = false
			if accepted {
				begin(parent)
				return
			}
			c.refusals++
		})
	}
}

// remoteConnector is where a remote start may begin: the one asked for, else one
// with a car, else a free one.
func (s *Station) remoteConnector(req *ocpp16.RemoteStartTransactionRequest) *connector {
	fits := func(c *connector) bool {
		return c != nil && s.running(c) == nil && !c.authorizing && s.usable(c) == nil && s.reservedFor(c, req.IDTag, "")
	}
	if req.ConnectorID != nil {
		if c := s.connector(*req.ConnectorID); fits(c) {
			return c
		}
		return nil
	}
	var free *connector
	for _, c := range s.connectors {
		if !fits(c) {
			continue
		}
		if c.outlet.Car() != nil {
			return c
		}
		if free == nil {
			free = c
		}
	}
	return free
}

// remoteStop is §5.12.
func (s *Station) remoteStop(req *ocpp16.RemoteStopTransactionRequest) (ocpp16.Response, func()) {
	if s.Registration == charger.Pending {
		return &ocpp16.RemoteStopTransactionResponse{Status: ocpp16.RemoteStartStopStatusRejected}, nil
	}
	for _, c := range s.connectors {
		if tx := s.running(c); tx != nil && tx.Known && tx.ID == req.TransactionID {
			return &ocpp16.RemoteStopTransactionResponse{Status: ocpp16.RemoteStartStopStatusAccepted}, func() {
				s.stop(c, ocpp16.ReasonRemote, "")
			}
		}
	}
	return &ocpp16.RemoteStopTransactionResponse{Status: ocpp16.RemoteStartStopStatusRejected}, nil
}

// unlock is §5.18: a running transaction ends first.
func (s *Station) unlock(req *ocpp16.UnlockConnectorRequest) (ocpp16.Response, func()) {
	c := s.connector(req.ConnectorID)
	if c == nil {
		return &ocpp16.UnlockConnectorResponse{Status: ocpp16.UnlockStatusNotSupported}, nil
	}
	if f := s.broken(c); f != nil && f.code == ocpp16.ChargePointErrorCodeConnectorLockFailure {
		return &ocpp16.UnlockConnectorResponse{Status: ocpp16.UnlockStatusUnlockFailed}, nil
	}
	return &ocpp16.UnlockConnectorResponse{Status: ocpp16.UnlockStatusUnlocked}, func() {
		s.stop(c, ocpp16.ReasonUnlockCommand, "")
	}
}

// changeAvailability is §5.2. What is scheduled takes effect by itself: status
// looks at transactions first.
func (s *Station) changeAvailability(req *ocpp16.ChangeAvailabilityRequest) ocpp16.AvailabilityStatus {
	inoperative := req.Type == ocpp16.AvailabilityTypeInoperative
	var affected []*connector
	if req.ConnectorID == 0 {
		affected = s.connectors
		s.state.Inoperative = inoperative
	} else {
		c := s.connector(req.ConnectorID)
		if c == nil {
			return ocpp16.AvailabilityStatusRejected
		}
		affected = []*connector{c}
		if !inoperative && s.state.Inoperative { // one comes back: the others stay away by themselves
			s.state.Inoperative = false
			for i := range s.state.Connectors {
				s.state.Connectors[i].Inoperative = true
			}
		}
	}
	s.Dirty()
	if inoperative {
		s.endReservations(req.ConnectorID)
	}
	verdict := ocpp16.AvailabilityStatusAccepted
	for _, c := range affected {
		s.state.Connectors[c.id-1].Inoperative = inoperative
		if inoperative && s.running(c) != nil {
			verdict = ocpp16.AvailabilityStatusScheduled
		}
	}
	return verdict
}

// changeConfiguration is §5.3, with what some keys set in motion.
func (s *Station) changeConfiguration(req *ocpp16.ChangeConfigurationRequest) (ocpp16.Response, func()) {
	if strings.EqualFold(req.Key, keys.SecurityProfile) && !s.mayUpgrade(req.Value) {
		return &ocpp16.ChangeConfigurationResponse{Status: ocpp16.ConfigurationStatusRejected}, nil
	}
	status := s.keys.Change(req.Key, req.Value)
	resp := &ocpp16.ChangeConfigurationResponse{Status: status}
	if status != ocpp16.ConfigurationStatusAccepted && status != ocpp16.ConfigurationStatusRebootRequired {
		return resp, nil
	}
	s.Dirty()
	return resp, func() {
		switch {
		case strings.EqualFold(req.Key, keys.HeartbeatInterval):
			s.scheduleHeartbeat()
		case strings.EqualFold(req.Key, keys.WebSocketPingInterval):
			s.SchedulePing()
		case strings.EqualFold(req.Key, keys.ClockAlignedDataInterval):
			s.scheduleAligned()
		case strings.EqualFold(req.Key, keys.MeterValueSampleInterval):
			for _, c := range s.connectors {
				s.scheduleSample(c)
			}
		case strings.EqualFold(req.Key, keys.AuthorizationKey):
			s.security("ReconfigurationOfSecurityParameters", "AuthorizationKey")
			s.In("reconnect", 200*time.Millisecond, func() { s.Reconnect("new password") })
		case strings.EqualFold(req.Key, keys.SecurityProfile):
			s.security("ReconfigurationOfSecurityParameters", "SecurityProfile "+req.Value)
			s.In("reconnect", 200*time.Millisecond, func() { s.Reconnect("new security profile") })
		}
	}
}

// mayUpgrade tells whether the security profile may be set (A05): never to a
// lower one or the same, to 1 and 2 with a password only, to 3 with a certificate.
// Profiles 2 and 3 need TLS: the address of the central system is given from
// outside, so a charge point that was started without it cannot go there.
func (s *Station) mayUpgrade(value string) bool {
	profile, err := strconv.Atoi(value)
	if err != nil || profile <= s.keys.Int(keys.SecurityProfile) {
		return false
	}
	switch profile {
	case 1:
		return len(s.password()) > 0
	case 2:
		return s.cfg.Secure && len(s.password()) > 0
	}
	return profile == 3 && s.cfg.Secure && s.state.Chain != ""
}

// ---- smart charging

func (s *Station) bounds() schedule.Bounds {
	return schedule.Bounds{
		MaxStackLevel: s.keys.Int(keys.ChargeProfileMaxStackLevel), MaxPeriods: s.keys.Int(keys.ChargingScheduleMaxPeriods),
		MaxInstalled: s.keys.Int(keys.MaxChargingProfilesInstalled),
	}
}

// setProfile is §5.16.
func (s *Station) setProfile(req *ocpp16.SetChargingProfileRequest) ocpp16.ChargingProfileStatus {
	p := req.CsChargingProfiles
	if err := schedule.Check(int(req.ConnectorID), p, s.bounds()); err != nil {
		s.Log.Warn("a charging profile is refused", "profile", p.ChargingProfileID, "err", err)
		return ocpp16.ChargingProfileStatusRejected
	}
	if p.ChargingProfilePurpose == ocpp16.ChargingProfilePurposeTxProfile {
		tx := s.running(s.connector(req.ConnectorID))
		if tx == nil || p.TransactionID != nil && *p.TransactionID != tx.id() {
			return ocpp16.ChargingProfileStatusRejected
		}
	}
	if !s.state.Profiles.Install(int(req.ConnectorID), p, s.Now(), s.bounds()) {
		return ocpp16.ChargingProfileStatusRejected
	}
	s.Dirty()
	return ocpp16.ChargingProfileStatusAccepted
}

// composite is §5.7.
func (s *Station) composite(req *ocpp16.GetCompositeScheduleRequest) ocpp16.Response {
	if req.ConnectorID < 0 || req.ConnectorID > int64(len(s.connectors)) || req.Duration < 0 {
		return &ocpp16.GetCompositeScheduleResponse{Status: ocpp16.GetCompositeScheduleStatusRejected}
	}
	var tx *schedule.Transaction
	hardware := schedule.Hardware{Phases: 1}
	for _, c := range s.connectors {
		if req.ConnectorID != 0 && req.ConnectorID != int64(c.id) {
			continue
		}
		supply := c.outlet.Supply()
		phases := phasesOf(supply)
		amps, watts := supply.MaxA, supply.MaxA*schedule.Voltage*float64(phases)
		if supply.DC {
			amps, watts = supply.MaxW/(schedule.Voltage*float64(phases)), supply.MaxW
		}
		hardware.Phases = max(hardware.Phases, phases)
		hardware.MaxA += amps
		hardware.MaxW += watts
		if t := s.running(c); t != nil && req.ConnectorID != 0 {
			tx = &schedule.Transaction{ID: t.id(), Start: t.Start}
		}
	}
	now := s.Now().Truncate(time.Second)
	return &ocpp16.GetCompositeScheduleResponse{
		Status: ocpp16.GetCompositeScheduleStatusAccepted, ConnectorID: &req.ConnectorID, ScheduleStart: at(now),
		ChargingSchedule: s.state.Profiles.Composite(int(req.ConnectorID), now, time.Duration(req.Duration)*time.Second, req.ChargingRateUnit, hardware, tx),
	}
}

// ---- triggers

// trigger is §5.17 and its extension.
func (s *Station) trigger(message string, id *int64) (*ocpp16.TriggerMessageResponse, func()) {
	chosen := []*connector{nil} // nil is the charge point as a whole
	switch {
	case id == nil:
		chosen = append(chosen, s.connectors...)
	case *id == 0:
	case s.connector(*id) != nil:
		chosen = []*connector{s.connector(*id)}
	default:
		return &ocpp16.TriggerMessageResponse{Status: ocpp16.TriggerMessageStatusRejected}, nil
	}
	yes := &ocpp16.TriggerMessageResponse{Status: ocpp16.TriggerMessageStatusAccepted}
	send := func(c *call) { // §4.2: what is asked for may be said while Pending
		if c != nil {
			c.Early = true
		}
	}
	switch message {
	case string(ocpp16.MessageTriggerBootNotification):
		return yes, s.Boot
	case string(ocpp16.MessageTriggerHeartbeat):
		return yes, func() { send(s.heartbeat()) }
	case string(ocpp16.MessageTriggerStatusNotification):
		return yes, func() {
			for _, c := range chosen {
				send(s.notifyNow(c))
			}
		}
	case string(ocpp16.MessageTriggerMeterValues):
		return yes, func() {
			for _, c := range chosen {
				if c != nil {
					send(s.sayReading(c, ocpp16.ReadingContextTrigger, keys.MeterValuesSampledData))
				}
			}
		}
	case string(ocpp16.MessageTriggerFirmwareStatusNotification):
		return yes, func() { send(s.sayFirmware()) }
	case string(ocpp16.MessageTriggerDiagnosticsStatusNotification):
		return yes, func() { send(s.sayDiagnostics()) }
	case string(ocpp16.ExtendedMessageTriggerLogStatusNotification):
		return yes, func() { send(s.sayLog()) }
	case string(ocpp16.ExtendedMessageTriggerSignChargePointCertificate):
		return yes, func() { send(s.signCertificate()) }
	}
	return &ocpp16.TriggerMessageResponse{Status: ocpp16.TriggerMessageStatusNotImplemented}, nil
}

// notifyNow sends the status that holds, whether or not it is known; nil is the
// charge point as a whole.
func (s *Station) notifyNow(c *connector) *call {
	if c == nil {
		return s.sayBoard(s.whole())
	}
	return s.sayStatus(c, s.current(c))
}
