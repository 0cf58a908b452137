package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// schemas returns the folder of the schemas of a version. They are not part of
// this repository.
func schemas(t *testing.T, version string) string {
	t.Helper()
	folder := os.Getenv("OCPP_SCHEMAS")
	if folder == "" {
		t.Skip("OCPP_SCHEMAS names no folder with 1.6/, 2.0.1/ and 2.1/")
	}
	return filepath.Join(folder, version)
}

// TestCommitted generates the packages again: what is committed must be what
// the generator makes, no file more and none less.
func TestCommitted(t *testing.T) {
	for version, pkg := range map[string]string{"1.6": "ocpp16", "2.0.1": "ocpp201", "2.1": "ocpp21"} {
		t.Run(version, func(t *testing.T) {
			from, out := schemas(t, version), t.TempDir()
			if err := run(from, version, pkg, out); err != nil {
				t.Fatal(err)
			}
			want, got := generated(t, out), generated(t, filepath.Join("..", "..", "shared", pkg))
			for name := range got {
				if _, ok := want[name]; !ok {
					t.Errorf("%s: the generator does not make it any more; run go generate ./shared/%s", name, pkg)
				}
			}
			for name, data := range want {
				if !bytes.Equal(got[name], data) {
					t.Errorf("%s: committed and generated differ; run go generate ./shared/%s", name, pkg)
				}
			}
			if len(want) < 40 {
				t.Errorf("expected more than 40 files, got %d", len(want))
			}
		})
	}
}

// generated returns the generated files in folder by name, the compressed ones
// as they are inside.
func generated(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{"*.go", filepath.Join("testdata", "*.gz")} {
		paths, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(path) == ".gz" {
				unpacked, err := gzip.NewReader(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				if data, err = io.ReadAll(unpacked); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.HasPrefix(data, []byte(strings.TrimSpace(header))) {
				continue // written by hand
			}
			files[filepath.Base(path)] = data
		}
	}
	return files
}

// writeSchemas writes schema files by name into a folder and returns it.
func writeSchemas(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestLoad(t *testing.T) {
	folder := writeSchemas(t, map[string]string{
		"BRequest.json":   `{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"array","items":{"type":"string","maxLength":5},"minItems":1}},"required":["z"],"additionalProperties":false}`,
		"BResponse.json":  `{"type":"object"}`,
		"AStream.json":    `{"type":"object"}`,
		"AStream2.json":   `{"type":"object"}`,
		"not-a-schema.md": `text`,
	})
	messages, err := load(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range messages {
		names = append(names, m.name)
	}
	if want := []string{"AStreamRequest", "AStream2Request", "BRequest", "BResponse"}; !slices.Equal(names, want) {
		t.Errorf("messages %q, want %q", names, want)
	}
	b := messages[2].schema
	if len(b.Properties) != 2 || b.Properties[0].name != "z" || b.Properties[1].node.Items.MaxLength != 5 || b.Open || !messages[3].schema.Open {
		t.Errorf("read %+v", b)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown keyword", `{"type":"object","properties":{"a":{"oneOf":[]}}}`, `"oneOf" is not known`},
		{"no JSON", `{`, "unexpected"},
		{"no object", `[]`, "expected an object"},
		{"wrong value", `{"maxLength":"5"}`, "maxLength"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(writeSchemas(t, map[string]string{"ARequest.json": tt.text}))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, err := load(t.TempDir()); err == nil {
		t.Error("an empty folder was accepted")
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"connectorId": "ConnectorID", "idTag": "IDTag", "evseId": "EVSEID", "csChargingProfiles": "CsChargingProfiles",
		"iso15118CertificateHashData": "Iso15118CertificateHashData", "csr": "CSR", "certificateIds": "CertificateIDs",
		"EVSEType": "EVSEType", "ocppCsmsUrl": "OCPPCsmsURL",
	} {
		if got := goName(name); got != want {
			t.Errorf("goName(%q) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"IDTagInfo": "idTagInfo", "AuthorizeRequest": "authorizeRequest", "EVSE": "evse"} {
		if got := lower(name); got != want {
			t.Errorf("lower(%q) = %q, want %q", name, got, want)
		}
	}
	for word, want := range map[string]string{
		"Energy.Active.Import.Register": "EnergyActiveImportRegister", "L1-N": "L1N", "SoC": "SoC", "SuspendedEVSE": "SuspendedEVSE", "kWh": "KWh",
	} {
		if got := wordName(word); got != want {
			t.Errorf("wordName(%q) = %q, want %q", word, got, want)
		}
	}
	if got := definitionName("HashAlgorithmEnumType"); got != "HashAlgorithm" {
		t.Errorf("definitionName: %q", got)
	}
	if got := snake("GetInstalledCertificateIds"); got != "get_installed_certificate_ids" {
		t.Errorf("snake: %q", got)
	}
}

// TestActions checks the tables: every action once.
func TestActions(t *testing.T) {
	for version, want := range map[string]int{"1.6": 39, "2.0.1": 64, "2.1": 91} {
		actions, err := actionsOf(version)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, a := range actions {
			if seen[a.name] {
				t.Errorf("%s: %s is there twice", version, a.name)
			}
			seen[a.name] = true
		}
		if len(actions) != want {
			t.Errorf("%s: %d actions, want %d", version, len(actions), want)
		}
	}
	if _, err := actionsOf("1.5"); err == nil {
		t.Error("a version without a table was accepted")
	}
}
