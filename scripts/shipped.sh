#!/usr/bin/env bash
# The seams that tests reach through are absent from what ships, and present
# in what is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for name in chargeyard-edge chargeyard-cloud; do
	if grep -qa CHARGEYARD_FAILPOINT "bin/$name"; then
		echo "bin/$name has failpoints in it: it was built with the tag seams" >&2
		exit 1
	fi
	if ! grep -qa CHARGEYARD_FAILPOINT "bin/race/$name"; then
		echo "bin/race/$name has no failpoints in it: it was built without the tag seams" >&2
		exit 1
	fi
done
