package main

import (
	"strings"
	"unicode"
)

// names16 gives the types of OCPP 1.6 the names that its specification uses
// where the schemas have none, by the Go name of the enclosing type and the
// JSON name of the field, or by the name of the definition.
var names16 = map[string]string{
	"AuthorizeResponse.idTagInfo":                                    "IDTagInfo",
	"BootNotificationResponse.status":                                "RegistrationStatus",
	"CancelReservationResponse.status":                               "CancelReservationStatus",
	"CertificateHashDataType":                                        "CertificateHashData",
	"ChangeAvailabilityRequest.type":                                 "AvailabilityType",
	"ChangeAvailabilityResponse.status":                              "AvailabilityStatus",
	"ChangeConfigurationResponse.status":                             "ConfigurationStatus",
	"ChargingProfile.chargingProfileKind":                            "ChargingProfileKind",
	"ChargingProfile.chargingProfilePurpose":                         "ChargingProfilePurpose",
	"ChargingProfile.recurrencyKind":                                 "RecurrencyKind",
	"ChargingSchedule.chargingRateUnit":                              "ChargingRateUnit",
	"ChargingSchedule.chargingSchedulePeriod":                        "ChargingSchedulePeriod",
	"ClearCacheResponse.status":                                      "ClearCacheStatus",
	"ClearChargingProfileRequest.chargingProfilePurpose":             "ChargingProfilePurpose",
	"ClearChargingProfileResponse.status":                            "ClearChargingProfileStatus",
	"DataTransferResponse.status":                                    "DataTransferStatus",
	"DiagnosticsStatusNotificationRequest.status":                    "DiagnosticsStatus",
	"ExtendedTriggerMessageRequest/MessageTriggerEnumType":           "ExtendedMessageTrigger",
	"FirmwareStatusNotificationRequest.status":                       "FirmwareStatus",
	"GetCompositeScheduleRequest.chargingRateUnit":                   "ChargingRateUnit",
	"GetCompositeScheduleResponse.status":                            "GetCompositeScheduleStatus",
	"GetConfigurationResponse.configurationKey":                      "KeyValue",
	"IDTagInfo.status":                                               "AuthorizationStatus",
	"LogEnumType":                                                    "LogType",
	"MeterValuesRequest.meterValue":                                  "MeterValue",
	"RemoteStartTransactionResponse.status":                          "RemoteStartStopStatus",
	"RemoteStopTransactionResponse.status":                           "RemoteStartStopStatus",
	"ReserveNowResponse.status":                                      "ReservationStatus",
	"ResetRequest.type":                                              "ResetType",
	"ResetResponse.status":                                           "ResetStatus",
	"SampledValue.context":                                           "ReadingContext",
	"SampledValue.format":                                            "ValueFormat",
	"SampledValue.location":                                          "Location",
	"SampledValue.measurand":                                         "Measurand",
	"SampledValue.phase":                                             "Phase",
	"SampledValue.unit":                                              "UnitOfMeasure",
	"SendLocalListRequest.localAuthorizationList":                    "AuthorizationData",
	"SendLocalListRequest.updateType":                                "UpdateType",
	"SendLocalListResponse.status":                                   "UpdateStatus",
	"SetChargingProfileRequest.csChargingProfiles":                   "ChargingProfile",
	"SetChargingProfileResponse.status":                              "ChargingProfileStatus",
	"SignedFirmwareStatusNotificationRequest/FirmwareStatusEnumType": "SignedFirmwareStatus",
	"StatusNotificationRequest.errorCode":                            "ChargePointErrorCode",
	"StatusNotificationRequest.status":                               "ChargePointStatus",
	"StopTransactionRequest.reason":                                  "Reason",
	"StopTransactionRequest.transactionData":                         "MeterValue",
	"TriggerMessageRequest.requestedMessage":                         "MessageTrigger",
	"TriggerMessageResponse.status":                                  "TriggerMessageStatus",
	"UnlockConnectorResponse.status":                                 "UnlockStatus",
}

// names201 and names21 part the enumerations of 2.x from the objects that would
// have the same name; all other types are called as their definitions.
var names201 = map[string]string{
	"IdTokenEnumType": "IDTokenType",
	"VPNEnumType":     "VPNType",
}

var names21 = map[string]string{
	"CertificateStatusEnumType": "CertificateStatusType",
	"CostDimensionEnumType":     "CostDimensionType",
	"VPNEnumType":               "VPNType",
}

// namesOf returns the table of a version.
func namesOf(version string) map[string]string {
	switch version {
	case "1.6":
		return names16
	case "2.0.1":
		return names201
	default:
		return names21
	}
}

// definitionName returns the Go name of a definition: without the ending that
// OCA gives to every one.
func definitionName(name string) string {
	name = strings.TrimSuffix(name, "Type")
	name = strings.TrimSuffix(name, "Enum")
	return goName(name)
}

// initialisms are the words that Go writes in one case.
var initialisms = map[string]string{
	"id": "ID", "ids": "IDs", "url": "URL", "uri": "URI", "evse": "EVSE", "ev": "EV", "csr": "CSR",
	"iccid": "ICCID", "imsi": "IMSI", "ocpp": "OCPP", "ocsp": "OCSP", "der": "DER", "soc": "SoC",
	"http": "HTTP", "vpn": "VPN", "apn": "APN", "mrid": "MRID", "dc": "DC", "ac": "AC",
}

// goName returns the exported Go name for a JSON name in camel case.
func goName(name string) string {
	var b strings.Builder
	for _, word := range words(name) {
		if upper, ok := initialisms[strings.ToLower(word)]; ok {
			b.WriteString(upper)
			continue
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// words splits a name at its capitals and at everything that is no letter or
// digit; a run of capitals stays together.
func words(name string) []string {
	var words []string
	start := -1
	runes := []rune(name)
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			if start >= 0 {
				words = append(words, string(runes[start:i]))
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
			continue
		}
		lowerBefore := !unicode.IsUpper(runes[i-1])
		lowerAfter := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if unicode.IsUpper(r) && (lowerBefore || lowerAfter) {
			words = append(words, string(runes[start:i]))
			start = i
		}
	}
	if start >= 0 {
		words = append(words, string(runes[start:]))
	}
	return words
}

// wordName returns the part of a constant's name that stands for a word of an
// enumeration: the word as it is written, without what Go does not allow.
func wordName(word string) string {
	var b strings.Builder
	first := true
	for _, r := range word {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			first = true
			continue
		}
		if first {
			r = unicode.ToUpper(r)
		}
		first = false
		b.WriteRune(r)
	}
	return b.String()
}

// lower returns a Go name with its first word in lower case, for what stays
// within the package.
func lower(name string) string {
	first := words(name)[0]
	return strings.ToLower(first) + name[len(first):]
}
