package model

// ofKeys are the variables that do what configuration keys of OCPP 1.6 do.
var ofKeys = map[string]string{
	"AllowOfflineTxForUnknownId":        OfflineTxForUnknown,
	"AuthorizationCacheEnabled":         AuthCacheEnabled,
	"AuthorizeRemoteTxRequests":         AuthorizeRemoteStart,
	"ClockAlignedDataInterval":          AlignedInterval,
	"ConnectionTimeOut":                 EVConnectionTimeOut,
	"HeartbeatInterval":                 HeartbeatInterval,
	"LocalAuthListEnabled":              LocalListEnabled,
	"LocalAuthorizeOffline":             LocalAuthorizeOffline,
	"LocalPreAuthorize":                 LocalPreAuthorize,
	"MaxEnergyOnInvalidId":              MaxEnergyOnInvalidID,
	"MeterValueSampleInterval":          TxUpdatedInterval,
	"MeterValuesSampledData":            TxUpdatedMeasurands,
	"StopTransactionOnEVSideDisconnect": StopOnEVSideDisconnect,
	"StopTransactionOnInvalidId":        StopOnInvalidID,
	"StopTxnSampledData":                TxEndedMeasurands,
	"TransactionMessageAttempts":        MessageAttempts,
	"TransactionMessageRetryInterval":   MessageAttemptInterval,
	"WebSocketPingInterval":             WebSocketPingInterval,
}

// OfKey returns the variable that does what a configuration key of OCPP 1.6 does,
// so that one scenario can preset chargers of all versions.
func OfKey(key string) (name string, ok bool) {
	name, ok = ofKeys[key]
	return name, ok
}
