"""Tables of the deployment's database, one script for each step of their form."""

from __future__ import annotations

_FIRST = """
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    digest BLOB NOT NULL,                 -- SHA-256 of the key, which is kept nowhere
    created_us INTEGER NOT NULL,          -- microseconds since 1970, as all `_us`
    revoked_us INTEGER
);
CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    state TEXT NOT NULL,
    spec TEXT NOT NULL,                   -- JSON, without the address of the input
    address TEXT,                         -- a secret; null when the job has ended
    created_us INTEGER NOT NULL,
    started_us INTEGER,
    completed_us INTEGER,
    row_count INTEGER,
    failed_rows INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cost_usd REAL,
    estimate_usd REAL,
    answered_by TEXT,
    failure TEXT,
    note TEXT
);
CREATE INDEX jobs_of_account ON jobs (account, created_us, sequence);
CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE completed_us IS NULL;
CREATE INDEX jobs_finished ON jobs (completed_us) WHERE completed_us IS NOT NULL;
CREATE TABLE removed_jobs (
    job_id TEXT PRIMARY KEY,
    account TEXT NOT NULL
);
CREATE TABLE submissions (
    account TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    digest TEXT NOT NULL,                 -- of the body
    state TEXT NOT NULL,
    token TEXT NOT NULL,                  -- of the attempt that may go on
    lease_us INTEGER NOT NULL,            -- until when it is believed to be alive
    job_id TEXT,
    detail TEXT,
    created_us INTEGER NOT NULL,
    PRIMARY KEY (account, idempotency_key)
);
CREATE TABLE datasets (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset_id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    arrow_schema BLOB                     -- null before the first file
);
CREATE INDEX datasets_of_account ON datasets (account, sequence);
CREATE TABLE dataset_files (
    dataset_id TEXT NOT NULL REFERENCES datasets (dataset_id),
    number INTEGER NOT NULL,              -- from 1, in the order of upload
    file_id TEXT NOT NULL,
    name TEXT NOT NULL,
    row_count INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    uploaded_us INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, number),
    UNIQUE (dataset_id, name)
);
"""

FORMATS = (_FIRST,)
"""Applied in order; the number of those applied is the form's version."""
