package config

import (
	"regexp"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

var notOfID = regexp.MustCompile(`[^a-z0-9]+`)

// GatewayFor makes a gateway's id of a host's name.
func GatewayFor(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	id := strings.Trim(notOfID.ReplaceAllString(host, "-"), "-")
	id = strings.Trim(id[:min(len(id), 40)], "-")
	if !wire.ValidGateway(event.GatewayID(id)) {
		return "gw-1"
	}
	return id
}

// Example is a configuration with comments for the gateway called id. What is
// commented out shows the default.
func Example(id string) string { return strings.ReplaceAll(example, "GATEWAY", id) }

const example = `# The gateway's configuration. "chargeyard-edge check" prints every fault of it.
# A key can be overridden by the environment: CHARGEYARD_MQTT_PASSWORD for
# mqtt: password.

# The gateway's id: 1 to 40 of a-z, 0-9 and -. It is its MQTT user name too.
gateway: GATEWAY

# Events and samples wait here for the manager. It belongs to this id alone.
data_dir: ./data/edge

# The manager's broker. Outside a test use mqtts:// .
mqtt:
  url: "mqtt://127.0.0.1:1883"
  password: change-me          # printed by: chargeyard-cloud gateway add GATEWAY
  # ca_file: ca.pem            # the only authority to trust; default: the system's

# The endpoint for charging stations: ws://this-host:8887/ocpp/{identity}
ocpp:
  listen: ":8887"              # empty: TLS only
  # profiles: [0, 1]           # OCPP security profiles that it admits: 0 no password, 1 a password
  unknown_stations: refuse     # or pending: they connect and wait; or accept: whoever connects is served
  # unknown_limit: 2000        # so many that are not listed; further ones are turned away
  # assume_protocol: ocpp1.6   # for stations that name no subprotocol; default: closed
  # heartbeat: 5m              # told to stations, 1m to 15m
  # ping: 45s                  # ours; 0s: none
  # read_deadline_minimum: 10m # silence after which a connection is given up, at least 3 heartbeats
  # timeout: 30s               # for a station's answer
  # timeouts: 3                # unanswered calls in a row after which the connection is closed
  # frame_limit: 1MiB
  # boot_wait: 30s             # before a station that says nothing is sent anything
  # refresh_after: 30s         # before a station that told no status is asked for it
  # compression: auto          # of frames, where a station offers it: auto (OCPP 2.x), on, off
  # station_profiles: profiles # a directory with station profiles of your own
  # tls:                       # wss://this-host:8443/ocpp/{identity}
  #   names: [gw.example, 10.0.0.1]   # of this host, as stations call it; "chargeyard-edge ca show" prints the root for them
  #   certificates:            # instead of the site CA's; an ECDSA and an RSA one serve every station
  #     - {certificate: server.pem, key: server.key}
  #   listen: ":8443"
  #   profiles: [0, 2, 3]      # 2: a password, 3: a certificate of the station
  #   client_ca_files: [maker.pem]    # further authorities whose station certificates are good
  #   organisation: Example Ltd       # O of every station certificate
  #   accept_expired: false    # true: with an expired certificate a station may boot as pending, to renew it
  # listeners:                 # further addresses
  #   - {listen: ":8444", tls: true, profiles: [3]}

# Stations known by name. Those that the manager lists are known as well.
stations: []
#  - identity: CP-1
#    password_hash: "$argon2id$v=19$..."   # of: printf %s 'the password' | chargeyard-edge hash
#    security_profile: 2       # the least; without it, none below the one that it was seen with
#    certificate_cn: SN-0815   # common name of its certificate, where it is not the identity
#    registration: accepted    # or pending, rejected: it may be configured and not charge
#    aliases: [SERIAL-0815]    # other names that it connects with
#    assume_protocol: ocpp1.6
#    timeout: 60s
#    ping: false               # it cannot take pings
#    strict: true              # whatever is off the schema is refused: for tests against the standard
#    profile: wallbox          # the station profile to treat it by; without it, what fits its model
#    behaviour: {compression: false}   # what a station profile would switch, for this one alone
#    minimum_current_a: 6      # held below this, it ends the session instead of pausing
#    connectors:               # two connectors of one EVSE, only one usable at a time
#      - {number: 1, evse: 1, connector: 1}
#      - {number: 2, evse: 1, connector: 2}

# Who may charge while the manager is out of reach.
authorization:
  offline: known               # tokens of the list and the cache; or all, or none
  # ask: 3s                    # for the manager's word on an unknown token
  # cache: 24h                 # how long that word is remembered
  # concurrent: accept         # a token that is charging already; or refuse
  # master_pass_group: masters # whose tokens end every session and start none

# Health, metrics and a small page. Not for the internet.
console:
  listen: 127.0.0.1:8880

# samples:
#   flush: 10s                 # how long a meter sample may wait for the disk; 0s: not at all

# recorder:                    # the last frames of each station, in memory
#   station: 64KiB             # of one; 0: nothing is recorded
#   total: 16MiB               # of all together

# limits:
#   events: 1GiB               # of events.db: at the limit nothing more is confirmed
#   samples: 512MiB            # of samples.db: at the limit samples thin out
#   ballast: 8MiB              # given free when the disk is full

# log:
#   level: info                # debug, info, warn, error
#   format: auto               # text on a terminal, JSON otherwise
`
