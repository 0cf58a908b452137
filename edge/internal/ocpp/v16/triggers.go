package v16

import (
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// triggers are the words of TriggerMessage and ExtendedTriggerMessage for what a
// command asks for; empty where the message does not have it.
var triggers = map[string]struct {
	plain    ocpp16.MessageTrigger
	extended ocpp16.ExtendedMessageTrigger
}{
	"boot":             {ocpp16.MessageTriggerBootNotification, ocpp16.ExtendedMessageTriggerBootNotification},
	"heartbeat":        {ocpp16.MessageTriggerHeartbeat, ocpp16.ExtendedMessageTriggerHeartbeat},
	"status":           {ocpp16.MessageTriggerStatusNotification, ocpp16.ExtendedMessageTriggerStatusNotification},
	"meter":            {ocpp16.MessageTriggerMeterValues, ocpp16.ExtendedMessageTriggerMeterValues},
	"firmware":         {ocpp16.MessageTriggerFirmwareStatusNotification, ocpp16.ExtendedMessageTriggerFirmwareStatusNotification},
	"log":              {ocpp16.MessageTriggerDiagnosticsStatusNotification, ocpp16.ExtendedMessageTriggerLogStatusNotification},
	"sign_certificate": {"", ocpp16.ExtendedMessageTriggerSignChargePointCertificate},
}

func (j *errand) trigger(p *event.TriggerParams) (site.Outcome, error) {
	if p.Message == "sign_v2g_certificate" {
		return j.tunnelHandOver("")
	}
	words, ok := triggers[p.Message]
	if custom, named := strings.CutPrefix(p.Message, "custom:"); named && custom != "" {
		words.plain, words.extended, ok = ocpp16.MessageTrigger(custom), ocpp16.ExtendedMessageTrigger(custom), true
	}
	if !ok {
		return job.Unsupportedf("message: OCPP 1.6 has boot, heartbeat, status, meter, firmware, log, sign_certificate and, for Plug & Charge, sign_v2g_certificate, got %q", p.Message), nil
	}
	j.given.invite(string(words.plain))
	j.given.invite(strings.Replace(string(words.extended), "SignChargePointCertificate", ocpp16.ActionSignCertificate, 1))
	if words.plain == "" {
		return j.triggerExtended(words.extended)
	}
	word, err := j.askFor(&ocpp16.TriggerMessageRequest{RequestedMessage: words.plain, ConnectorID: j.atOptional()}, words.extended)
	if err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(word, event.StateAccepted), nil
}

func (j *errand) triggerExtended(word ocpp16.ExtendedMessageTrigger) (site.Outcome, error) {
	if profile := j.c.Profile(); profile.Trigger == stationprofile.None || profile.Trigger == stationprofile.Plain {
		return job.Unsupportedf("the station profile %s says that the charge point cannot be asked for %s", profile.Name, word), nil
	}
	var answer ocpp16.ExtendedTriggerMessageResponse
	err := j.Call(&ocpp16.ExtendedTriggerMessageRequest{RequestedMessage: word, ConnectorID: j.atOptional()}, &answer)
	if err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

// Refresh implements site.Device: it asks for a boot, if none came over this
// connection or the charge point was not accepted, and for the status of every silent connector: without a connector
// many answer for connector 0 or for the first one only. Charge points that
// cannot be asked are left alone.
func (p *peer) Refresh(silent []event.Address) {
	if profile := p.c.Profile(); profile.Refresh == stationprofile.None || profile.Trigger == stationprofile.None {
		return
	}
	j := &errand{peer: p, Job: job.Own(p.c, version)}
	var asks []ocpp16.TriggerMessageRequest
	if !p.booted || !p.accepted {
		asks = append(asks, ocpp16.TriggerMessageRequest{RequestedMessage: ocpp16.MessageTriggerBootNotification})
	}
	status := ocpp16.TriggerMessageRequest{RequestedMessage: ocpp16.MessageTriggerStatusNotification}
	for _, at := range silent {
		n := p.connector(at.EVSE, at.Connector)
		status.ConnectorID = &n
		asks = append(asks, status)
	}
	if len(silent) == 0 {
		asks = append(asks, status)
	}
	p.c.Go(func() {
		for i := range asks {
			word := string(asks[i].RequestedMessage)
			answer, err := j.askFor(&asks[i], ocpp16.ExtendedMessageTrigger(word))
			if err != nil {
				p.c.Log().Info("charge point cannot be asked for its state", "message", word, "err", err)
				if i > 0 || !job.Lacking(err) { // it may know the other message
					return
				}
				continue
			}
			if job.VerdictOf(answer) != job.Accepted {
				p.c.Log().Info("charge point does not tell its state anew", "message", word, "answer", strconv.Quote(answer))
			}
		}
	})
}

// askFor asks for a message, by the request of the security extension where the
// charge point does not have the plain one, and returns its status word.
func (j *errand) askFor(ask *ocpp16.TriggerMessageRequest, word ocpp16.ExtendedMessageTrigger) (string, error) {
	how := j.c.Profile().Trigger
	if how == stationprofile.None {
		return "NotSupported", nil
	}
	if how != stationprofile.Extended {
		var answer ocpp16.TriggerMessageResponse
		err := j.Call(ask, &answer)
		if how == stationprofile.Plain || err == nil && job.VerdictOf(string(answer.Status)) != job.NotSupported || err != nil && !job.Lacking(err) {
			return string(answer.Status), err
		}
	}
	var extended ocpp16.ExtendedTriggerMessageResponse
	err := j.Call(&ocpp16.ExtendedTriggerMessageRequest{RequestedMessage: word, ConnectorID: ask.ConnectorID}, &extended)
	return string(extended.Status), err
}
