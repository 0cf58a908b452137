// Command bench measures the gateway against its references, side by side in
// one run, and prints ratios: medians of rounds in turn.
//
//	make bench                          every row
//	make bench BENCH='-rows cpu,p99'    some of them
//	make bench BENCH='-long'            full length where the table says minutes
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("rows", "", "comma list of rows: "+names())
	rounds := flag.Int("rounds", 3, "rounds of each row; the median counts")
	seconds := flag.Duration("seconds", 8*time.Second, "length of one measurement")
	long := flag.Bool("long", false, "broker away for 10 minutes, 100 storms, a backlog of 1,000,000")
	flag.Parse()
	if played, err := play(); played {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*only, *rounds, *seconds, *long); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(only string, rounds int, seconds time.Duration, long bool) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	var want []string
	if only != "" {
		want = strings.Split(only, ",")
	}
	for _, w := range want {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.name == w }) {
			return fmt.Errorf("no row %q: expected some of %s", w, names())
		}
	}
	figures := make([][]float64, len(rows))
	notes := make([][]string, len(rows))
	for n := range rounds {
		b := &bench{root: root, seconds: seconds, long: long, cache: map[string][2]measured{}}
		for i, r := range rows {
			once := r.name == "binary" || r.name == "wire"
			if want != nil && !slices.Contains(want, r.name) || once && n > 0 {
				continue
			}
			fmt.Fprintf(os.Stderr, "round %d: %s …\n", n+1, r.name)
			v, note, err := r.measure(b)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			figures[i] = append(figures[i], v)
			notes[i] = append(notes[i], note)
		}
	}
	fmt.Printf("| what | reach | aim | measured | |\n|---|---|---|---|---|\n")
	for i, r := range rows {
		if len(figures[i]) == 0 {
			continue
		}
		m := median(figures[i])
		verdict := "reached"
		if r.atMost && m > r.reach || !r.atMost && m < r.reach {
			verdict = "**falls short**"
		}
		unit := strings.TrimSpace(" " + r.unit)
		fmt.Printf("| %s | %g%s | %g%s | %.2f%s, %s | %s |\n", r.what, r.reach, unit, r.aim, unit, m, unit, verdict, notes[i][slices.Index(figures[i], m)])
	}
	return nil
}
