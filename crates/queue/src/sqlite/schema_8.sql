-- Schema 8, managed keys: the keys, and their owners' secrets. From schema 7. (The table `keys` has idempotency keys.)

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
