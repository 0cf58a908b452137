package site

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
)

// decodeParams reads the parameters of a command and refuses what no device
// could make sense of. The error is for the person who gave the command.
func decodeParams(t event.CommandType, raw json.RawMessage) (any, error) {
	var p any
	switch t {
	case event.CommandStart:
		p = new(event.StartParams)
	case event.CommandStop:
		p = new(event.StopParams)
	case event.CommandUnlock:
		p = new(event.UnlockParams)
	case event.CommandReset:
		p = new(event.ResetParams)
	case event.CommandSetAvailability:
		p = new(event.SetAvailabilityParams)
	case event.CommandSetLimit:
		p = new(event.SetLimitParams)
	case event.CommandClearLimit:
		p = new(event.ClearLimitParams)
	case event.CommandGetLimit:
		p = new(event.GetLimitParams)
	case event.CommandGetConfiguration:
		p = new(event.GetConfigurationParams)
	case event.CommandSetConfiguration:
		p = new(event.SetConfigurationParams)
	case event.CommandTrigger:
		p = new(event.TriggerParams)
	case event.CommandReserve:
		p = new(event.ReserveParams)
	case event.CommandCancelReservation:
		p = new(event.CancelReservationParams)
	case event.CommandUpdateFirmware:
		p = new(event.UpdateFirmwareParams)
	case event.CommandGetLog:
		p = new(event.GetLogParams)
	case event.CommandClearCache:
		p = new(event.ClearCacheParams)
	case event.CommandSendLocalList:
		p = new(event.SendLocalListParams)
	case event.CommandInstallCertificate:
		p = new(event.InstallCertificateParams)
	case event.CommandDeleteCertificate:
		p = new(event.DeleteCertificateParams)
	case event.CommandListCertificates:
		p = new(event.ListCertificatesParams)
	case event.CommandSignCertificate:
		p = new(event.SignCertificateParams)
	case event.CommandShowMessage:
		p = new(event.ShowMessageParams)
	case event.CommandSendData:
		p = new(event.SendDataParams)
	case event.CommandCall:
		p = new(event.CallParams)
	case event.CommandRestart:
		p = new(event.RestartParams)
	default:
		return raw, nil // for the gateway itself: its Device reads them
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, p); err != nil {
			return nil, fmt.Errorf("params: %w", err)
		}
	}
	return p, checkParams(p)
}

func checkParams(params any) error {
	need := func(ok bool, what string) error {
		if ok {
			return nil
		}
		return fmt.Errorf("params: expected %s", what)
	}
	switch p := params.(type) {
	case *event.StartParams:
		return need(strings.TrimSpace(p.Token.Value) != "", "a token")
	case *event.ResetParams:
		if p.Kind == "" {
			p.Kind = "soft"
		}
		return need(p.Kind == "soft" || p.Kind == "hard" || p.Kind == "resume", `kind "soft", "hard" or "resume"`)
	case *event.SetAvailabilityParams:
		return need(p.Connector >= 0, "a connector of 0 or more")
	case *event.ShowMessageParams:
		if p.ID < 0 {
			return need(false, "an id of 0 or more")
		}
		return need(p.Text != "" || p.ID != 0, "a text, or the id of a message to take away")
	case *event.SetLimitParams:
		if (p.LimitA == nil) == (p.LimitW == nil) {
			return need(false, "one of limit_a and limit_w")
		}
		if p.LimitA != nil && *p.LimitA < 0 || p.LimitW != nil && *p.LimitW < 0 {
			return need(false, "a limit of 0 or more")
		}
		return need(!p.Until.IsZero(), "until: a limit is a lease")
	case *event.SetConfigurationParams:
		return need(len(p.Variables) > 0, "at least one variable")
	case *event.TriggerParams:
		return need(triggered(p.Message) != factNone || customTrigger(p.Message),
			"message boot, heartbeat, status, meter, transaction, firmware, publish_firmware, log, sign_certificate, sign_v2g_certificate, sign_v2g20_certificate, sign_combined_certificate or custom:…")
	case *event.ReserveParams:
		if p.Reservation <= 0 {
			return need(false, "a positive reservation")
		}
		if strings.TrimSpace(p.Token.Value) == "" {
			return need(false, "a token")
		}
		return need(!p.Until.IsZero(), "until")
	case *event.CancelReservationParams:
		return need(p.Reservation > 0, "a positive reservation")
	case *event.UpdateFirmwareParams:
		return need(p.URL != "", "a url")
	case *event.GetLogParams:
		if p.Kind == "" {
			p.Kind = "diagnostics"
		}
		return need(p.URL != "", "a url")
	case *event.SendDataParams:
		return need(p.Vendor != "", "a vendor")
	case *event.CallParams:
		return need(p.Action != "", "an action")
	}
	return nil
}
