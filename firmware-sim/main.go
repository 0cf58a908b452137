// Command chargeyard-sim is a depot of charge points that exist only in
// software: they speak OCPP 1.6, 2.0.1 and 2.1 to whatever central system they are pointed at.
// firmware-sim/README.md shows how.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/control"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/depot"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/scenario"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/socket"
	"github.com/chargeyard/chargeyard/firmware-sim/scenarios"
	"golang.org/x/sync/errgroup"
)

var version = "unknown" // set by the linker

type arguments struct {
	Run       runCommand       `cmd:"" help:"Let chargers live."`
	Scenarios scenariosCommand `cmd:"" help:"List the scenarios that are built in, or print one."`
	Check     checkCommand     `cmd:"" help:"List the faults of a scenario file with their lines."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

type runCommand struct {
	Name        string        `arg:"" optional:"" name:"scenario" help:"A scenario: a file, or the name of one that is built in. Same as --scenario."`
	Scenario    string        `help:"A scenario: a file, or the name of one that is built in (depot, busy, mixed, charge-once, idle)." placeholder:"FILE"`
	URL         string        `required:"" help:"The central system; identities are appended: ws://127.0.0.1:8887/ocpp."`
	SecureURL   string        `name:"secure-url" help:"Where chargers of security profiles 2 and 3 connect to, wss; --url when not given." placeholder:"URL"`
	Count       int           `help:"How many chargers; as many as the scenario has when not given."`
	Prefix      string        `default:"CP-" help:"Identities are this and a number: CP-001."`
	Identity    string        `help:"The identity of the only charger."`
	Connectors  int           `help:"Connectors of each charger; as the scenario says when not given."`
	Ledger      string        `help:"Write what was said and answered to this file, JSON lines; appended." placeholder:"FILE"`
	Seed        uint64        `default:"1" help:"What is drawn by lot follows from it."`
	Password    string        `env:"CHARGEYARD_SIM_PASSWORD" help:"For Basic authentication."`
	CA          string        `name:"ca" help:"Root certificates of the central system in PEM, for wss." placeholder:"FILE"`
	Duration    time.Duration `help:"End after so long, in order; 0 goes on until a signal."`
	Control     string        `help:"Open the control port at this address of this machine." placeholder:"127.0.0.1:PORT"`
	StateDir    string        `help:"Keep the chargers' non-volatile memories in this folder." placeholder:"DIR"`
	Reconnect   time.Duration `help:"Shortest wait before connecting anew; grows 16-fold. As the scenario says, else 1s."`
	CallTimeout time.Duration `help:"How long to wait for an answer (30s)."`
	BootTime    time.Duration `help:"From power to connecting (500ms)."`
	OCPP        string        `name:"ocpp" help:"1.6, 2.0.1 or 2.1 for all chargers; as the scenario says when not given." placeholder:"VERSION"`
	Personality string        `help:"What all chargers are like, such as boot-again; as the scenario says when not given." placeholder:"NAME"`
	Vendor      []string      `help:"Accept DataTransfer with this vendorId too (e2e is always)." placeholder:"ID"`
	LogLevel    slog.Level    `default:"INFO" help:"DEBUG, INFO, WARN or ERROR."`
}

type scenariosCommand struct {
	Name string `arg:"" optional:"" help:"Print this one."`
}

type checkCommand struct {
	Files []string `arg:"" name:"file" help:"Scenario files."`
}

type versionCommand struct{}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: 0 when all went well, 1 when it did not, 2 for arguments
// that cannot be used.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var a arguments
	exited := -1
	parser, err := kong.New(&a, kong.Name("chargeyard-sim"), kong.Description("Charge points that exist only in software."),
		kong.UsageOnError(), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "chargeyard-sim: %v\n", err)
		return 2
	}
	switch parsed.Selected().Name {
	case "run":
		err = a.Run.run(ctx, stderr)
	case "scenarios":
		err = a.Scenarios.run(stdout)
	case "check":
		err = a.Check.run(stdout)
	case "version":
		fmt.Fprintln(stdout, version)
	}
	if err != nil {
		fmt.Fprintf(stderr, "chargeyard-sim: %v\n", err)
		return 1
	}
	return 0
}

func (c *runCommand) run(ctx context.Context, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	name := c.Scenario
	if name == "" {
		name = c.Name
	} else if c.Name != "" && c.Name != name {
		return fmt.Errorf("two scenarios: %s and %s", c.Name, name)
	}
	if name == "" {
		name = "depot"
	}
	script, err := scenario.Load(name, scenarios.Files)
	if err != nil {
		return err
	}
	central := socket.Config{URL: c.URL, SecureURL: c.SecureURL}
	if c.CA != "" {
		if central.Roots, err = os.ReadFile(c.CA); err != nil {
			return err
		}
	}
	dialer, err := socket.New(central)
	if err != nil {
		return err
	}
	var book *ledger.Ledger
	if c.Ledger != "" {
		if book, err = ledger.Open(c.Ledger); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, book.Close()) }()
	}
	spoken := ""
	if c.OCPP != "" {
		if spoken, err = scenario.Version(c.OCPP); err != nil {
			return err
		}
	}
	d, err := depot.New(depot.Config{
		Version: spoken, Personality: c.Personality,
		Scenario: script, Count: c.Count, Prefix: c.Prefix, Identity: c.Identity, Connectors: c.Connectors, Password: c.Password,
		StateDir: c.StateDir, Seed: c.Seed, Reconnect: c.Reconnect, CallTimeout: c.CallTimeout, BootTime: c.BootTime, DataVendors: c.Vendor, Secure: dialer.Secure(),
	}, dialer, book, log)
	if err != nil {
		return err
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	group, ctx := errgroup.WithContext(ctx)
	if c.Control != "" {
		port, err := control.Listen(c.Control, d, quit, log)
		if err != nil {
			return err
		}
		log.Info("control port", "address", port.Address())
		group.Go(func() error { return port.Run(ctx) })
	}
	group.Go(func() error { return d.Run(ctx) })
	if c.Duration > 0 {
		group.Go(func() error {
			defer quit()
			return c.end(ctx, d)
		})
	}
	return group.Wait()
}

// end waits for the duration, then until the chargers have finished what they
// have begun, but not for ever.
func (c *runCommand) end(ctx context.Context, d *depot.Depot) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(c.Duration):
	}
	const patience = time.Minute
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.Drain(limit); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		empty, err := d.Empty(limit)
		if empty {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-limit.Done():
			return errors.Join(fmt.Errorf("messages were still queued %s after the end: the ledger tells which", patience), err)
		case <-tick.C:
		}
	}
}

func (c *scenariosCommand) run(out io.Writer) error {
	if c.Name != "" {
		b, err := scenarios.Files.ReadFile(c.Name + ".yaml")
		if err != nil {
			return fmt.Errorf("there is no scenario %q", c.Name)
		}
		_, err = out.Write(b)
		return err
	}
	names, err := scenario.Names(scenarios.Files)
	if err != nil {
		return err
	}
	for _, name := range names {
		s, err := scenario.Load(name, scenarios.Files)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%-12s %s\n", s.Name, s.Description); err != nil {
			return err
		}
	}
	return nil
}

func (c *checkCommand) run(out io.Writer) error {
	bad := 0
	for _, path := range c.Files {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s, faults := scenario.Parse(data)
		if len(faults) == 0 {
			fmt.Fprintf(out, "%s: good: %d chargers\n", path, s.Chargers())
			continue
		}
		bad++
		fmt.Fprintln(out, (&scenario.FaultsError{File: path, Faults: faults}).Error())
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d files have faults", bad, len(c.Files))
	}
	return nil
}
