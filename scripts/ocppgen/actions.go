package main

import (
	"bufio"
	"embed"
	"fmt"
	"strings"
)

// The tables of actions. Each line: feature profile, or functional block after
// its letter; who sends it (station, server, both); actions.
//
//go:embed actions-*.txt
var tables embed.FS

// info is what the schemas do not tell about an action.
type info struct {
	name    string
	profile string // Core, or A.Security
	sender  string // station, server or both
}

// actionsOf reads the table of a version, in its order.
func actionsOf(version string) ([]info, error) {
	file := "actions-" + version + ".txt"
	data, err := tables.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("version %s has no table of actions: %w", version, err)
	}
	var actions []info
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if len(fields) < 3 || fields[1] != "station" && fields[1] != "server" && fields[1] != "both" {
			return nil, fmt.Errorf("%s:%d: expected profile, station|server|both, actions", file, n)
		}
		for _, name := range fields[2:] {
			actions = append(actions, info{name, fields[0], fields[1]})
		}
	}
	return actions, lines.Err()
}
