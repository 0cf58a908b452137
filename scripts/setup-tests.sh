#!/usr/bin/env bash
# Sees to it that the programs are there that tests need beside Go, make and
# git. Root gets them installed; everybody else is told the one line that
# installs them.
set -euo pipefail

# What each is for: gcc for the race detector, mosquitto as the external
# broker, strace to record writes, chromium to look at pages, python for the
# example of a backend in another language, node and npm for a charging station
# in another language.
programs=(gcc mosquitto strace chromium python3 node npm)

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing=()
for program in "${programs[@]}"; do
	command -v "$program" >/dev/null || missing+=("${program/#node/nodejs}")
done
# gcc without the C library's headers cannot build the race detector's glue.
if command -v gcc >/dev/null && ! echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1; then
	missing+=(libc6-dev)
fi
# Debian's python, since Debian's packages are for that one.
for module in paho.mqtt.client:python3-paho-mqtt zstandard:python3-zstandard; do
	/usr/bin/python3 -c "import ${module%:*}" 2>/dev/null || missing+=("${module#*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
[[ " ${missing[*]} " == *" gcc "* ]] && missing+=(libc6-dev)

if ! command -v apt-get >/dev/null; then
	echo "Tests need these programs, and this is not a Debian to install them on: ${missing[*]}" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "Tests need programs that are missing here. This line installs them:" >&2
	echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "apt-get could not install ${missing[*]}" >&2
	exit 1
fi
# Tests start their own brokers; the package's would sit on port 1883.
if [[ " ${missing[*]} " == *" mosquitto "* ]] && [ -d /run/systemd/system ]; then
	systemctl disable --now mosquitto.service >/dev/null 2>&1 || echo "mosquitto.service is running and cannot be stopped: port 1883 is taken" >&2
fi
for program in "${programs[@]}"; do
	command -v "$program" >/dev/null || { echo "$program is still missing after its installation" >&2; exit 1; }
done
