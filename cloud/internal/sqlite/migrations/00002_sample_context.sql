-- +goose Up

-- A device tells several readings of one moment, each of another context.

CREATE TABLE samples_by_context (
    station TEXT NOT NULL,
    evse    INTEGER NOT NULL,
    boot    TEXT NOT NULL, -- empty where the clock was right
    time    INTEGER NOT NULL,
    context TEXT NOT NULL, -- as in the sample; empty: periodic
    tenant  TEXT NOT NULL,
    session TEXT,
    sample  TEXT NOT NULL, -- JSON
    since   INTEGER NOT NULL,
    PRIMARY KEY (station, evse, boot, time, context)
) WITHOUT ROWID;

INSERT INTO samples_by_context (station, evse, boot, time, context, tenant, session, sample, since)
SELECT station, evse, boot, time, CASE WHEN json_valid(sample) THEN ifnull(json_extract(sample, '$.context'), '') ELSE '' END,
    tenant, session, sample, since
FROM samples;

DROP TABLE samples;
ALTER TABLE samples_by_context RENAME TO samples;
