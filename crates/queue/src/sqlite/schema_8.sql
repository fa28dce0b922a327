-- Schema 8. From schema 7.

-- Limits on use, and usage.

ALTER TABLE tasks ADD COLUMN charge      TEXT;    -- until its end, what that settles, as JSON
ALTER TABLE tasks ADD COLUMN first_start INTEGER; -- of its first attempt

UPDATE tasks SET first_start = started WHERE attempt = 1;

-- Levels of meters (meters.rs). Meters at level 0 have no row.
CREATE TABLE meters (
    owner   TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind    TEXT NOT NULL,                 -- r<period in s>, t, f, d, b
    day     INTEGER NOT NULL,              -- of the submits, in days since 1970; 0 unless daily
    level   REAL NOT NULL,
    used    REAL NOT NULL,
    since   INTEGER NOT NULL,              -- when a rate had this level
    expires INTEGER,                       -- unless in flight
    PRIMARY KEY (owner, subject, kind, day)
) WITHOUT ROWID;
CREATE INDEX meters_expiring ON meters (expires) WHERE expires IS NOT NULL;

-- The ended tasks of a day (UTC).
CREATE TABLE usage (
    day               TEXT NOT NULL,       -- YYYY-MM-DD
    owner             TEXT NOT NULL,
    key               TEXT NOT NULL,
    model             TEXT NOT NULL,
    requests          INTEGER NOT NULL,
    errors            INTEGER NOT NULL,
    cancelled         INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    images            INTEGER NOT NULL,
    wait_ms           INTEGER NOT NULL,
    compute_ms        INTEGER NOT NULL,
    PRIMARY KEY (day, owner, key, model)
) WITHOUT ROWID;

-- Managed keys, and their owners' secrets. (The table `keys` has idempotency keys.)

CREATE TABLE api_keys (
    id       TEXT PRIMARY KEY NOT NULL,
    hash     BLOB NOT NULL UNIQUE,         -- SHA-256 of the key's text
    owner    TEXT NOT NULL,
    record   TEXT NOT NULL,                -- versioned JSON
    revision INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    used     INTEGER                       -- once it was used
) WITHOUT ROWID;
CREATE INDEX api_keys_owner ON api_keys (owner, id);

CREATE TABLE owners (
    name   TEXT PRIMARY KEY NOT NULL,
    secret BLOB NOT NULL                   -- signs webhooks; outlives the owner's keys
) WITHOUT ROWID;

CREATE TABLE api_keys_version (version INTEGER NOT NULL);  -- one row: every change of a key increments it
INSERT INTO api_keys_version VALUES (0);
