// Command mutants shows that the proofs of this product can fail.
//
// A mutant is a file NAME.patch in scripts/mutants/patches: a unified diff
// that takes one promise away, below two lines of explanation:
//
//	# says: an answer goes out before its commit
//	# proof: go test -count=1 -run 'TestFailpoints' ./firmware-sim/internal/e2e
//	diff --git a/edge/internal/outbox/outbox.go b/edge/internal/outbox/outbox.go
//	...
//
// For every mutant the work tree is copied to a scratch folder, the patch is
// applied there, and the proof runs. The proof has to fail because of a test;
// a mutant that does not compile, or whose proof runs no test, shows nothing
// and counts as a failure of this program, as does one that survives.
//
// The proof is run by bash in the scratch folder with CHARGEYARD_E2E=1 and the
// flags that all tests share. When it names the end-to-end tests, the three
// binaries are built there first and CHARGEYARD_BIN points at them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	root := flags.String("root", ".", "folder of the module")
	folder := flags.String("patches", "scripts/mutants/patches", "folder of the patches, within the module")
	only := flags.String("run", "", "only mutants whose name matches this regular expression")
	check := flags.Bool("check", false, "only see whether every patch still applies")
	baseline := flags.Bool("baseline", false, "first see every proof pass without a mutant")
	limit := flags.Duration("timeout", 15*time.Minute, "longest time of one proof")
	verbose := flags.Bool("v", false, "print what the proofs print")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	home, err := filepath.Abs(*root)
	if err != nil {
		return fmt.Errorf("find module: %w", err)
	}
	mutants, err := load(filepath.Join(home, *folder), pattern)
	if err != nil {
		return err
	}
	tree, err := plant(ctx, home, filepath.Join(home, "bin", "mutants"))
	if err != nil {
		return err
	}
	defer tree.remove()

	if *check {
		return checkAll(ctx, tree, mutants, out)
	}
	w := &warden{tree: tree, limit: *limit, out: out, verbose: *verbose}
	if *baseline {
		if err := w.baseline(ctx, mutants); err != nil {
			return err
		}
	}
	var verdicts []verdict
	for _, m := range mutants {
		v, err := w.try(ctx, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		verdicts = append(verdicts, v)
	}
	return report(out, verdicts)
}

// checkAll applies every patch and takes it back.
func checkAll(ctx context.Context, tree *tree, mutants []mutant, out io.Writer) error {
	var faults []error
	for _, m := range mutants {
		if err := tree.apply(ctx, m.file, false); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", m.name, err))
			continue
		}
		if err := tree.apply(ctx, m.file, true); err != nil {
			return fmt.Errorf("%s: take it back: %w", m.name, err)
		}
		fmt.Fprintf(out, "%s applies\n", m.name)
	}
	return errors.Join(faults...)
}

// report prints the table and says how many mutants were not caught.
func report(out io.Writer, verdicts []verdict) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nmutant\tsays\tproof\ttime")
	failed := 0
	for _, v := range verdicts {
		if v.outcome != caught {
			failed++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.mutant.name, v.mutant.says, v.outcome, v.took.Round(100*time.Millisecond))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	fmt.Fprintf(out, "\n%d mutants, %d caught\n", len(verdicts), len(verdicts)-failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d mutants were not caught by their proof", failed, len(verdicts))
	}
	return nil
}
