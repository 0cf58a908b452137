package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
)

// central accepts all but the tag NOBODY, and starts and stops a session when
// told to.
type central struct {
	system ocpp16.CentralSystem
	remote bool
	errs   chan error
}

func (c *central) OnBootNotification(string, *core.BootNotificationRequest) (*core.BootNotificationConfirmation, error) {
	return core.NewBootNotificationConfirmation(types.Now(), 300, core.RegistrationStatusAccepted), nil
}

func (c *central) OnHeartbeat(string, *core.HeartbeatRequest) (*core.HeartbeatConfirmation, error) {
	return core.NewHeartbeatConfirmation(types.Now()), nil
}

func (c *central) OnAuthorize(_ string, r *core.AuthorizeRequest) (*core.AuthorizeConfirmation, error) {
	if r.IdTag == "NOBODY" {
		return core.NewAuthorizationConfirmation(types.NewIdTagInfo(types.AuthorizationStatusInvalid)), nil
	}
	return core.NewAuthorizationConfirmation(types.NewIdTagInfo(types.AuthorizationStatusAccepted)), nil
}

func (c *central) OnStartTransaction(string, *core.StartTransactionRequest) (*core.StartTransactionConfirmation, error) {
	return core.NewStartTransactionConfirmation(types.NewIdTagInfo(types.AuthorizationStatusAccepted), 7), nil
}

func (c *central) OnStopTransaction(string, *core.StopTransactionRequest) (*core.StopTransactionConfirmation, error) {
	return core.NewStopTransactionConfirmation(), nil
}

func (c *central) OnMeterValues(id string, _ *core.MeterValuesRequest) (*core.MeterValuesConfirmation, error) {
	if c.remote {
		go func() {
			c.errs <- c.system.RemoteStopTransaction(id, func(*core.RemoteStopTransactionConfirmation, error) {}, 7)
		}()
	}
	return core.NewMeterValuesConfirmation(), nil
}

func (c *central) OnStatusNotification(id string, r *core.StatusNotificationRequest) (*core.StatusNotificationConfirmation, error) {
	if c.remote && r.ConnectorId == 2 && r.Status == core.ChargePointStatusAvailable {
		go func() {
			c.errs <- c.system.RemoteStartTransaction(id, func(*core.RemoteStartTransactionConfirmation, error) {}, "REMOTE")
		}()
	}
	return core.NewStatusNotificationConfirmation(), nil
}

func (c *central) OnDataTransfer(string, *core.DataTransferRequest) (*core.DataTransferConfirmation, error) {
	return core.NewDataTransferConfirmation(core.DataTransferStatusRejected), nil
}

// serve starts a central system and returns its address.
func serve(t *testing.T, remote bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	c := &central{system: ocpp16.NewCentralSystem(nil, nil), remote: remote, errs: make(chan error, 100)}
	c.system.SetCoreHandler(c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.system.Start(port, "/ocpp/{id}")
	}()
	t.Cleanup(func() {
		c.system.Stop()
		<-done
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for range 100 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			return "ws://" + address + "/ocpp"
		}
		time.Sleep(20 * time.Millisecond) // the library does not say when it listens
	}
	t.Fatalf("nobody listens at %s", address)
	return ""
}

func TestRun(t *testing.T) {
	tests := []struct {
		name   string
		remote bool
		flags  []string
		code   int
		want   []string // in this order among what the station sent, without status
	}{
		{
			name: "local session", flags: []string{"-samples", "2", "-connectors", "1"}, code: 0,
			want: []string{"BootNotification", "Authorize", "StartTransaction", "MeterValues", "MeterValues", "MeterValues", "StopTransaction"},
		},
		{
			name: "refused token", flags: []string{"-tag", "NOBODY"}, code: 3,
			want: []string{"BootNotification", "Authorize"},
		},
		{
			name: "remote session", remote: true, flags: []string{"-start", "remote", "-stop", "remote", "-samples", "1000"}, code: 0,
			want: []string{"BootNotification", "StartTransaction", "MeterValues", "StopTransaction"},
		},
		{name: "wrong flag", flags: []string{"-stop", "never"}, code: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append([]string{"-url", serve(t, tt.remote), "-id", "CP-1", "-interval", "20ms"}, tt.flags...)
			if code := run(t.Context(), args, &out, &errs); code != tt.code {
				t.Fatalf("exit code %d, want %d: %s", code, tt.code, &errs)
			}
			var got []string
			for text := range strings.Lines(out.String()) {
				var l struct{ From, Action, Error string }
				if err := json.Unmarshal([]byte(text), &l); err != nil {
					t.Fatalf("line %q: %v", text, err)
				}
				if l.From == "station" && l.Action != "StatusNotification" {
					got = append(got, l.Action)
				}
			}
			if tt.remote { // as many samples as fit before the stop
				got = slices.Compact(got)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
		})
	}
}
