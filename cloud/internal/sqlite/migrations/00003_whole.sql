-- +goose Up

ALTER TABLE stations ADD COLUMN registration TEXT NOT NULL DEFAULT ''; -- answer to the newest boot

-- When somebody wished to take back a command that was sent already.
ALTER TABLE commands ADD COLUMN cancel INTEGER;

-- The times that a block of the log holds, as told, so that a span of time need
-- not be looked for in all of it. loose: an event in it was told without a
-- clock, and may have happened at any time.
CREATE TABLE log_times (
    block  INTEGER PRIMARY KEY, -- position / 1024
    oldest INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    loose  INTEGER NOT NULL
);
INSERT INTO log_times (block, oldest, newest, loose)
SELECT position / 1024, min(time), max(time), max(boot IS NOT NULL) FROM log GROUP BY 1;

-- Projections, written by the events lane. Their times stay as told.

CREATE TABLE variables (
    station   TEXT NOT NULL,
    component TEXT NOT NULL,
    evse      INTEGER NOT NULL,
    variable  TEXT NOT NULL,
    instance  TEXT NOT NULL,
    attribute TEXT NOT NULL, -- empty: Actual
    tenant    TEXT NOT NULL,
    gateway   TEXT NOT NULL,
    value     TEXT NOT NULL,
    detail    TEXT NOT NULL, -- JSON: the rest of the variable
    told      INTEGER NOT NULL,
    told_boot TEXT,
    seen      INTEGER NOT NULL, -- position of the newest event that told of it
    since     INTEGER NOT NULL,
    PRIMARY KEY (station, component, evse, variable, instance, attribute)
) WITHOUT ROWID;

-- How far a station's report of everything has come.
CREATE TABLE inventories (
    station TEXT PRIMARY KEY,
    tenant  TEXT NOT NULL,
    report  INTEGER NOT NULL,
    begun   INTEGER NOT NULL, -- position of its first part
    next    INTEGER NOT NULL, -- negative once a part was missing
    since   INTEGER NOT NULL
) WITHOUT ROWID;

-- One row per start of the gateway: counts begin anew with each.
CREATE TABLE deviations (
    station    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    boot       TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    gateway    TEXT NOT NULL,
    count      INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    first_boot TEXT,
    last       INTEGER NOT NULL,
    last_boot  TEXT,
    since      INTEGER NOT NULL,
    PRIMARY KEY (station, kind, boot)
) WITHOUT ROWID;

CREATE TABLE security_events (
    since       INTEGER PRIMARY KEY, -- position in the log
    tenant      TEXT NOT NULL,
    gateway     TEXT NOT NULL,
    station     TEXT, -- the manager's id
    identity    TEXT NOT NULL,
    event       TEXT NOT NULL,
    critical    INTEGER NOT NULL,
    info        TEXT NOT NULL,
    device_time TEXT NOT NULL,
    count       INTEGER NOT NULL,
    told        INTEGER NOT NULL,
    told_boot   TEXT
);
CREATE INDEX security_by_station ON security_events (station, since) WHERE station IS NOT NULL;

-- Stations that knock and that nobody has admitted.
CREATE TABLE pending (
    gateway    TEXT NOT NULL,
    identity   TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    detail     TEXT NOT NULL, -- JSON: what is known of it
    first      INTEGER NOT NULL,
    first_boot TEXT,
    last       INTEGER NOT NULL,
    last_boot  TEXT,
    count      INTEGER NOT NULL,
    seen       INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    PRIMARY KEY (gateway, identity)
) WITHOUT ROWID;

-- Made by API and commander. A rebuild leaves them alone.

CREATE TABLE files (
    id        TEXT PRIMARY KEY,
    secret    TEXT NOT NULL, -- SHA-256 of the secret in its address
    tenant    TEXT NOT NULL,
    gateway   TEXT NOT NULL,
    kind      TEXT NOT NULL,
    station   TEXT NOT NULL, -- the manager's id
    identity  TEXT NOT NULL,
    command   TEXT NOT NULL,
    span_from INTEGER,
    span_to   INTEGER,
    size      INTEGER NOT NULL,
    sha256    TEXT NOT NULL, -- empty until it is complete
    bound     INTEGER NOT NULL, -- bytes at most
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL, -- of the address
    completed INTEGER,
    until     INTEGER NOT NULL  -- deleted then
) WITHOUT ROWID;
CREATE UNIQUE INDEX files_by_secret ON files (secret);
CREATE INDEX files_by_station ON files (station, id);
CREATE INDEX files_by_tenant ON files (tenant, id);

-- +goose Down
SELECT 1;
