package station

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// §4.9
func TestStatus(t *testing.T) {
	broken := &fault{code: ocpp16.ChargePointErrorCodeGroundFailure}
	warned := &fault{code: ocpp16.ChargePointErrorCodeWeakSignal}
	tests := []struct {
		name string
		f    facts
		want ocpp16.ChargePointStatus
	}{
		{"nothing", facts{}, "Available"},
		{"a car", facts{plugged: true, wants: true}, "Preparing"},
		{"a card", facts{authorized: true}, "Preparing"},
		{"charging", facts{plugged: true, transaction: true, offered: true, wants: true}, "Charging"},
		{"the car is full", facts{plugged: true, transaction: true, offered: true}, "SuspendedEV"},
		{"nothing is offered", facts{plugged: true, transaction: true, wants: true}, "SuspendedEVSE"},
		{"both: SuspendedEVSE has precedence", facts{plugged: true, transaction: true}, "SuspendedEVSE"},
		{"the car is away", facts{plugged: true, away: true, transaction: true}, "SuspendedEV"},
		{"after a transaction", facts{plugged: true, finished: true, wants: true}, "Finishing"},
		{"reserved", facts{reserved: true}, "Reserved"},
		{"reserved, with a car", facts{reserved: true, plugged: true}, "Reserved"},
		{"reserved, with the right card", facts{reserved: true, plugged: true, authorized: true}, "Preparing"},
		{"out of service", facts{inoperative: true}, "Unavailable"},
		{"out of service, with a car", facts{inoperative: true, plugged: true}, "Unavailable"},
		{"going out of service", facts{inoperative: true, plugged: true, transaction: true, offered: true, wants: true}, "Charging"},
		{"going out of service, the car has to leave", facts{inoperative: true, plugged: true, finished: true}, "Finishing"},
		{"broken", facts{fault: broken, plugged: true, transaction: true, offered: true, wants: true}, "Faulted"},
		{"broken and out of service", facts{fault: broken, inoperative: true}, "Faulted"},
		{"the car says nothing", facts{fault: &fault{code: ocpp16.ChargePointErrorCodeEVCommunicationError}, plugged: true, transaction: true, wants: true}, "SuspendedEV"},
		{"a warning", facts{fault: warned, plugged: true, transaction: true, offered: true, wants: true}, "Charging"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := status(tt.f); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestVersionOf(t *testing.T) {
	for location, want := range map[string]string{
		"http://host/firmware-9.9.9.bin?key=1.2": "9.9.9",
		"http://1.2.3.4/image.bin":               "1.0.1",
		"https://host/v2.10/ac22.bin":            "1.0.1",
		"%zz":                                    "1.0.1",
	} {
		if got := versionOf(location, "1.0.0"); got != want {
			t.Errorf("%s: %s, want %s", location, got, want)
		}
	}
	if got := versionOf("http://host/", "plum"); got != "plum.1" {
		t.Errorf("after plum comes %s", got)
	}
}
