-- Schema 10: states of periodic tasks. From schema 9.

CREATE TABLE periodic (
    owner    TEXT NOT NULL,
    name     TEXT NOT NULL,
    revision INTEGER NOT NULL,
    task     BLOB, -- of the latest run
    record   TEXT NOT NULL,
    PRIMARY KEY (name, owner)
) WITHOUT ROWID;
