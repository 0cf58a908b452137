package main

import (
	"slices"
	"strconv"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/extendedtriggermessage"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/firmware"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/localauth"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/logging"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/remotetrigger"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/reservation"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
)

// setting is one configuration key.
type setting struct {
	value    string
	readonly bool
}

func settings(o options) map[string]setting {
	return map[string]setting{
		"AuthorizeRemoteTxRequests":               {value: "false"},
		"ChargeProfileMaxStackLevel":              {value: "10", readonly: true},
		"ChargingScheduleAllowedChargingRateUnit": {value: "Current,Power", readonly: true},
		"ConnectionTimeOut":                       {value: "60"},
		"HeartbeatInterval":                       {value: "0"},
		"LocalAuthListEnabled":                    {value: "true"},
		"LocalAuthListMaxLength":                  {value: "1000", readonly: true},
		"MeterValueSampleInterval":                {value: strconv.Itoa(int(o.interval / time.Second))},
		"MeterValuesSampledData":                  {value: "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC"},
		"NumberOfConnectors":                      {value: strconv.Itoa(o.connectors), readonly: true},
		"SendLocalListMaxLength":                  {value: "100", readonly: true},
		"StopTransactionOnInvalidId":              {value: "true", readonly: true},
		"SupportedFeatureProfiles":                {value: "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger", readonly: true},
		"WebSocketPingInterval":                   {value: "54", readonly: true},
	}
}

// answered prints a command with its answer.
func answered[A ocpp.Response](c *charger, request ocpp.Request, answer A) (A, error) {
	c.log.received(request, answer)
	return answer, nil
}

// at returns a connector, or nil. The lock is held.
func (c *charger) at(number int) *connector {
	if number < 1 || number > len(c.connectors) {
		return nil
	}
	return c.connectors[number-1]
}

func (c *charger) OnRemoteStartTransaction(r *core.RemoteStartTransactionRequest) (*core.RemoteStartTransactionConfirmation, error) {
	c.mu.Lock()
	var free *connector
	for _, k := range c.connectors {
		wanted := r.ConnectorId == nil || *r.ConnectorId == k.number
		if free == nil && wanted && k.running == nil && !k.inoperative {
			free = k
		}
	}
	if free == nil {
		c.mu.Unlock()
		return answered(c, r, core.NewRemoteStartTransactionConfirmation(types.RemoteStartStopStatusRejected))
	}
	number, held := free.number, free.reservation
	if r.ChargingProfile != nil {
		c.profiles = append(c.profiles, installed{connector: number, at: time.Now(), profile: r.ChargingProfile})
	}
	c.mu.Unlock()
	c.later(func() {
		if err := c.charge(number, r.IdTag, true, held); err != nil {
			c.log.fail(err)
		}
	})
	return answered(c, r, core.NewRemoteStartTransactionConfirmation(types.RemoteStartStopStatusAccepted))
}

func (c *charger) OnRemoteStopTransaction(r *core.RemoteStopTransactionRequest) (*core.RemoteStopTransactionConfirmation, error) {
	status := types.RemoteStartStopStatusRejected
	c.mu.Lock()
	for _, k := range c.connectors {
		if k.running != nil && k.running.transaction == r.TransactionId {
			status = types.RemoteStartStopStatusAccepted
			number := k.number
			c.later(func() { c.end(number, core.ReasonRemote) })
		}
	}
	c.mu.Unlock()
	return answered(c, r, core.NewRemoteStopTransactionConfirmation(status))
}

// OnReset ends what runs, drops the connection and starts anew.
func (c *charger) OnReset(r *core.ResetRequest) (*core.ResetConfirmation, error) {
	reason := core.ReasonSoftReset
	if r.Type == core.ResetTypeHard {
		reason = core.ReasonHardReset
	}
	c.later(func() {
		for n := range c.connectors {
			c.end(n+1, reason)
		}
		if err := c.reconnect(); err != nil {
			c.log.fail(err)
			return
		}
		if err := c.boot(); err != nil {
			c.log.fail(err)
		}
	})
	return answered(c, r, core.NewResetConfirmation(core.ResetStatusAccepted))
}

func (c *charger) OnChangeAvailability(r *core.ChangeAvailabilityRequest) (*core.ChangeAvailabilityConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.ConnectorId != 0 && c.at(r.ConnectorId) == nil {
		return answered(c, r, core.NewChangeAvailabilityConfirmation(core.AvailabilityStatusRejected))
	}
	status := core.AvailabilityStatusAccepted
	var changed []int
	for _, k := range c.connectors {
		if r.ConnectorId != 0 && r.ConnectorId != k.number {
			continue
		}
		k.inoperative = r.Type == core.AvailabilityTypeInoperative
		if k.running != nil {
			if k.inoperative {
				status = core.AvailabilityStatusScheduled // OCPP 1.6 §5.2: after the transaction
			}
			continue
		}
		k.status = core.ChargePointStatusAvailable
		if k.inoperative {
			k.status = core.ChargePointStatusUnavailable
		}
		changed = append(changed, k.number)
	}
	if r.ConnectorId == 0 {
		changed = append([]int{0}, changed...)
	}
	c.later(func() {
		for _, number := range changed {
			if err := c.report(number); err != nil {
				return
			}
		}
	})
	return answered(c, r, core.NewChangeAvailabilityConfirmation(status))
}

func (c *charger) OnUnlockConnector(r *core.UnlockConnectorRequest) (*core.UnlockConnectorConfirmation, error) {
	c.mu.Lock()
	known := c.at(r.ConnectorId) != nil
	c.mu.Unlock()
	if !known {
		return answered(c, r, core.NewUnlockConnectorConfirmation(core.UnlockStatusNotSupported))
	}
	c.later(func() { c.end(r.ConnectorId, core.ReasonUnlockCommand) })
	return answered(c, r, core.NewUnlockConnectorConfirmation(core.UnlockStatusUnlocked))
}

func (c *charger) OnGetConfiguration(r *core.GetConfigurationRequest) (*core.GetConfigurationConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := r.Key
	if len(keys) == 0 {
		for key := range c.config {
			keys = append(keys, key)
		}
		slices.Sort(keys)
	}
	answer := core.NewGetConfigurationConfirmation(nil)
	for _, key := range keys {
		s, ok := c.config[key]
		if !ok {
			answer.UnknownKey = append(answer.UnknownKey, key)
			continue
		}
		answer.ConfigurationKey = append(answer.ConfigurationKey, core.ConfigurationKey{Key: key, Readonly: s.readonly, Value: &s.value})
	}
	return answered(c, r, answer)
}

func (c *charger) OnChangeConfiguration(r *core.ChangeConfigurationRequest) (*core.ChangeConfigurationConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.config[r.Key]
	switch {
	case !ok:
		return answered(c, r, core.NewChangeConfigurationConfirmation(core.ConfigurationStatusNotSupported))
	case s.readonly:
		return answered(c, r, core.NewChangeConfigurationConfirmation(core.ConfigurationStatusRejected))
	case r.Key == "HeartbeatInterval":
		seconds, err := strconv.Atoi(r.Value)
		if err != nil || seconds < 0 {
			return answered(c, r, core.NewChangeConfigurationConfirmation(core.ConfigurationStatusRejected))
		}
		c.heartbeat = time.Duration(seconds) * time.Second
	}
	c.config[r.Key] = setting{value: r.Value}
	return answered(c, r, core.NewChangeConfigurationConfirmation(core.ConfigurationStatusAccepted))
}

func (c *charger) OnClearCache(r *core.ClearCacheRequest) (*core.ClearCacheConfirmation, error) {
	return answered(c, r, core.NewClearCacheConfirmation(core.ClearCacheStatusAccepted))
}

// OnDataTransfer knows one vendor, itself, and gives the data back.
func (c *charger) OnDataTransfer(r *core.DataTransferRequest) (*core.DataTransferConfirmation, error) {
	if r.VendorId != c.opts.vendor {
		return answered(c, r, core.NewDataTransferConfirmation(core.DataTransferStatusUnknownVendorId))
	}
	answer := core.NewDataTransferConfirmation(core.DataTransferStatusAccepted)
	answer.Data = r.Data
	return answered(c, r, answer)
}

func (c *charger) OnGetLocalListVersion(r *localauth.GetLocalListVersionRequest) (*localauth.GetLocalListVersionConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return answered(c, r, localauth.NewGetLocalListVersionConfirmation(c.listAt))
}

func (c *charger) OnSendLocalList(r *localauth.SendLocalListRequest) (*localauth.SendLocalListConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.UpdateType == localauth.UpdateTypeDifferential && r.ListVersion <= c.listAt {
		return answered(c, r, localauth.NewSendLocalListConfirmation(localauth.UpdateStatusVersionMismatch))
	}
	if r.UpdateType == localauth.UpdateTypeFull {
		clear(c.list)
	}
	for _, entry := range r.LocalAuthorizationList {
		if entry.IdTagInfo == nil {
			delete(c.list, entry.IdTag)
			continue
		}
		c.list[entry.IdTag] = entry
	}
	c.listAt = r.ListVersion
	return answered(c, r, localauth.NewSendLocalListConfirmation(localauth.UpdateStatusAccepted))
}

func (c *charger) OnReserveNow(r *reservation.ReserveNowRequest) (*reservation.ReserveNowConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(r.ConnectorId)
	switch {
	case k == nil:
		return answered(c, r, reservation.NewReserveNowConfirmation(reservation.ReservationStatusRejected))
	case k.inoperative:
		return answered(c, r, reservation.NewReserveNowConfirmation(reservation.ReservationStatusUnavailable))
	case k.running != nil, k.reservation != noReservation && k.reservation != r.ReservationId:
		return answered(c, r, reservation.NewReserveNowConfirmation(reservation.ReservationStatusOccupied))
	}
	k.reservation = r.ReservationId
	k.status = core.ChargePointStatusReserved
	c.later(func() {
		if err := c.report(r.ConnectorId); err != nil {
			return
		}
		if r.ExpiryDate != nil && c.pause(time.Until(r.ExpiryDate.Time)) {
			c.free(r.ReservationId)
		}
	})
	return answered(c, r, reservation.NewReserveNowConfirmation(reservation.ReservationStatusAccepted))
}

func (c *charger) OnCancelReservation(r *reservation.CancelReservationRequest) (*reservation.CancelReservationConfirmation, error) {
	c.mu.Lock()
	known := slices.ContainsFunc(c.connectors, func(k *connector) bool {
		return k.reservation == r.ReservationId && k.reservation != noReservation
	})
	c.mu.Unlock()
	if !known {
		return answered(c, r, reservation.NewCancelReservationConfirmation(reservation.CancelReservationStatusRejected))
	}
	c.later(func() { c.free(r.ReservationId) })
	return answered(c, r, reservation.NewCancelReservationConfirmation(reservation.CancelReservationStatusAccepted))
}

// free ends a reservation that nobody has used.
func (c *charger) free(id int) {
	c.mu.Lock()
	number := 0
	for _, k := range c.connectors {
		if k.reservation == id && k.running == nil {
			k.reservation = noReservation
			k.status = core.ChargePointStatusAvailable
			number = k.number
		}
	}
	c.mu.Unlock()
	if number != 0 {
		if err := c.report(number); err != nil {
			return
		}
	}
}

// trigger sends what was asked for; false means that it cannot.
func (c *charger) trigger(message string, connector *int) bool {
	numbers := []int{}
	for n := range c.connectors {
		if connector == nil || *connector == n+1 {
			numbers = append(numbers, n+1)
		}
	}
	if connector != nil && *connector == 0 {
		numbers = []int{0}
	}
	if len(numbers) == 0 {
		return false
	}
	c.later(func() {
		switch message {
		case core.BootNotificationFeatureName:
			c.call(c.bootRequest())
		case core.HeartbeatFeatureName:
			c.call(core.NewHeartbeatRequest())
		case firmware.FirmwareStatusNotificationFeatureName:
			c.call(firmware.NewFirmwareStatusNotificationRequest(firmware.FirmwareStatusIdle))
		case firmware.DiagnosticsStatusNotificationFeatureName:
			c.call(firmware.NewDiagnosticsStatusNotificationRequest(firmware.DiagnosticsStatusIdle))
		case logging.LogStatusNotificationFeatureName:
			c.call(logging.NewLogStatusNotificationRequest(logging.UploadLogStatusIdle, 0))
		case core.StatusNotificationFeatureName:
			for _, number := range numbers {
				if err := c.report(number); err != nil {
					return
				}
			}
		case core.MeterValuesFeatureName:
			for _, number := range numbers {
				if number == 0 {
					continue
				}
				c.mu.Lock()
				s := c.connectors[number-1].running
				c.mu.Unlock()
				if err := c.meter(number, s, c.reading(number, types.ReadingContextTrigger)); err != nil {
					return
				}
			}
		}
	})
	return true
}

func (c *charger) OnTriggerMessage(r *remotetrigger.TriggerMessageRequest) (*remotetrigger.TriggerMessageConfirmation, error) {
	status := remotetrigger.TriggerMessageStatusRejected
	if c.trigger(string(r.RequestedMessage), r.ConnectorId) {
		status = remotetrigger.TriggerMessageStatusAccepted
	}
	return answered(c, r, remotetrigger.NewTriggerMessageConfirmation(status))
}

func (c *charger) OnExtendedTriggerMessage(r *extendedtriggermessage.ExtendedTriggerMessageRequest) (*extendedtriggermessage.ExtendedTriggerMessageResponse, error) {
	status := extendedtriggermessage.ExtendedTriggerMessageStatusRejected
	switch {
	case r.RequestedMessage == extendedtriggermessage.ExtendedTriggerMessageTypeSignChargingStationCertificate:
		status = extendedtriggermessage.ExtendedTriggerMessageStatusNotImplemented
	case c.trigger(string(r.RequestedMessage), r.ConnectorId):
		status = extendedtriggermessage.ExtendedTriggerMessageStatusAccepted
	}
	return answered(c, r, extendedtriggermessage.NewExtendedTriggerMessageResponse(status))
}
