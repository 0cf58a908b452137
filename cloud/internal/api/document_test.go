package api_test

import (
	"bytes"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/api"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// TestDocument fails when the committed document is not that of the code.
func TestDocument(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	got, err := api.New(http.NewServeMux(), nil, nil, nil, api.NewHub(nil, log, time.Now), nil, log, time.Now).Document()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("openapi.json is not what the code says; run: go test ./cloud/internal/api -run TestDocument -update")
	}
}
