//go:build race

package ocpp_test

const raceEnabled = true
