// Chargeyard-edge is the gateway of a charging site: it speaks OCPP to the
// chargers, keeps the site working without the internet, and tells the manager
// everything once.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"
	_ "time/tzdata" // small boxes have none

	"github.com/chargeyard/chargeyard/edge/internal/config"
	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/outbox"
)

// version is set by the linker.
var version = "unknown"

// built is when the commit was made that this program is built from, RFC 3339; set
// by the linker, empty where nobody knows.
var built = ""

// oldest is a moment before which no program of this version ran.
var oldest = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// buildTime is where the clock of a box that has none begins, when a program was
// built at such a time.
func buildTime(built string) time.Time {
	t, err := time.Parse(time.RFC3339, built)
	if err != nil || t.Before(oldest) {
		return oldest
	}
	return t.UTC()
}

const usage = `chargeyard-edge is the gateway of a charging site.

  chargeyard-edge run     [--config edge.yaml]   serve the site
  chargeyard-edge check   [--config edge.yaml]   print every fault of a configuration
  chargeyard-edge init    [--config edge.yaml] [--gateway id]   write a configuration to begin with
  chargeyard-edge hash                           read a station's password from standard input, print its hash
  chargeyard-edge ca show                        print the root that stations are to trust
  chargeyard-edge ca issue --station CP-1 [--request file]   print a certificate for a station, with a key unless it made its own
  chargeyard-edge ca revoke SERIAL [--reason text]           believe a certificate no more
  chargeyard-edge ca list                        list the certificates of stations
  chargeyard-edge version
`

func main() { os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// command runs one command line and returns the exit code: 0 done, 1 it did not
// work, 2 it was not understood.
func command(args []string, in io.Reader, out, problems io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(problems, usage)
		return 2
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		fmt.Fprint(out, usage)
		return 0
	}
	name, rest := args[0], args[1:]
	if name == "ca" && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		name, rest = name+" "+rest[0], rest[1:]
	}
	flags := flag.NewFlagSet("chargeyard-edge "+name, flag.ContinueOnError)
	flags.SetOutput(problems)
	path := flags.String("config", "edge.yaml", "the configuration")
	gateway := flags.String("gateway", "", "init: the gateway's id; without it, one is made of the host's name")
	var ca caFlags
	serial := ""
	if strings.HasPrefix(name, "ca") {
		flags.StringVar(&ca.station, "station", "", "ca issue: the station's identity")
		flags.StringVar(&ca.request, "request", "", "ca issue: a file with the certificate request that the station made; - is standard input")
		flags.StringVar(&ca.reason, "reason", "", "ca revoke: why, for people")
		if name == "ca revoke" && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			serial, rest = rest[0], rest[1:]
		}
	}
	if err := flags.Parse(rest); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(problems, "chargeyard-edge %s: expected no argument, got %q\n", name, flags.Arg(0))
		return 2
	}
	var err error
	switch name {
	case "run":
		err = runCommand(*path, problems)
	case "check":
		err = checkCommand(*path, out)
	case "init":
		err = initCommand(*path, *gateway, out)
	case "hash":
		err = hashCommand(in, out)
	case "ca show":
		err = caShow(*path, out)
	case "ca issue":
		err = caIssue(*path, ca, in, out)
	case "ca revoke":
		err = caRevoke(*path, serial, ca.reason, out)
	case "ca list":
		err = caList(*path, out)
	case "version":
		fmt.Fprintf(out, "chargeyard-edge %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	default:
		fmt.Fprintf(problems, "chargeyard-edge: unknown command %q\n\n%s", name, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(problems, "chargeyard-edge:", err)
		return 1
	}
	return 0
}

// load reads the configuration and makes sure that its data directory is not
// another gateway's.
func load(path string) (config.Config, error) {
	cfg, err := config.Load(path, os.Environ())
	if faults := config.Faults(nil); errors.As(err, &faults) {
		lines := make([]string, len(faults))
		for i := range faults {
			lines[i] = path + ": " + faults[i].String()
		}
		many := "faults"
		if len(faults) == 1 {
			many = "fault"
		}
		return cfg, fmt.Errorf("the configuration has %d %s:\n%s", len(faults), many, strings.Join(lines, "\n"))
	}
	if err != nil {
		return cfg, err
	}
	if err := outbox.CheckOwner(cfg.DataDir, cfg.Gateway); err != nil {
		return cfg, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

func checkCommand(path string, out io.Writer) error {
	if _, err := load(path); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: no faults\n", path)
	return nil
}

// initCommand writes a configuration with comments, and asks nothing. It never
// overwrites one.
func initCommand(path, gateway string, out io.Writer) error {
	if gateway == "" {
		host, err := os.Hostname()
		if err != nil {
			host = ""
		}
		gateway = config.GatewayFor(host)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // it will hold a password
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: mend it, or name another file with --config", path)
	}
	if err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	_, err = f.WriteString(config.Example(gateway))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	fmt.Fprintf(out, "Wrote %s. Next:\n"+
		"  1. on the manager: chargeyard-cloud gateway add %s    it prints the password\n"+
		"  2. put address and password of its broker into %s, under mqtt:\n"+
		"  3. chargeyard-edge check --config %s\n"+
		"  4. chargeyard-edge run --config %s\n", path, gateway, path, path, path)
	return nil
}

// hashCommand hashes one line: the password that a station will send.
func hashCommand(in io.Reader, out io.Writer) error {
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return errors.New("expected a password on standard input: printf %s 'the password' | chargeyard-edge hash")
	}
	hash, err := credential.NewHash([]byte(password))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, hash)
	return nil
}
