package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// state is what the station remembers; the station's lock guards it.
type state struct {
	variables    map[string]string // by component.variable
	profiles     map[int]object
	certificates []object
	messages     map[int]object
	list         int
	meter        float64 // Wh
	transaction  string
	token        any
	sequence     int
	count        int
}

func newState() state {
	return state{
		variables: map[string]string{
			"OCPPCommCtrlr.HeartbeatInterval": "300", "DeviceDataCtrlr.ItemsPerMessage": "4",
			"SmartChargingCtrlr.RateUnit": "A,W", "SmartChargingCtrlr.ProfileStackLevel": "10",
			"LocalAuthListCtrlr.ItemsPerMessage": "2", "SampledDataCtrlr.TxUpdatedInterval": "60",
		},
		profiles: map[int]object{}, messages: map[int]object{}, meter: 1000,
	}
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

func (s *station) boot(reason string) {
	s.say("BootNotification", object{"reason": reason, "chargingStation": object{"vendorName": "ocpp-go", "model": "v0.19.0", "firmwareVersion": "1"}})
	s.status("Available")
}

func (s *station) status(word string) {
	s.say("StatusNotification", object{"timestamp": now(), "connectorStatus": word, "evseId": 1, "connectorId": 1})
}

// value is a reading of the register, which has moved on.
func (s *station) value(context string) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter += 10
	return []any{object{"timestamp": now(), "sampledValue": []any{object{
		"value": s.meter, "context": context, "measurand": "Energy.Active.Import.Register", "unitOfMeasure": object{"unit": "Wh"},
	}}}}
}

// transact says one event of the running transaction.
func (s *station) transact(step, trigger, context string, info, more object) {
	values := s.value(context)
	s.mu.Lock()
	all := object{"transactionId": s.transaction}
	maps.Copy(all, info)
	event := object{
		"eventType": step, "triggerReason": trigger, "timestamp": now(), "seqNo": s.sequence,
		"transactionInfo": all, "evse": object{"id": 1, "connectorId": 1}, "meterValue": values,
	}
	s.sequence++
	s.mu.Unlock()
	maps.Copy(event, more)
	s.say("TransactionEvent", event)
}

func (s *station) start(token, remote any) {
	s.status("Occupied")
	s.mu.Lock()
	s.count++
	s.transaction, s.token, s.sequence = fmt.Sprintf("tx-%d-%d", time.Now().UnixMilli(), s.count), token, 0
	s.mu.Unlock()
	s.transact("Started", "RemoteStart", "Transaction.Begin", object{"chargingState": "EVConnected", "remoteStartId": remote}, object{"idToken": token})
	s.transact("Updated", "ChargingStateChanged", "Sample.Periodic", object{"chargingState": "Charging"}, nil)
}

func (s *station) stop() {
	s.mu.Lock()
	token := s.token
	s.mu.Unlock()
	s.transact("Ended", "RemoteStop", "Transaction.End", object{"stoppedReason": "Remote"}, object{"idToken": token})
	s.mu.Lock()
	s.transaction = ""
	s.mu.Unlock()
	s.status("Available")
}

func (s *station) report(id any) {
	s.mu.Lock()
	variables := maps.Clone(s.variables)
	s.mu.Unlock()
	names := slices.Sorted(maps.Keys(variables))
	part := 0
	for chunk := range slices.Chunk(names, 4) {
		var all []any
		for _, name := range chunk {
			component, variable, _ := strings.Cut(name, ".")
			all = append(all, object{
				"component": object{"name": component}, "variable": object{"name": variable},
				"variableAttribute": []any{object{"type": "Actual", "value": variables[name], "mutability": "ReadWrite"}},
			})
		}
		s.say("NotifyReport", object{"requestId": id, "generatedAt": now(), "seqNo": part, "tbc": (part+1)*4 < len(names), "reportData": all})
		part++
	}
}

func number(v any) int {
	f, _ := v.(float64)
	return int(f)
}

// sub is the object in a field, empty where there is none.
func sub(o object, field string) object {
	v, _ := o[field].(object)
	return v
}

func items(v any) []object {
	all, _ := v.([]any)
	var out []object
	for _, e := range all {
		if o, ok := e.(object); ok {
			out = append(out, o)
		}
	}
	return out
}

func name(o object) string {
	return fmt.Sprint(sub(o, "component")["name"], ".", sub(o, "variable")["name"])
}

// limit is the lowest current of all profiles, and whether there is one.
func (s *state) limit() (unit any, amperes float64, ok bool) {
	for _, p := range s.profiles {
		schedule := items(p["chargingSchedule"])[0]
		v, _ := items(schedule["chargingSchedulePeriod"])[0]["limit"].(float64)
		if !ok || v < amperes {
			unit, amperes, ok = schedule["chargingRateUnit"], v, true
		}
	}
	return unit, amperes, ok
}

// obey works out the answer to a message, and what is to be done after it. The
// station's lock is held.
func (s *station) obey(action string, p object) (object, func()) {
	accepted := object{"status": "Accepted"}
	switch action {
	case "CancelReservation":
		return accepted, func() { s.status("Available") }
	case "ReserveNow":
		return accepted, func() { s.status("Reserved") }
	case "ChangeAvailability":
		word := map[any]string{"Operative": "Available", "Inoperative": "Unavailable"}[p["operationalStatus"]]
		return accepted, func() { s.status(word) }
	case "ClearChargingProfile":
		if len(s.profiles) == 0 {
			return object{"status": "Unknown"}, nil
		}
		if id, ok := p["chargingProfileId"]; ok {
			delete(s.profiles, number(id))
		} else {
			clear(s.profiles)
		}
		return accepted, nil
	case "ClearDisplayMessage", "ClearDisplay":
		delete(s.messages, number(p["id"]))
		return accepted, nil
	case "ClearVariableMonitoring":
		var all []any
		ids, _ := p["id"].([]any)
		for _, id := range ids {
			all = append(all, object{"status": "Accepted", "id": id})
		}
		return object{"clearMonitoringResult": all}, nil
	case "CostUpdated":
		return object{}, nil
	case "CustomerInformation":
		return accepted, func() {
			s.say("NotifyCustomerInformation", object{"data": "nothing is kept", "seqNo": 0, "generatedAt": now(), "requestId": p["requestId"]})
		}
	case "DeleteCertificate":
		before := len(s.certificates)
		s.certificates = slices.DeleteFunc(s.certificates, func(o object) bool { return o["serialNumber"] == sub(p, "certificateHashData")["serialNumber"] })
		if len(s.certificates) == before {
			return object{"status": "NotFound"}, nil
		}
		return accepted, nil
	case "GetBaseReport", "GetReport":
		return accepted, func() { s.report(p["requestId"]) }
	case "GetChargingProfiles":
		if len(s.profiles) == 0 {
			return object{"status": "NoProfiles"}, nil
		}
		all := slices.Collect(maps.Values(s.profiles))
		return accepted, func() {
			for i, profile := range all {
				s.say("ReportChargingProfiles", object{"requestId": p["requestId"], "chargingLimitSource": "CSO", "evseId": 1, "tbc": i+1 < len(all), "chargingProfile": []any{profile}})
			}
		}
	case "GetCompositeSchedule":
		unit, limit, ok := s.limit()
		if !ok {
			return object{"status": "Rejected"}, nil
		}
		return object{"status": "Accepted", "schedule": object{
			"evseId": p["evseId"], "duration": p["duration"], "scheduleStart": now(), "chargingRateUnit": unit,
			"chargingSchedulePeriod": []any{object{"startPeriod": 0, "limit": limit}},
		}}, nil
	case "GetDisplayMessages":
		if len(s.messages) == 0 {
			return object{"status": "Unknown"}, nil
		}
		all := slices.Collect(maps.Values(s.messages))
		return accepted, func() {
			s.say("NotifyDisplayMessages", object{"requestId": p["requestId"], "messageInfo": all})
		}
	case "GetInstalledCertificateIds":
		if len(s.certificates) == 0 {
			return object{"status": "NotFound"}, nil
		}
		var all []any
		for _, c := range s.certificates {
			all = append(all, object{"certificateType": "CSMSRootCertificate", "certificateHashData": c})
		}
		return object{"status": "Accepted", "certificateHashDataChain": all}, nil
	case "GetLocalListVersion":
		return object{"versionNumber": s.list}, nil
	case "GetLog":
		return object{"status": "Accepted", "filename": "log"}, func() {
			for _, word := range []string{"Uploading", "Uploaded"} {
				s.say("LogStatusNotification", object{"status": word, "requestId": p["requestId"]})
			}
		}
	case "GetMonitoringReport":
		return accepted, func() {
			s.say("NotifyMonitoringReport", object{"requestId": p["requestId"], "seqNo": 0, "generatedAt": now()})
		}
	case "GetTransactionStatus":
		answer := object{"messagesInQueue": false}
		if id, ok := p["transactionId"]; ok {
			answer["ongoingIndicator"] = id == s.transaction
		}
		return answer, nil
	case "GetVariables":
		var all []any
		for _, v := range items(p["getVariableData"]) {
			result := object{"component": v["component"], "variable": v["variable"], "attributeStatus": "UnknownVariable"}
			if value, ok := s.variables[name(v)]; ok {
				result["attributeStatus"], result["attributeValue"] = "Accepted", value
			}
			all = append(all, result)
		}
		return object{"getVariableResult": all}, nil
	case "SetVariables":
		var all []any
		for _, v := range items(p["setVariableData"]) {
			result := object{"component": v["component"], "variable": v["variable"], "attributeStatus": "UnknownVariable"}
			if _, ok := s.variables[name(v)]; ok {
				s.variables[name(v)], _ = v["attributeValue"].(string)
				result["attributeStatus"] = "Accepted"
			}
			all = append(all, result)
		}
		return object{"setVariableResult": all}, nil
	case "InstallCertificate":
		text, _ := p["certificate"].(string)
		hash, err := hashOf(text)
		if err != nil {
			return object{"status": "Failed"}, nil
		}
		s.certificates = append(s.certificates, hash)
		return accepted, nil
	case "PublishFirmware":
		return accepted, func() {
			s.say("PublishFirmwareStatusNotification", object{"status": "Published", "location": []any{"http://127.0.0.1/firmware"}, "requestId": p["requestId"]})
		}
	case "RequestStartTransaction":
		return accepted, func() { s.start(p["idToken"], p["remoteStartId"]) }
	case "RequestStopTransaction":
		if p["transactionId"] != s.transaction {
			return object{"status": "Rejected"}, nil
		}
		return accepted, s.stop
	case "Reset":
		return accepted, func() { s.boot("RemoteReset") }
	case "SendLocalList":
		s.list = number(p["versionNumber"])
		return accepted, nil
	case "SetChargingProfile":
		profile := sub(p, "chargingProfile")
		s.profiles[number(profile["id"])] = profile
		return accepted, nil
	case "SetDisplayMessage":
		message := sub(p, "message")
		s.messages[number(message["id"])] = message
		return accepted, nil
	case "SetVariableMonitoring":
		var all []any
		for i, m := range items(p["setMonitoringData"]) {
			all = append(all, object{"id": i + 1, "status": "Accepted", "type": m["type"], "severity": m["severity"], "component": m["component"], "variable": m["variable"]})
		}
		return object{"setMonitoringResult": all}, nil
	case "TriggerMessage":
		return accepted, s.trigger(p["requestedMessage"])
	case "UnlockConnector":
		return object{"status": "Unlocked"}, nil
	case "UnpublishFirmware":
		return object{"status": "Unpublished"}, nil
	case "UpdateFirmware":
		return accepted, func() {
			for _, word := range []string{"Downloading", "Downloaded", "Installing", "Installed"} {
				s.say("FirmwareStatusNotification", object{"status": word, "requestId": p["requestId"]})
			}
		}
	case "CertificateSigned", "ClearCache", "DataTransfer", "SetMonitoringBase", "SetMonitoringLevel", "SetNetworkProfile":
		return accepted, nil
	}
	return nil, nil
}

// trigger is what a station says when it is asked for a message.
func (s *station) trigger(message any) func() {
	switch message {
	case "BootNotification":
		return func() { s.boot("Triggered") }
	case "Heartbeat":
		return func() { s.say("Heartbeat", object{}) }
	case "StatusNotification":
		return func() { s.status("Available") }
	case "MeterValues":
		return func() { s.say("MeterValues", object{"evseId": 1, "meterValue": s.value("Trigger")}) }
	case "LogStatusNotification", "FirmwareStatusNotification":
		return func() { s.say(fmt.Sprint(message), object{"status": "Idle"}) }
	}
	return nil
}

// hashOf names a certificate as OCPP does (RFC 6960 §4.1.1).
func hashOf(text string) (object, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("expected a certificate in PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	var key struct {
		Algorithm asn1.RawValue
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &key); err != nil {
		return nil, err
	}
	nameHash, keyHash := sha256.Sum256(c.RawIssuer), sha256.Sum256(key.Bits.Bytes)
	return object{
		"hashAlgorithm": "SHA256", "issuerNameHash": hex.EncodeToString(nameHash[:]), "issuerKeyHash": hex.EncodeToString(keyHash[:]),
		"serialNumber": c.SerialNumber.Text(16),
	}, nil
}
