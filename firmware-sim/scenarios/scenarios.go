// Package scenarios embeds the scenarios that come with the simulator.
package scenarios

import "embed"

// Files holds the scenarios, NAME.yaml each.
//
//go:embed *.yaml
var Files embed.FS
