#!/usr/bin/env bash
# Coverage of the unit tests, by package; generated files do not count. A
# line counts when any package's tests reach it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p bin
packages=$(go list ./... | grep -v /firmware-sim/internal/e2e)
covered=$(go list ./edge/... ./cloud/... ./shared/... ./firmware-sim/... | grep -v /firmware-sim/internal/e2e | paste -sd,)
# shellcheck disable=SC2086 # one package a word
go test -count=1 -timeout 15m -covermode=atomic -coverpkg="$covered" -coverprofile=bin/cover.all $packages >bin/cover.log || {
	cat bin/cover.log >&2
	exit 1
}

module=$(go list -m)
generated=$(git ls-files -co --exclude-standard -- '*.go' | xargs -r grep -lE '^// Code generated .* DO NOT EDIT\.$' | paste -sd'|' || true)
grep -vE "^$module/(${generated:-none})" bin/cover.all >bin/cover.out
go tool cover -html=bin/cover.out -o bin/cover.html

# Each block appears once per test binary: it is covered if any of them saw it.
awk -F'[ :]' -v module="$module/" '
	NR == 1 { next }
	{ block = $1 ":" $2; statements[block] = $3; if ($4 > 0) hit[block] = 1 }
	END {
		for (block in statements) {
			name = block; sub(/\/[^\/]*$/, "", name); sub(module, "", name)
			all[name] += statements[block]; sum += statements[block]
			if (block in hit) { seen[name] += statements[block]; got += statements[block] }
		}
		for (name in all) printf "%6.1f%%  %6d  %s\n", 100 * seen[name] / all[name], all[name], name | "sort -k3"
		close("sort -k3")
		if (sum) printf "%6.1f%%  %6d  all statements\n", 100 * got / sum, sum
	}' bin/cover.out
