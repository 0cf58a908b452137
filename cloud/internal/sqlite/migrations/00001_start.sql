-- +goose Up

-- Times are milliseconds since 1970, UTC. A column "…_boot" names the start of
-- the gateway that told the time beside it while its clock was not set; it is
-- null where the clock was right. "since" is the position in the log of the
-- event that made a row: a rebuild makes anew what is no older than the log.
-- There are no foreign keys: events may come before what they speak of.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Made by API and command line. A rebuild leaves them alone.

CREATE TABLE locations (
    tenant TEXT NOT NULL,
    id     TEXT NOT NULL,
    name   TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE TABLE gateways (
    id       TEXT PRIMARY KEY,
    tenant   TEXT NOT NULL,
    location TEXT NOT NULL,
    secret   TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    tenant  TEXT NOT NULL,
    key     TEXT NOT NULL, -- the value as it is compared
    section TEXT NOT NULL, -- of desired state
    type    TEXT NOT NULL,
    value   TEXT NOT NULL,
    status  TEXT NOT NULL,
    parent  TEXT NOT NULL,
    expires INTEGER,
    label   TEXT NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX tokens_by_section ON tokens (tenant, section);

CREATE TABLE access (
    secret   TEXT PRIMARY KEY, -- SHA-256 of the API token
    id       TEXT NOT NULL,
    tenant   TEXT NOT NULL,
    name     TEXT NOT NULL,
    location TEXT NOT NULL,
    role     TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE desired (
    gateway TEXT NOT NULL,
    section TEXT NOT NULL,
    tenant  TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (gateway, section)
) WITHOUT ROWID;

-- status, reason, result and updated repeat what command_steps say together.
CREATE TABLE commands (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    gateway    TEXT NOT NULL,
    station    TEXT NOT NULL, -- the identity
    target     TEXT NOT NULL, -- the manager's id of the station
    evse       INTEGER NOT NULL,
    type       TEXT NOT NULL,
    params     BLOB,
    expires    INTEGER NOT NULL,
    issued_by  TEXT NOT NULL,
    created    INTEGER NOT NULL,
    status     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    result     BLOB,
    updated    INTEGER NOT NULL,
    open       INTEGER NOT NULL, -- 1 until a final state
    idempotent TEXT,             -- the asker's key
    body       TEXT NOT NULL     -- hash of what was asked under it
);
CREATE UNIQUE INDEX commands_by_key ON commands (tenant, idempotent) WHERE idempotent IS NOT NULL;
CREATE INDEX commands_open ON commands (gateway, id) WHERE open = 1;
CREATE INDEX commands_by_target ON commands (target, id);
CREATE INDEX commands_by_tenant ON commands (tenant, id);

-- What gateways say of themselves beside events.

CREATE TABLE streams (
    id       INTEGER PRIMARY KEY,
    tenant   TEXT NOT NULL,
    gateway  TEXT NOT NULL,
    lane     TEXT NOT NULL,
    stream   TEXT NOT NULL,
    position INTEGER NOT NULL, -- committed up to here; never forgotten
    oldest   INTEGER NOT NULL, -- as of the newest hello that named it
    next     INTEGER NOT NULL,
    missing  TEXT NOT NULL     -- JSON: [[first, last], …]
);
CREATE UNIQUE INDEX streams_by_name ON streams (gateway, lane, stream);

CREATE TABLE connections (
    gateway    TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    online     INTEGER NOT NULL,
    boot       TEXT NOT NULL,
    connection TEXT NOT NULL,
    at         INTEGER NOT NULL,
    version    TEXT NOT NULL,
    clock      TEXT NOT NULL
) WITHOUT ROWID;

-- Gateways that say hello and that nobody has added: they belong to nobody.
CREATE TABLE knocking (
    gateway TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    boot    TEXT NOT NULL,
    at      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    id       INTEGER PRIMARY KEY,
    tenant   TEXT NOT NULL,
    gateway  TEXT NOT NULL,
    topic    TEXT NOT NULL,
    event    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    payload  BLOB NOT NULL,
    received INTEGER NOT NULL
);
CREATE INDEX dead_letters_by_gateway ON dead_letters (gateway, id);

-- Numbers that were crossed because their gateway no longer has them.
CREATE TABLE losses (
    id      INTEGER PRIMARY KEY,
    tenant  TEXT NOT NULL,
    gateway TEXT NOT NULL,
    lane    TEXT NOT NULL,
    stream  TEXT NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    reason  TEXT NOT NULL, -- expired or declared
    at      INTEGER NOT NULL
);
CREATE INDEX losses_by_gateway ON losses (gateway, at);

-- The log. Positions rise in the order of commits and have no holes; whoever
-- prunes it leaves the newest row.

CREATE TABLE log (
    position INTEGER PRIMARY KEY,
    tenant   TEXT NOT NULL,
    stream   INTEGER NOT NULL, -- streams.id
    sequence INTEGER NOT NULL,
    type     TEXT NOT NULL,
    station  TEXT, -- the manager's id
    evse     INTEGER,
    session  TEXT,
    time     INTEGER NOT NULL, -- as told
    boot     TEXT,
    event    BLOB NOT NULL -- the rest of the event, JSON
);

-- Where in the log to look for a station, a session, a type or a gateway: one
-- row per key and block of 1,024 positions instead of one per event, for the sake
-- of speed. A block also holds events of others.
CREATE TABLE log_index (
    key   TEXT NOT NULL,
    block INTEGER NOT NULL, -- position / 1024
    PRIMARY KEY (key, block)
) WITHOUT ROWID;

-- Projections, written by the events lane.

CREATE TABLE clocks (
    gateway   TEXT NOT NULL,
    boot      TEXT NOT NULL,
    tenant    TEXT NOT NULL,
    offset_ms INTEGER NOT NULL,
    source    TEXT NOT NULL,
    since     INTEGER NOT NULL,
    PRIMARY KEY (gateway, boot)
) WITHOUT ROWID;

CREATE TABLE gateway_facts (
    gateway      TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    version      TEXT NOT NULL,
    boot         TEXT NOT NULL,
    started      INTEGER NOT NULL,
    started_boot TEXT,
    clock        TEXT NOT NULL,
    since        INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE alarms (
    gateway     TEXT NOT NULL,
    alarm       TEXT NOT NULL,
    tenant      TEXT NOT NULL,
    severity    TEXT NOT NULL,
    text        TEXT NOT NULL,
    raised      INTEGER NOT NULL,
    raised_boot TEXT,
    since       INTEGER NOT NULL,
    PRIMARY KEY (gateway, alarm)
) WITHOUT ROWID;

CREATE TABLE stations (
    id             TEXT PRIMARY KEY,
    tenant         TEXT NOT NULL,
    gateway        TEXT NOT NULL,
    identity       TEXT NOT NULL,
    protocol       TEXT NOT NULL,
    vendor         TEXT NOT NULL,
    model          TEXT NOT NULL,
    serial         TEXT NOT NULL,
    firmware       TEXT NOT NULL,
    connected      INTEGER NOT NULL,
    connected_at   INTEGER, -- null before the first word about it
    connected_boot TEXT,
    trx            INTEGER NOT NULL, -- the highest transaction number
    orphans        INTEGER NOT NULL,
    since          INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX stations_by_gateway ON stations (gateway, identity);
CREATE INDEX stations_by_identity ON stations (identity, id);

CREATE TABLE evses (
    station TEXT NOT NULL,
    evse    INTEGER NOT NULL, -- 0: the limit of the station
    tenant  TEXT NOT NULL,
    gone    INTEGER NOT NULL,
    session TEXT,
    limit_a REAL,
    limit_w REAL,
    until   INTEGER,
    since   INTEGER NOT NULL,
    PRIMARY KEY (station, evse)
) WITHOUT ROWID;

-- A place is a connector, an EVSE (connector 0) or a station (EVSE 0 too). Its id
-- is a hash of these three.
CREATE TABLE places (
    id         INTEGER PRIMARY KEY,
    station    TEXT NOT NULL,
    evse       INTEGER NOT NULL,
    connector  INTEGER NOT NULL,
    tenant     TEXT NOT NULL,
    gateway    TEXT NOT NULL,
    gone       INTEGER NOT NULL,
    status     TEXT NOT NULL,
    error_code TEXT NOT NULL,
    info       TEXT NOT NULL,
    as_of      INTEGER NOT NULL,
    as_of_boot TEXT,
    intervals  INTEGER NOT NULL, -- how many, of which the last runs
    start      INTEGER NOT NULL, -- of the last
    since      INTEGER NOT NULL
);
CREATE UNIQUE INDEX places_by_station ON places (station, evse, connector);

-- An interval lasts until the start of the next number.
CREATE TABLE intervals (
    place      INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    tenant     TEXT NOT NULL,
    status     TEXT NOT NULL,
    error_code TEXT NOT NULL,
    told       INTEGER NOT NULL,
    told_boot  TEXT,
    start      INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    PRIMARY KEY (place, number)
) WITHOUT ROWID;
CREATE INDEX intervals_unsynced ON intervals (told_boot) WHERE told_boot IS NOT NULL;

CREATE TABLE sessions (
    id             TEXT PRIMARY KEY,
    tenant         TEXT NOT NULL,
    gateway        TEXT NOT NULL,
    station        TEXT NOT NULL,
    identity       TEXT NOT NULL,
    evse           INTEGER NOT NULL,
    connector      INTEGER NOT NULL,
    protocol       TEXT NOT NULL,
    trx            TEXT NOT NULL, -- the transaction
    status         TEXT NOT NULL,
    charging_state TEXT NOT NULL,
    token          TEXT, -- the value as it is compared
    token_json     BLOB,
    at             INTEGER NOT NULL,
    started        INTEGER,
    ended          INTEGER,
    reason         TEXT NOT NULL,
    meter_start_wh INTEGER,
    meter_stop_wh  INTEGER,
    meter_wh       INTEGER,
    energy_wh      INTEGER,
    detail         BLOB NOT NULL, -- JSON
    at_boot        TEXT,
    started_boot   TEXT,
    ended_boot     TEXT,
    unsynced       INTEGER NOT NULL, -- 1 where any time was told without a clock
    since          INTEGER NOT NULL
);
CREATE INDEX sessions_by_time ON sessions (tenant, at);
CREATE INDEX sessions_by_station ON sessions (station, at);
CREATE INDEX sessions_active ON sessions (tenant, at) WHERE status = 'active';
CREATE INDEX sessions_by_token ON sessions (tenant, token, at) WHERE token IS NOT NULL;
CREATE INDEX sessions_unsynced ON sessions (gateway) WHERE unsynced = 1;

CREATE TABLE session_aliases (
    alias   TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    tenant  TEXT NOT NULL,
    since   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_aliases_by_session ON session_aliases (session);

-- since is 0 for what the manager decided.
CREATE TABLE command_steps (
    id      INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    tenant  TEXT NOT NULL,
    gateway TEXT NOT NULL,
    state   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    result  BLOB,
    at      INTEGER NOT NULL,
    at_boot TEXT,
    since   INTEGER NOT NULL
);
CREATE INDEX command_steps_by_command ON command_steps (command, id);
CREATE UNIQUE INDEX command_steps_by_event ON command_steps (command, since) WHERE since > 0;
CREATE INDEX command_steps_unsynced ON command_steps (gateway, at_boot) WHERE at_boot IS NOT NULL;

-- Projections, written by the samples lane. Their times stay as told.

CREATE TABLE samples (
    station TEXT NOT NULL,
    evse    INTEGER NOT NULL,
    boot    TEXT NOT NULL, -- empty where the clock was right
    time    INTEGER NOT NULL,
    tenant  TEXT NOT NULL,
    session TEXT,
    sample  TEXT NOT NULL, -- JSON
    since   INTEGER NOT NULL,
    PRIMARY KEY (station, evse, boot, time)
) WITHOUT ROWID;

CREATE TABLE latest (
    station     TEXT NOT NULL,
    evse        INTEGER NOT NULL,
    tenant      TEXT NOT NULL,
    gateway     TEXT NOT NULL,
    time        INTEGER NOT NULL,
    boot        TEXT,
    session     TEXT,
    power_w     REAL,
    energy_wh   INTEGER,
    soc_percent REAL,
    since       INTEGER NOT NULL,
    PRIMARY KEY (station, evse)
) WITHOUT ROWID;

-- +goose Down
SELECT 1;
