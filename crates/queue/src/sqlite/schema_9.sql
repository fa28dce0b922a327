-- Schema 9: listings of tasks. From schema 8.

-- The state of a listed task: delayed ones apart from those that wait in a lane.
ALTER TABLE tasks ADD COLUMN listed TEXT
    GENERATED ALWAYS AS (CASE WHEN spot = 'delayed' THEN 'delayed' ELSE state END) VIRTUAL;

CREATE INDEX tasks_listed ON tasks (listed, model, id);
