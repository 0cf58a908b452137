package main

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// notify tells systemd how the service is (sd_notify(3)): READY=1 once stations
// can connect, STOPPING=1 at the end. Without systemd it does nothing.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // of the abstract namespace
		path = "\x00" + path[1:]
	}
	socket, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	_, err = socket.Write([]byte(state))
	if err = errors.Join(err, socket.Close()); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
