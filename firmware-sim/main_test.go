package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/central"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("groups:\n  - count: many\n    colour: red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want []string // parts of what is said
	}{
		{"scenarios", []string{"scenarios"}, 0, []string{"busy ", "charge-once ", "depot ", "idle "}},
		{"one of them", []string{"scenarios", "depot"}, 0, []string{"AC 22 kW at the wall"}},
		{"none of them", []string{"scenarios", "nothing"}, 1, []string{"nothing"}},
		{"check, good", []string{"check", "scenarios/depot.yaml", "scenarios/busy.yaml"}, 0, []string{"12 chargers", "20 chargers"}},
		{"check, bad", []string{"check", bad}, 1, []string{bad + ":2: ", bad + ":3: ", "1 of 1"}},
		{"run, bad", []string{"run", "--url", "ws://127.0.0.1:1/", bad}, 1, []string{bad + ":2: "}},
		{"run without an address", []string{"run"}, 2, []string{"--url"}},
		{"run, bad address", []string{"run", "--url", "http://127.0.0.1:1/", "idle"}, 1, []string{"ws://"}},
		{"run, two scenarios", []string{"run", "--url", "ws://127.0.0.1:1/", "--scenario", "busy", "idle"}, 1, []string{"two scenarios"}},
		{"run, control port for all", []string{"run", "--url", "ws://127.0.0.1:1/", "--control", "0.0.0.0:0", "idle"}, 1, []string{"this machine"}},
		{"version", []string{"version"}, 0, []string{"unknown"}},
		{"help", []string{"run", "--help"}, 0, []string{"--state-dir"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(t.Context(), tt.args, &out, &out); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it said %s, without %q", out.String(), want)
				}
			}
		})
	}
}

// A run of a given length ends in order: sessions stopped, queues empty.
func TestDuration(t *testing.T) {
	system := central.New()
	t.Cleanup(system.Close)
	book := filepath.Join(t.TempDir(), "ledger.jsonl")
	var out bytes.Buffer
	code := run(t.Context(), []string{"run", "--url", system.URL(), "--scenario", "busy", "--count", "3", "--duration", "3s", "--ledger", book, "--prefix", "D-"}, &out, &out)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	starts, stops := 0, 0
	for _, s := range system.Said() {
		switch s.Request.(type) {
		case *ocpp16.StartTransactionRequest:
			starts++
		case *ocpp16.StopTransactionRequest:
			stops++
		}
	}
	if starts == 0 || starts != stops {
		t.Errorf("%d starts, %d stops", starts, stops)
	}
	data, err := os.ReadFile(book)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), `"kind":"session"`); n != stops || strings.Contains(string(data), `"pending":true`) {
		t.Errorf("%d sessions in the ledger of %d stops:\n%s", n, stops, data)
	}
}

// A signal ends the simulator within five seconds, whatever is open.
func TestSignal(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	book := filepath.Join(t.TempDir(), "ledger.jsonl")
	var out bytes.Buffer
	done := make(chan int, 1)
	go func() { // nobody listens there
		done <- run(ctx, []string{"run", "--url", "ws://127.0.0.1:1/ocpp", "--scenario", "busy", "--count", "50", "--ledger", book, "--state-dir", t.TempDir()}, &out, &out)
	}()
	timer := time.NewTimer(500 * time.Millisecond) // while they dial
	<-timer.C
	cancel()
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit code %d: %s", code, out.String())
		}
	case <-limit.C:
		t.Error("it does not end")
	}
}
