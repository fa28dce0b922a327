-- Schema 5: compact rows. From schema 4. Ids are the 16 bytes of their UUIDs; a delivery is known by worker
-- and attempt, without a fence; an event that its task's row implies has no body; a tombstone takes the place
-- of its task when that is deleted.

DROP INDEX tasks_stream;
DROP INDEX tasks_backlog;
DROP INDEX tasks_delayed;
DROP INDEX tasks_deadline;
DROP INDEX tasks_leased;
DROP INDEX tasks_expiring;
DROP INDEX tasks_unlogged;
DROP INDEX keys_task;
DROP INDEX keys_replay;
DROP INDEX tombstones_until;
DROP INDEX letters_died;
DROP INDEX webhooks_due;
DROP INDEX webhooks_expiring;
ALTER TABLE tasks RENAME TO tasks_4;
ALTER TABLE events RENAME TO events_4;
ALTER TABLE keys RENAME TO keys_4;
ALTER TABLE tombstones RENAME TO tombstones_4;
ALTER TABLE letters RENAME TO letters_4;
ALTER TABLE webhooks RENAME TO webhooks_4;
ALTER TABLE workers RENAME TO workers_4;

CREATE TABLE tasks (
    id           BLOB PRIMARY KEY NOT NULL,
    record       TEXT NOT NULL,             -- the immutable Task, as versioned JSON; empty once ended
    notes        TEXT,                      -- what is kept of the task beyond its end, as versioned JSON
    model        TEXT NOT NULL,
    lane         TEXT NOT NULL,
    tenant       TEXT NOT NULL,
    size         INTEGER NOT NULL,          -- bytes of the record
    max_attempts INTEGER NOT NULL,
    ttl_ms       INTEGER NOT NULL,          -- how long the outcome is kept
    state        TEXT NOT NULL
                 CHECK (state IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    spot         TEXT                       -- where it waits
                 CHECK (spot IN ('stream', 'backlog', 'delayed')),
    place        INTEGER NOT NULL,          -- order within the queue; a requeued task gets a new one
    ticket       INTEGER NOT NULL DEFAULT 0,-- how many had entered that spot with it
    run_at       INTEGER,                   -- not to be started before
    deadline     INTEGER,                   -- to be started by, the first time
    attempt      INTEGER NOT NULL DEFAULT 0,
    worker       BLOB,                      -- holder of the latest delivery
    released     TEXT NOT NULL DEFAULT '',  -- worker:attempt of the delivery that was released last
    published    INTEGER NOT NULL DEFAULT 0,-- chunks published by the current attempt
    failed       INTEGER NOT NULL DEFAULT 0,-- attempts that count as failed
    lost         INTEGER NOT NULL DEFAULT 0,-- leases in a row that expired
    reaping      INTEGER NOT NULL DEFAULT 0,-- 1 while a reaper holds it, to give it up
    cancel       INTEGER NOT NULL DEFAULT 0,-- 1 when a cancel was asked for
    by_holder    INTEGER NOT NULL DEFAULT 0,-- 1 when the latest delivery's holder recorded the outcome
    depth        INTEGER NOT NULL,          -- the reply to the submit
    submitted    INTEGER NOT NULL,
    started      INTEGER,
    finished     INTEGER,
    lease_until  INTEGER,                   -- while processing
    expires      INTEGER,                   -- once ended
    unlogged     INTEGER,                   -- ended, its log line is due from then on
    seq          INTEGER NOT NULL DEFAULT 0,-- number of the latest event
    failures     TEXT NOT NULL DEFAULT '[]',-- JSON array of versioned Failures
    outcome      TEXT                       -- once ended, as versioned JSON
);

-- Without a body, event 1 is `queued`; the latest event of an ended task is `ended`, with the task's outcome;
-- and any other is the `started` of the task's current attempt.
CREATE TABLE events (
    task BLOB NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    body TEXT,                              -- EventBody, as versioned JSON
    PRIMARY KEY (task, seq)
) WITHOUT ROWID;

-- The task of a tenant's idempotency key.
CREATE TABLE keys (
    tenant TEXT NOT NULL,
    key    TEXT NOT NULL,
    body   TEXT NOT NULL,
    task   BLOB NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;

-- The tenants of tasks that were deleted after their outcomes had expired.
CREATE TABLE tombstones (
    task   BLOB PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    until  INTEGER NOT NULL
) WITHOUT ROWID;

-- Tasks that used up their attempts. They outlive the task.
CREATE TABLE letters (
    task      BLOB PRIMARY KEY NOT NULL,
    model     TEXT NOT NULL,
    record    TEXT NOT NULL,
    outcome   TEXT NOT NULL,                -- the recorded end, as versioned JSON
    failures  TEXT NOT NULL,
    submitted INTEGER NOT NULL,
    died      INTEGER NOT NULL
) WITHOUT ROWID;

-- Webhooks to deliver at a task's end, and the results of their tries. They outlive the task.
CREATE TABLE webhooks (
    task      BLOB PRIMARY KEY NOT NULL,
    tenant    TEXT NOT NULL,
    url       TEXT NOT NULL,
    metadata  TEXT NOT NULL,                -- the client's notes, as a JSON object
    submitted INTEGER NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('waiting', 'pending', 'delivered', 'given_up')),
    number    INTEGER NOT NULL DEFAULT 0,   -- of the latest try that was handed out
    due       INTEGER,                      -- while pending: the next try
    tries     TEXT,                         -- their results, as versioned JSON
    outcome   TEXT,                         -- once the task has ended
    started   INTEGER,
    finished  INTEGER,
    expires   INTEGER                       -- once delivered or given up
) WITHOUT ROWID;

CREATE TABLE workers (
    id      BLOB PRIMARY KEY NOT NULL,
    report  TEXT NOT NULL,
    expires INTEGER NOT NULL,
    drain   INTEGER NOT NULL DEFAULT 0      -- 1 when it was asked to
) WITHOUT ROWID;

INSERT INTO tasks (id, record, notes, model, lane, tenant, size, max_attempts, ttl_ms, state, spot, place,
                   ticket, run_at, deadline, attempt, worker, released, published, failed, lost, reaping,
                   cancel, by_holder, depth, submitted, started, finished, lease_until, expires, unlogged,
                   seq, failures, outcome)
    SELECT unhex(replace(id, '-', '')), record, notes, model, lane, tenant, size, max_attempts, ttl_ms,
           state, nullif(spot, ''), place, ticket, run_at, deadline, attempt,
           unhex(replace(worker, '-', '')), returned, told, failed, lost, reaping, cancel,
           finished IS NOT NULL AND fence <> '', depth, submitted, started, finished, lease_until, expires,
           unlogged, seq, failures, outcome
    FROM tasks_4;
INSERT INTO events (task, seq, at, body)
    SELECT unhex(replace(task, '-', '')), seq, at, nullif(body, '') FROM events_4;
INSERT INTO keys (tenant, key, body, task)
    SELECT tenant, key, body, unhex(replace(task, '-', '')) FROM keys_4;
INSERT INTO tombstones (task, tenant, until)
    SELECT unhex(replace(task, '-', '')), tenant, until FROM tombstones_4
    WHERE task NOT IN (SELECT id FROM tasks_4);
INSERT INTO letters (task, model, record, outcome, failures, submitted, died)
    SELECT unhex(replace(task, '-', '')), model, record, outcome, failures, submitted, died FROM letters_4;
INSERT INTO webhooks (task, tenant, url, metadata, submitted, state, number, due, tries, outcome, started,
                      finished, expires)
    SELECT unhex(replace(task, '-', '')), tenant, url, metadata, submitted, state, number, due, tries,
           outcome, started, finished, expires FROM webhooks_4;
INSERT INTO workers (id, report, expires, drain)
    SELECT unhex(replace(id, '-', '')), report, expires, drain FROM workers_4;

DROP TABLE events_4;
DROP TABLE keys_4;
DROP TABLE tombstones_4;
DROP TABLE letters_4;
DROP TABLE webhooks_4;
DROP TABLE workers_4;
DROP TABLE tasks_4;

CREATE INDEX tasks_stream ON tasks (model, lane, place) WHERE spot = 'stream';
CREATE INDEX tasks_backlog ON tasks (model, lane, tenant, place) WHERE spot = 'backlog';
CREATE INDEX tasks_delayed ON tasks (run_at) WHERE spot = 'delayed';
CREATE INDEX tasks_deadline ON tasks (deadline) WHERE state = 'queued' AND deadline IS NOT NULL;
CREATE INDEX tasks_leased ON tasks (lease_until) WHERE state = 'processing';
CREATE INDEX tasks_expiring ON tasks (expires) WHERE expires IS NOT NULL;
CREATE INDEX tasks_unlogged ON tasks (unlogged) WHERE unlogged IS NOT NULL;
CREATE INDEX keys_task ON keys (task);
CREATE INDEX keys_replay ON keys (key) WHERE key GLOB 'replay:*';
CREATE INDEX tombstones_until ON tombstones (until);
CREATE INDEX letters_died ON letters (died);
CREATE INDEX webhooks_due ON webhooks (due) WHERE state = 'pending';
CREATE INDEX webhooks_expiring ON webhooks (expires) WHERE expires IS NOT NULL;
