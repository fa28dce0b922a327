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
