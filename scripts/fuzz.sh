#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME (default 1m), one after
# the other. Findings go to testdata/fuzz/ beside the test: commit them.
#
#   scripts/fuzz.sh            all of them
#   scripts/fuzz.sh Decode     those whose name has Decode in it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzztime=${FUZZTIME:-1m}
pattern=${1:-.}
failed=()
count=0
while IFS=: read -r file target; do
	[[ $target =~ $pattern ]] || continue
	count=$((count + 1))
	package=./$(dirname "$file")
	echo "== $package $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 100x "$package" || failed+=("$package $target")
done < <(git ls-files -co --exclude-standard -- '*_test.go' ':!firmware-sim/internal/e2e/ocppgo' |
	xargs -r grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort -u)

if [ "$count" -eq 0 ]; then
	echo "no fuzz target matches $pattern" >&2
	exit 1
fi
if [ ${#failed[@]} -gt 0 ]; then
	printf 'found something: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "$count fuzz targets, $fuzztime each, nothing found"
