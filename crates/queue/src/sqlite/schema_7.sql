-- Schema 7: the format of a webhook's body, and webhooks that belong to no task. From schema 6.

ALTER TABLE webhooks ADD COLUMN form TEXT NOT NULL DEFAULT 'task';  -- by the API that the task came from
ALTER TABLE webhooks ADD COLUMN body TEXT;                          -- of a notice, which has no outcome
