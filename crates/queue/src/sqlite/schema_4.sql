-- Schema 4: the end of a task deletes its prompt. From schema 3.

ALTER TABLE tasks ADD COLUMN notes TEXT; -- what is kept of the task beyond its end, as versioned JSON

UPDATE tasks SET notes = json_object(
        'v', json_extract(record, '$.v'),
        'user_id', json_extract(record, '$.user_id'),
        'metadata', json(coalesce(json_extract(record, '$.metadata'), '{}')))
    WHERE json_valid(record) AND (json_extract(record, '$.user_id') IS NOT NULL
                                  OR json_extract(record, '$.metadata') IS NOT NULL);

UPDATE tasks SET record = '', failures = '[]' WHERE finished IS NOT NULL;

-- An `ended` event has no separate body: it is the task's outcome.
UPDATE events SET body = '' WHERE EXISTS
    (SELECT 1 FROM tasks WHERE id = events.task AND seq = events.seq AND outcome IS NOT NULL);
