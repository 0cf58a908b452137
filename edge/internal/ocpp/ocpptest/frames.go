package ocpptest

import (
	"fmt"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// message is a request or a response of any version.
type message interface {
	Decode(payload []byte) ([]lenient.Deviation, error)
	Validate() error
}

// request returns an empty request of a version, nil for an unknown action.
func request(protocol, action string) message {
	switch protocol {
	case ocppj.V201:
		if m, ok := ocpp201.NewRequest(action); ok {
			return m
		}
	case ocppj.V21:
		if m, ok := ocpp21.NewRequest(action); ok {
			return m
		}
	default:
		if m, ok := ocpp16.NewRequest(action); ok {
			return m
		}
	}
	return nil
}

// response is request for responses.
func response(protocol, action string) message {
	switch protocol {
	case ocppj.V201:
		if m, ok := ocpp201.NewResponse(action); ok {
			return m
		}
	case ocppj.V21:
		if m, ok := ocpp21.NewResponse(action); ok {
			return m
		}
	default:
		if m, ok := ocpp16.NewResponse(action); ok {
			return m
		}
	}
	return nil
}

// CheckFrame holds a frame of the gateway against the rules of the version: the
// form of the frame, the id, the error code, and the payload against its schema.
// Asked is the action of the call that an answer is for; payloads of actions that
// the version does not have are not looked at, nor are answers to them.
func CheckFrame(protocol string, data []byte, asked string) error {
	f, err := ocppj.Parse(data)
	if err != nil {
		return err
	}
	if f.Repaired {
		return fmt.Errorf("the frame is not as OCPP-J has it")
	}
	var m message
	switch f.Type {
	case ocppj.Call:
		if n := utf8.RuneCountInString(f.ID); n == 0 || n > 36 {
			return fmt.Errorf("expected an id of 1 to 36 characters, got %d", n)
		}
		m = request(protocol, f.Action)
	case ocppj.CallResult:
		m = response(protocol, asked)
	case ocppj.CallError, ocppj.CallResultError:
		if f.Type == ocppj.CallResultError && protocol != ocppj.V21 {
			return fmt.Errorf("%s has no CALLRESULTERROR", protocol)
		}
		if f.Code.For(protocol) != f.Code {
			return fmt.Errorf("%s has no error code %s", protocol, f.Code)
		}
		return nil
	default:
		return fmt.Errorf("expected no %s of a gateway", f.Type)
	}
	if m == nil {
		return nil
	}
	deviations, err := m.Decode(f.Payload)
	if err == nil && len(deviations) == 0 {
		err = m.Validate()
	}
	if code, description := ocppj.Refuse(protocol, deviations, err); code != "" {
		return fmt.Errorf("%s: %s", code, description)
	}
	return nil
}
