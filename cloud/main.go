// Chargeyard-cloud is the charging manager: it takes in what gateways report,
// shows it, and gives commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/chargeyard/chargeyard/cloud/internal/config"
)

// version is set by the linker.
var version = ""

// cli is the command line.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the manager until it is told to stop."`
	Check   checkCommand   `cmd:"" help:"Check the configuration and print every fault with its line."`
	Gateway gatewayCommand `cmd:"" help:"Make gateways known."`
	Token   tokenCommand   `cmd:"" help:"Make API tokens."`
	Rebuild rebuildCommand `cmd:"" help:"Make everything shown anew from the event log."`
	Backup  backupCommand  `cmd:"" help:"Write a copy of the database, also while the manager runs."`
	Restore restoreCommand `cmd:"" help:"Put a backup in the place of the database, while the manager is stopped."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// settings are what every command may be told.
type settings struct {
	Config string `help:"The configuration file; without one: embedded broker and SQLite under ./data." type:"path" placeholder:"cloud.yaml"`
}

// load reads the configuration.
func (s settings) load() (config.Config, error) { return config.Load(s.Config, os.Getenv) }

// surroundings are what commands use of the process.
type surroundings struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr *os.File
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parser, err := kong.New(&cli{},
		kong.Name("chargeyard-cloud"),
		kong.Description("The charging manager of Chargeyard."),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	command, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	err = command.Run(&surroundings{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	if err != nil {
		var faults *config.Faults
		if errors.As(err, &faults) {
			fmt.Fprintln(os.Stderr, err)
		} else {
			fmt.Fprintln(os.Stderr, "chargeyard-cloud:", err)
		}
		stop()
		os.Exit(1)
	}
}

// logger writes text to a terminal and JSON elsewhere.
func logger(out *os.File, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: l}
	if info, err := out.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(s *surroundings) error {
	_, err := fmt.Fprintln(s.stdout, "chargeyard-cloud", programVersion())
	return err
}

// programVersion is what the linker set, else what the build knows.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

type checkCommand struct{ settings }

// Run prints every fault of the configuration.
func (c *checkCommand) Run(s *surroundings) error {
	conf, err := c.load()
	if err != nil {
		return err
	}
	where := c.Config
	if where == "" {
		where = "the defaults"
	}
	_, err = fmt.Fprintf(s.stdout, "%s: no fault found; data in %s\n", where, conf.DataDir)
	return err
}
