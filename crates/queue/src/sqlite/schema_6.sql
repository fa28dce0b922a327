-- Schema 6: records of blobs and batches. From schema 5. A place of bytes is named by blobs, by an upload, or as doomed.

CREATE TABLE blobs (
    id         BLOB PRIMARY KEY NOT NULL,
    tenant     TEXT NOT NULL,
    place      BLOB NOT NULL,              -- where the bytes are; blobs of the same content may share it
    size       INTEGER NOT NULL,
    hash       BLOB NOT NULL,              -- SHA-256 of the bytes
    media_type TEXT NOT NULL,
    filename   TEXT,
    purpose    TEXT NOT NULL,
    created    INTEGER NOT NULL,
    expires    INTEGER NOT NULL
);
CREATE INDEX blobs_tenant ON blobs (tenant, id, size);
CREATE INDEX blobs_content ON blobs (tenant, hash);
CREATE INDEX blobs_place ON blobs (place);
CREATE INDEX blobs_expiring ON blobs (expires);

CREATE TABLE blob_uploads (
    place    BLOB PRIMARY KEY NOT NULL,
    tenant   TEXT NOT NULL,
    reserved INTEGER NOT NULL,             -- bytes that it may have
    expires  INTEGER NOT NULL              -- abandoned then
);
CREATE INDEX blob_uploads_tenant ON blob_uploads (tenant);

CREATE TABLE doomed_blobs (
    place  BLOB PRIMARY KEY NOT NULL,      -- whose bytes are to be deleted
    tenant TEXT NOT NULL,
    due    INTEGER NOT NULL                -- from then on
);
CREATE INDEX doomed_blobs_due ON doomed_blobs (due);

CREATE TABLE batches (
    id        BLOB PRIMARY KEY NOT NULL,
    tenant    TEXT NOT NULL,
    record    TEXT NOT NULL,               -- versioned JSON
    due       INTEGER,                     -- unless ended: when a processor may take it
    expires   INTEGER                      -- once ended
);
CREATE INDEX batches_tenant ON batches (tenant, id);
CREATE INDEX batches_due ON batches (due) WHERE due IS NOT NULL;
CREATE INDEX batches_expiring ON batches (expires) WHERE expires IS NOT NULL;
