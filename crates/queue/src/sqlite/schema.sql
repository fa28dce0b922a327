-- The embedded queue, schema 1. Instants are milliseconds since the Unix epoch.

CREATE TABLE tasks (
    id           TEXT PRIMARY KEY,
    record       TEXT NOT NULL,             -- the immutable Task, as versioned JSON
    model        TEXT NOT NULL,
    lane         TEXT NOT NULL,
    max_attempts INTEGER NOT NULL,
    ttl_ms       INTEGER NOT NULL,          -- how long the outcome is kept
    state        TEXT NOT NULL,
    place        INTEGER NOT NULL,          -- order within the queue; a requeued task gets a new one
    attempt      INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,-- attempts that count as failed
    worker       TEXT,                      -- holder of the latest delivery
    fence        TEXT NOT NULL DEFAULT '',  -- worker:attempt of the current lease, or of the finisher
    returned     TEXT NOT NULL DEFAULT '',  -- the fence that released it last
    cancel       INTEGER NOT NULL DEFAULT 0,-- 1 when a cancel was asked for
    depth        INTEGER NOT NULL,          -- what the submit answered
    submitted    INTEGER NOT NULL,
    started      INTEGER,
    finished     INTEGER,
    lease_until  INTEGER,                   -- while processing
    expires      INTEGER,                   -- once ended
    outcome      TEXT,                      -- once ended, as versioned JSON
    seq          INTEGER NOT NULL DEFAULT 0 -- number of the latest event
);

CREATE INDEX tasks_queued ON tasks (model, lane, place) WHERE state = 'queued';
CREATE INDEX tasks_leased ON tasks (lease_until) WHERE state = 'processing';
CREATE INDEX tasks_expiring ON tasks (expires) WHERE expires IS NOT NULL;

CREATE TABLE events (
    task TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL,                     -- EventBody, as versioned JSON
    PRIMARY KEY (task, seq)
) WITHOUT ROWID;

-- Counters, so that the cost of depth and bounds does not grow with the queue.
CREATE TABLE stats (
    model      TEXT PRIMARY KEY,
    queued     INTEGER NOT NULL DEFAULT 0,
    processing INTEGER NOT NULL DEFAULT 0,
    service_ms REAL NOT NULL DEFAULT 0      -- moving average of processing times
) WITHOUT ROWID;

CREATE TABLE places (latest INTEGER NOT NULL);
INSERT INTO places VALUES (0);

CREATE TABLE workers (
    id      TEXT PRIMARY KEY,
    report  TEXT NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
