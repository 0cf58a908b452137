#!/usr/bin/env bash
# Starts the manager (embedded broker, SQLite), a gateway and a simulated
# depot of 12 chargers from the binaries in bin/, prints the address of the
# page, and stops all three on Ctrl-C or SIGTERM. What they know is kept under
# ./data: the next start goes on from there.
#
#   CY_HTTP_PORT     the manager's page and API   8080
#   CY_MQTT_PORT     the embedded broker          1883
#   CY_OCPP_PORT     the gateway's chargers       8887
#   CY_CONSOLE_PORT  the gateway's console        8880
#   CY_DATA          folder of all data           ./data
#   CY_SCENARIO      what the depot lives through firmware-sim/scenarios/depot.yaml
#   CY_SECONDS       stop after so long           never
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077

http_port=${CY_HTTP_PORT:-8080}
mqtt_port=${CY_MQTT_PORT:-1883}
ocpp_port=${CY_OCPP_PORT:-8887}
console_port=${CY_CONSOLE_PORT:-8880}
data=${CY_DATA:-./data}
scenario=${CY_SCENARIO:-firmware-sim/scenarios/depot.yaml}
gateway=gw-1
bin=./bin

say() { printf '%s\n' "$*"; }
die() { printf 'make run: %s\n' "$*" >&2; exit 1; }

# open PORT: somebody listens there.
open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# request METHOD PATH [BODY]: the status code of the manager's answer.
request() {
	local method=$1 path=$2 body=${3-} protocol code rest
	exec 3<>"/dev/tcp/127.0.0.1/$http_port" || return 1
	printf '%s %s HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
		"$method" "$path" "$admin_token" "${#body}" "$body" >&3
	read -r -t 10 protocol code rest <&3 || code=000
	exec 3<&- 3>&-
	printf '%s\n' "${code:-000}"
}

# until_true SECONDS PID COMMAND...: waits for the command as long as PID lives.
until_true() {
	local tries=$(($1 * 5)) pid=$2
	shift 2
	for ((i = 0; i < tries; i++)); do
		"$@" && return 0
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.2
	done
	return 1
}

free_port() {
	! open "$2" || die "port $2 ($3) is taken: free it, or choose another with $1=… make run"
}

# ---- processes: only those that this script has started are ever stopped

names=() pids=() timer=

# start NAME COMMAND...: its output goes to data/log/NAME.log. With job control
# on, each is a process group of its own: Ctrl-C reaches this script alone.
start() {
	local name=$1
	shift
	set -m
	"$@" </dev/null >>"$data/log/$name.log" 2>&1 &
	set +m
	names+=("$name") pids+=($!)
}

stop_all() {
	local status=$? i pid
	trap '' INT TERM
	trap - EXIT
	[ -z "$timer" ] || kill "$timer" 2>/dev/null || true
	[ ${#pids[@]} -eq 0 ] || say "stopping"
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do # the last started first
		pid=${pids[i]}
		kill -TERM "$pid" 2>/dev/null || continue
		for ((wait_left = 60; wait_left > 0; wait_left--)); do # 12 s
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.2
		done
		if kill -KILL "$pid" 2>/dev/null; then
			say "${names[i]} did not stop within 12 s and was killed"
		fi
		wait "$pid" 2>/dev/null || true
	done
	exit "$status"
}
trap stop_all EXIT
trap 'exit 0' INT TERM

# failed NAME WHAT: shows the end of its log.
failed() {
	tail -n 15 "$data/log/$1.log" >&2 || true
	die "$1 $2 (see $data/log/$1.log)"
}

# ---- before the start

for name in chargeyard-cloud chargeyard-edge chargeyard-sim; do
	[ -x "$bin/$name" ] || die "$bin/$name is missing: make host builds it"
done
[ -f "$scenario" ] || die "scenario $scenario does not exist"
free_port CY_HTTP_PORT "$http_port" "the manager's page and API"
free_port CY_MQTT_PORT "$mqtt_port" "the embedded broker; a mosquitto of this machine, perhaps"
free_port CY_OCPP_PORT "$ocpp_port" "the gateway's chargers"
free_port CY_CONSOLE_PORT "$console_port" "the gateway's console"

mkdir -p "$data/log" "$data/cloud" "$data/edge" || die "cannot write to $data: is it somebody else's? CY_DATA=… names another folder"

if [ ! -s "$data/admin-token" ]; then
	od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$data/admin-token"
fi
admin_token=$(<"$data/admin-token")

cat >"$data/cloud.yaml" <<EOF
# written by scripts/run.sh at every start
data_dir: $data/cloud
http: {listen: "127.0.0.1:$http_port"}
broker: {embedded: {listen: "127.0.0.1:$mqtt_port"}}
EOF

# ---- manager, gateway, depot

CHARGEYARD_ADMIN_TOKEN=$admin_token start manager "$bin/chargeyard-cloud" serve --config "$data/cloud.yaml"
ready() { [ "$(request GET /readyz 2>/dev/null)" = 200 ]; }
until_true 30 "${pids[-1]}" ready || failed manager "did not become ready"

if [ ! -s "$data/gateway-password" ]; then
	"$bin/chargeyard-cloud" gateway add "$gateway" --config "$data/cloud.yaml" >"$data/gateway-password.new" ||
		die "the manager refuses the gateway $gateway. If it knows it already and its password is lost, remove $data and start again"
	mv "$data/gateway-password.new" "$data/gateway-password"
fi

cat >"$data/edge.yaml" <<EOF
# written by scripts/run.sh at every start
gateway: $gateway
data_dir: $data/edge
mqtt: {url: "mqtt://127.0.0.1:$mqtt_port", password: "$(<"$data/gateway-password")"}
ocpp: {listen: "127.0.0.1:$ocpp_port", unknown_stations: accept}
console: {listen: "127.0.0.1:$console_port"}
EOF
start gateway "$bin/chargeyard-edge" run --config "$data/edge.yaml"
until_true 30 "${pids[-1]}" open "$ocpp_port" || failed gateway "did not open its port"

# The manager knows the drivers' cards before they come, or it would refuse
# them: what the scenario lists as tokens: [...].
cards=0
while read -r card; do
	code=$(request PUT "/api/v1/tokens/$card" '{"type": "rfid", "status": "accepted"}')
	[[ $code == 2?? ]] || failed manager "answered $code to the card $card"
	cards=$((cards + 1))
done < <(sed -nE 's/^ +tokens: *(&[a-z]+ *)?\[(.*)\].*/\2/p' "$scenario" | tr -d "\"' " | tr , '\n' | sort -u)
[ "$cards" -gt 0 ] || say "$scenario lists no tokens: the manager knows none of the drivers' cards and will refuse them"

start depot "$bin/chargeyard-sim" run --url "ws://127.0.0.1:$ocpp_port/ocpp" --ledger "$data/ledger.jsonl" --state-dir "$data/chargers" "$scenario"

say ""
say "  The depot is running: http://127.0.0.1:$http_port/#token=$admin_token"
say "  API: http://127.0.0.1:$http_port/api/v1, with the token in $data/admin-token"
say "  Gateway's console: http://127.0.0.1:$console_port/, logs in $data/log/"
say "  Ctrl-C stops all three."
say ""

# ---- until somebody stops it, or one of them ends

if [ -n "${CY_SECONDS:-}" ]; then
	sleep "$CY_SECONDS" </dev/null >/dev/null 2>&1 &
	timer=$!
fi
ended=0
wait -n -p which "${pids[@]}" ${timer:+"$timer"} || ended=$?
[ "${which:-none}" != "$timer" ] || exit 0
for ((i = 0; i < ${#pids[@]}; i++)); do
	[ "${pids[i]}" != "${which:-}" ] || failed "${names[i]}" "ended by itself with exit code $ended"
done
