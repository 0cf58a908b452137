package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/edge/internal/clock"
	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/pki"
	"github.com/chargeyard/chargeyard/shared/event"
)

// caFlags are those of the commands about certificates.
type caFlags struct {
	station string
	request string
	reason  string
}

// authority opens the site CA of a configuration. It works beside a running
// gateway: what either writes is a file of its own.
func authority(path string) (*pki.Authority, error) {
	cfg, err := load(path)
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	return pki.New(pkiConfig(cfg, nil), clock.New(uuid.NewString(), buildTime(built), quiet), quiet), nil
}

// caShow prints the root, made on first use, with what a person compares. Readers
// of PEM skip the words before it.
func caShow(path string, out io.Writer) error {
	a, err := authority(path)
	if err != nil {
		return err
	}
	root, err := a.Root()
	if root == nil {
		return err
	}
	fmt.Fprintf(out, "%s\nuntil   %s\nSHA-256 %s\n%s", root.Subject.CommonName, root.NotAfter.UTC().Format(time.DateOnly), pki.Fingerprint(root), pki.PEM(root))
	return err
}

// caIssue prints a certificate for a station: for the request that it made, or
// with a new key.
func caIssue(path string, f caFlags, in io.Reader, out io.Writer) error {
	if !credential.ValidIdentity(event.StationID(f.station)) {
		return errors.New("expected --station with the identity that the station connects with")
	}
	a, err := authority(path)
	if err != nil {
		return err
	}
	if f.request == "" {
		key, chain, err := a.Issue(event.StationID(f.station))
		if err != nil {
			return err
		}
		fmt.Fprint(out, key, chain)
		return nil
	}
	text, err := readRequest(f.request, in)
	if err != nil {
		return err
	}
	chain, err := a.Sign(context.Background(), event.StationID(f.station), "", text)
	if err != nil {
		return err
	}
	fmt.Fprint(out, chain)
	return nil
}

func readRequest(path string, in io.Reader) (string, error) {
	const most = 64 << 10
	if path != "-" {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read the certificate request: %w", err)
		}
		return string(text), nil
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return "", fmt.Errorf("read the certificate request: %w", err)
	}
	return string(text), nil
}

// caRevoke makes sure that a certificate is believed no more. A running gateway
// knows within seconds, and ends its connection within a minute.
func caRevoke(path, serial, reason string, out io.Writer) error {
	if serial == "" {
		return errors.New("expected a serial number, as `chargeyard-edge ca list` prints it: chargeyard-edge ca revoke SERIAL")
	}
	a, err := authority(path)
	if err != nil {
		return err
	}
	if err := a.Revoke(serial, reason); err != nil {
		return err
	}
	list, err := a.List()
	if err != nil {
		return fmt.Errorf("%s is revoked: %w", serial, err)
	}
	if !slices.ContainsFunc(list, func(c pki.Issued) bool { return c.Revoked != "" && sameSerial(c.Serial, serial) }) {
		fmt.Fprintf(out, "%s is revoked; no certificate that was signed here has this serial number (`chargeyard-edge ca list`)\n", serial)
		return nil
	}
	fmt.Fprintf(out, "%s is revoked\n", serial)
	return nil
}

// sameSerial compares serial numbers as they are printed and as people type them.
func sameSerial(printed, typed string) bool {
	plain := strings.NewReplacer(":", "", " ", "")
	trim := func(s string) string { return strings.TrimLeft(strings.ToLower(plain.Replace(s)), "0") }
	return trim(printed) == trim(typed)
}

// caList lists the certificates of stations, oldest first.
func caList(path string, out io.Writer) error {
	a, err := authority(path)
	if err != nil {
		return err
	}
	list, err := a.List()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERIAL\tSTATION\tCOMMON NAME\tUNTIL\tREVOKED")
	for _, c := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", c.Serial, c.Station, c.CommonName, c.NotAfter.UTC().Format(time.DateOnly), c.Revoked)
	}
	return table.Flush()
}
