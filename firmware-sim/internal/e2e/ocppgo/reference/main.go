// Command reference is the smallest OCPP 1.6 central system on the library
// ocpp-go: it accepts every charge point and every token, and keeps nothing.
// The benchmarks measure against it.
//
// The library listens on every address of the machine and cannot be told
// otherwise, so -listen takes a port alone.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/firmware"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
	"github.com/lorenzodonini/ocpp-go/ws"
)

func main() {
	listen := flag.String("listen", ":9887", "port to listen on, with a colon before it")
	heartbeat := flag.Int("heartbeat", 300, "heartbeat interval told to charge points, in seconds")
	certificate := flag.String("certificate", "", "PEM file with a certificate: TLS")
	key := flag.String("key", "", "PEM file with its key")
	flag.Parse()
	if err := run(*listen, *heartbeat, *certificate, *key); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(listen string, heartbeat int, certificate, key string) error {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("-listen %q: %w", listen, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 || host != "" {
		return fmt.Errorf("-listen %q: want a port from 1 to 65535 with a colon before it", listen)
	}
	socket, scheme := ws.NewServer(), "ws"
	if certificate != "" {
		socket, scheme = ws.NewTLSServer(certificate, key, nil), "wss"
	}
	timeouts := ws.NewServerTimeoutConfig()
	timeouts.PingWait = 0 // by default it drops whoever sends no ping for a minute
	socket.SetTimeoutConfig(timeouts)
	system := ocpp16.NewCentralSystem(nil, socket)
	answers := &central{heartbeat: heartbeat}
	system.SetCoreHandler(answers)
	system.SetFirmwareManagementHandler(answers)

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		system.Start(port, "/ocpp/{id}")
	}()
	if err := reachable(port, stopped); err != nil {
		return err
	}
	fmt.Printf("%s://127.0.0.1:%d/ocpp\n", scheme, port)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	select {
	case <-stop:
		system.Stop()
		return nil
	case <-stopped:
		return fmt.Errorf("the server on port %d has ended", port)
	}
}

// reachable waits until somebody listens on the port.
func reachable(port int, stopped <-chan struct{}) error {
	for range 100 {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			if err := conn.Close(); err != nil {
				return fmt.Errorf("close probe: %w", err)
			}
			select {
			case <-stopped:
				return fmt.Errorf("port %d is taken", port)
			default:
				return nil
			}
		}
		select {
		case <-stopped:
			return fmt.Errorf("port %d: cannot listen", port)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("port %d: nobody listens after 5 s", port)
}

// central answers and forgets.
type central struct {
	heartbeat    int // seconds
	transactions atomic.Int64
}

func accepted() *types.IdTagInfo { return types.NewIdTagInfo(types.AuthorizationStatusAccepted) }

func (c *central) OnBootNotification(string, *core.BootNotificationRequest) (*core.BootNotificationConfirmation, error) {
	return core.NewBootNotificationConfirmation(types.Now(), c.heartbeat, core.RegistrationStatusAccepted), nil
}

func (c *central) OnHeartbeat(string, *core.HeartbeatRequest) (*core.HeartbeatConfirmation, error) {
	return core.NewHeartbeatConfirmation(types.Now()), nil
}

func (c *central) OnAuthorize(string, *core.AuthorizeRequest) (*core.AuthorizeConfirmation, error) {
	return core.NewAuthorizationConfirmation(accepted()), nil
}

func (c *central) OnStartTransaction(string, *core.StartTransactionRequest) (*core.StartTransactionConfirmation, error) {
	return core.NewStartTransactionConfirmation(accepted(), int(c.transactions.Add(1))), nil
}

func (c *central) OnStopTransaction(string, *core.StopTransactionRequest) (*core.StopTransactionConfirmation, error) {
	answer := core.NewStopTransactionConfirmation()
	answer.IdTagInfo = accepted()
	return answer, nil
}

func (c *central) OnMeterValues(string, *core.MeterValuesRequest) (*core.MeterValuesConfirmation, error) {
	return core.NewMeterValuesConfirmation(), nil
}

func (c *central) OnStatusNotification(string, *core.StatusNotificationRequest) (*core.StatusNotificationConfirmation, error) {
	return core.NewStatusNotificationConfirmation(), nil
}

func (c *central) OnDataTransfer(string, *core.DataTransferRequest) (*core.DataTransferConfirmation, error) {
	return core.NewDataTransferConfirmation(core.DataTransferStatusUnknownVendorId), nil
}

func (c *central) OnDiagnosticsStatusNotification(string, *firmware.DiagnosticsStatusNotificationRequest) (*firmware.DiagnosticsStatusNotificationConfirmation, error) {
	return firmware.NewDiagnosticsStatusNotificationConfirmation(), nil
}

func (c *central) OnFirmwareStatusNotification(string, *firmware.FirmwareStatusNotificationRequest) (*firmware.FirmwareStatusNotificationConfirmation, error) {
	return firmware.NewFirmwareStatusNotificationConfirmation(), nil
}
