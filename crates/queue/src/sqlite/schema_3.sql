-- Schema 3: backoff between attempts, dead letters, webhooks, tombstones, operators. From schema 2.

ALTER TABLE tasks ADD COLUMN told     INTEGER NOT NULL DEFAULT 0; -- chunks told by the current attempt
ALTER TABLE tasks ADD COLUMN lost     INTEGER NOT NULL DEFAULT 0; -- workers in a row that fell silent with it
ALTER TABLE tasks ADD COLUMN reaping  INTEGER NOT NULL DEFAULT 0; -- 1 while a reaper holds it, to give it up
ALTER TABLE tasks ADD COLUMN failures TEXT NOT NULL DEFAULT '[]'; -- JSON array of versioned Failures
ALTER TABLE tasks ADD COLUMN unlogged INTEGER;                    -- ended, its log line is due from then on

UPDATE tasks SET reaping = 1 WHERE state = 'processing' AND failed >= max_attempts;

CREATE INDEX tasks_unlogged ON tasks (unlogged) WHERE unlogged IS NOT NULL;
CREATE INDEX keys_replay ON keys (key) WHERE key GLOB 'replay:*';

-- The tenants of tasks whose outcomes have expired.
CREATE TABLE tombstones (
    task    TEXT PRIMARY KEY,
    tenant  TEXT NOT NULL,
    since   INTEGER NOT NULL,               -- when the outcome expires
    until   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tombstones_until ON tombstones (until);

INSERT INTO tombstones (task, tenant, since, until)
    SELECT id, tenant, expires, expires + max(ttl_ms, 86400000) FROM tasks
    WHERE expires IS NOT NULL;

-- Tasks that used up their attempts. They outlive the task.
CREATE TABLE letters (
    task      TEXT PRIMARY KEY,
    model     TEXT NOT NULL,
    record    TEXT NOT NULL,
    outcome   TEXT NOT NULL,                -- the recorded end, as versioned JSON
    failures  TEXT NOT NULL,
    submitted INTEGER NOT NULL,
    died      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX letters_died ON letters (died);

-- Webhooks to deliver at a task's end, and the results of their tries. They outlive the task.
CREATE TABLE webhooks (
    task      TEXT PRIMARY KEY,
    tenant    TEXT NOT NULL,
    url       TEXT NOT NULL,
    metadata  TEXT NOT NULL,                -- the client's notes, as a JSON object
    submitted INTEGER NOT NULL,
    state     TEXT NOT NULL,                -- waiting, pending, delivered, given_up
    number    INTEGER NOT NULL DEFAULT 0,   -- of the latest try that was handed out
    due       INTEGER,                      -- while pending: the next try
    tries     TEXT,                         -- what became of them, as versioned JSON
    outcome   TEXT,                         -- once the task has ended
    started   INTEGER,
    finished  INTEGER,
    expires   INTEGER                       -- once delivered or given up
) WITHOUT ROWID;
CREATE INDEX webhooks_due ON webhooks (due) WHERE state = 'pending';
CREATE INDEX webhooks_expiring ON webhooks (expires) WHERE expires IS NOT NULL;

ALTER TABLE stats ADD COLUMN paused    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stats ADD COLUMN completed INTEGER NOT NULL DEFAULT 0; -- ended so far
ALTER TABLE stats ADD COLUMN failed    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stats ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;

-- Earlier ends were not counted; those of tasks still stored are.
UPDATE stats SET
    completed = (SELECT count(*) FROM tasks WHERE model = stats.model AND state = 'completed'),
    failed    = (SELECT count(*) FROM tasks WHERE model = stats.model AND state = 'failed'),
    cancelled = (SELECT count(*) FROM tasks WHERE model = stats.model AND state = 'cancelled');

ALTER TABLE workers ADD COLUMN drain INTEGER NOT NULL DEFAULT 0;   -- 1 when it was asked to
