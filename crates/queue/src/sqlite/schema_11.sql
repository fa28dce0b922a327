-- Schema 11: results for later tasks. From schema 10.

CREATE TABLE results (
    tenant  TEXT NOT NULL,
    key     BLOB NOT NULL,
    text    TEXT NOT NULL,
    bytes   INTEGER NOT NULL,
    expires INTEGER NOT NULL, -- in ms
    PRIMARY KEY (tenant, key)
);

CREATE INDEX results_expiring ON results (expires);
CREATE INDEX results_of ON results (tenant, expires);

-- The bytes of each tenant's results.
CREATE TABLE results_held (
    tenant TEXT PRIMARY KEY,
    bytes  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER result_stored AFTER INSERT ON results BEGIN
    INSERT INTO results_held VALUES (new.tenant, new.bytes)
    ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + new.bytes;
END;

CREATE TRIGGER result_deleted AFTER DELETE ON results BEGIN
    UPDATE results_held SET bytes = bytes - old.bytes WHERE tenant = old.tenant;
    DELETE FROM results_held WHERE tenant = old.tenant AND bytes <= 0;
END;
