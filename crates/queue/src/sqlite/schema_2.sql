-- Schema 2: tenants, fair shares, delays, deadlines, idempotency. From schema 1, or from nothing.

ALTER TABLE tasks ADD COLUMN tenant   TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN size     INTEGER NOT NULL DEFAULT 0; -- bytes of the record
ALTER TABLE tasks ADD COLUMN spot     TEXT NOT NULL DEFAULT '';   -- where it waits: stream, backlog, delayed
ALTER TABLE tasks ADD COLUMN ticket   INTEGER NOT NULL DEFAULT 0; -- how many had entered that spot with it
ALTER TABLE tasks ADD COLUMN run_at   INTEGER;                    -- not to be started before
ALTER TABLE tasks ADD COLUMN deadline INTEGER;                    -- to be started by, the first time

UPDATE tasks SET size = length(CAST(record AS BLOB)),
                 tenant = CASE WHEN json_valid(record)
                          THEN coalesce(json_extract(record, '$.tenant'), '') ELSE '' END,
                 spot = CASE WHEN state = 'queued' THEN 'stream' ELSE '' END;

DROP INDEX tasks_queued;
CREATE INDEX tasks_stream ON tasks (model, lane, place) WHERE spot = 'stream';
CREATE INDEX tasks_backlog ON tasks (model, lane, tenant, place) WHERE spot = 'backlog';
CREATE INDEX tasks_delayed ON tasks (run_at) WHERE spot = 'delayed';
CREATE INDEX tasks_deadline ON tasks (deadline) WHERE state = 'queued' AND deadline IS NOT NULL;

ALTER TABLE stats ADD COLUMN service_dev REAL NOT NULL DEFAULT 0; -- how far times are from the average

-- The tasks that wait in a lane. `entered` and `departed` count those that entered and left the stream.
CREATE TABLE lanes (
    model    TEXT NOT NULL,
    lane     TEXT NOT NULL,
    queued   INTEGER NOT NULL DEFAULT 0,
    entered  INTEGER NOT NULL DEFAULT 0,
    departed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (model, lane)
) WITHOUT ROWID;

-- A tenant's tasks in a lane; deleted with the last of them.
CREATE TABLE shares (
    model    TEXT NOT NULL,
    lane     TEXT NOT NULL,
    tenant   TEXT NOT NULL,
    inside   INTEGER NOT NULL DEFAULT 0,    -- tasks in the stream
    waiting  INTEGER NOT NULL DEFAULT 0,    -- tasks in the backlog
    joined   INTEGER NOT NULL DEFAULT 0,    -- tasks that ever joined the backlog
    PRIMARY KEY (model, lane, tenant)
) WITHOUT ROWID;

-- The number of a tenant's queued tasks; deleted with the last of them.
CREATE TABLE tenants (tenant TEXT PRIMARY KEY, queued INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE totals (bytes INTEGER NOT NULL); -- of queued records

-- The task of a tenant's idempotency key.
CREATE TABLE keys (
    tenant TEXT NOT NULL,
    key    TEXT NOT NULL,
    body   TEXT NOT NULL,
    task   TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX keys_task ON keys (task);

INSERT INTO lanes (model, lane, queued, entered)
    SELECT model, lane, count(*), count(*) FROM tasks WHERE state = 'queued' GROUP BY model, lane;
INSERT INTO shares (model, lane, tenant, inside)
    SELECT model, lane, tenant, count(*) FROM tasks WHERE state = 'queued'
    GROUP BY model, lane, tenant;
INSERT INTO tenants (tenant, queued)
    SELECT tenant, count(*) FROM tasks WHERE state = 'queued' GROUP BY tenant;
INSERT INTO totals (bytes)
    SELECT coalesce(sum(size), 0) FROM tasks WHERE state = 'queued';
