package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
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

// TestCommitted generates shared/ocpp16 again: what is committed must be what
// the generator makes, no file more and none less.
func TestCommitted(t *testing.T) {
	from, out := schemas(t, "1.6"), t.TempDir()
	if err := run(from, "1.6", "ocpp16", out); err != nil {
		t.Fatal(err)
	}
	committed := filepath.Join("..", "..", "shared", "ocpp16")
	generated := 0
	for _, pattern := range []string{"*.go", filepath.Join("testdata", "*.jsonl")} {
		for _, folder := range []string{out, committed} {
			paths, err := filepath.Glob(filepath.Join(folder, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				name, err := filepath.Rel(folder, path)
				if err != nil {
					t.Fatal(err)
				}
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if folder == committed && strings.HasSuffix(name, ".go") && !bytes.HasPrefix(data, []byte(strings.TrimSpace(header))) {
					continue // written by hand
				}
				generated++
				other := filepath.Join(out, name)
				if folder == out {
					other = filepath.Join(committed, name)
				}
				if same, err := os.ReadFile(other); err != nil || !bytes.Equal(same, data) {
					t.Errorf("%s: committed and generated differ (%v); run ocppgen", name, err)
				}
			}
		}
	}
	if generated < 80 {
		t.Errorf("expected some 40 files on either side, got %d together", generated)
	}
}

// TestLaterVersions generates 2.0.1 and 2.1 and compiles them, so that the
// generator is ready for their definitions, custom data and open values.
func TestLaterVersions(t *testing.T) {
	for _, version := range []string{"2.0.1", "2.1"} {
		t.Run(version, func(t *testing.T) {
			from, out := schemas(t, version), t.TempDir()
			pkg := "ocpp" + strings.ReplaceAll(version, ".", "")
			if err := run(from, version, pkg, out); err != nil {
				t.Fatal(err)
			}
			byHand, err := os.ReadFile(filepath.Join("..", "..", "shared", "ocpp16", "ocpp16.go"))
			if err != nil {
				t.Fatal(err)
			}
			byHand = bytes.Replace(byHand, []byte("package ocpp16"), []byte("package "+pkg), 1)
			if err := os.WriteFile(filepath.Join(out, pkg+".go"), byHand, 0o600); err != nil {
				t.Fatal(err)
			}
			compilePackage(t, out, pkg)
		})
	}
}

// compilePackage builds the files in folder as if they stood in
// shared/<pkg>, without writing there.
func compilePackage(t *testing.T, folder, pkg string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, file := range files {
		overlay.Replace[filepath.Join(root, "shared", pkg, filepath.Base(file))] = file
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", path, "./shared/"+pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%.4000s", err, out)
	}
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
	for json, want := range map[string]string{
		"connectorId": "ConnectorID", "idTag": "IDTag", "evseId": "EVSEID", "csChargingProfiles": "CsChargingProfiles",
		"iso15118CertificateHashData": "Iso15118CertificateHashData", "csr": "CSR", "certificateIds": "CertificateIDs",
		"EVSEType": "EVSEType", "ocppCsmsUrl": "OCPPCsmsURL",
	} {
		if got := goName(json); got != want {
			t.Errorf("goName(%q) = %q, want %q", json, got, want)
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
