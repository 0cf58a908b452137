// Command ocppgen makes the Go types of one OCPP version from the schemas that
// the Open Charge Alliance publishes with it.
//
//	go run ./scripts/ocppgen -schemas DIR -version 1.6 -package ocpp16 -out shared/ocpp16
//
// The schemas are not part of this repository, what is made of them is. The
// package needs one file beside the generated ones that declares Request,
// Response, ActionInfo, the directions, and Profile (1.6) or Block (2.x), as
// shared/ocpp16/ocpp16.go does. Files of an earlier run that are no longer made
// are removed.
//
// Next to the types it writes testdata/instances.jsonl.gz: valid and invalid
// payloads of every message, a line of JSON each, with the verdict of a JSON
// Schema validator, against which the tests hold Decode and Validate.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	schemas := flag.String("schemas", "", "folder of the schemas of one version: <Action>Request.json, <Action>Response.json")
	version := flag.String("version", "1.6", "OCPP version: 1.6, 2.0.1 or 2.1")
	pkg := flag.String("package", "ocpp16", "name of the Go package")
	out := flag.String("out", "", "folder of the Go package")
	flag.Parse()
	if *schemas == "" || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*schemas, *version, *pkg, *out); err != nil {
		fmt.Fprintln(os.Stderr, "ocppgen:", err)
		os.Exit(1)
	}
}

func run(schemas, version, pkg, out string) error {
	m, err := build(schemas, version)
	if err != nil {
		return err
	}
	files, err := generate(m, pkg)
	if err != nil {
		return err
	}
	instances, err := m.instances()
	if err != nil {
		return err
	}
	files[filepath.Join("testdata", "instances.jsonl.gz")] = instances
	return replace(out, files)
}

// replace writes files into folder and removes generated ones that are no
// longer there.
func replace(folder string, files map[string][]byte) error {
	if err := os.MkdirAll(filepath.Join(folder, "testdata"), 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if files[filepath.Base(path)] == nil && bytes.HasPrefix(data, []byte(strings.TrimSpace(header))) {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
