-- milepost's tables in SQLite. A record is a row of `records` and its rows in `rows`.
-- counter says at which revision a row last changed, so a conflict need not return them all;
-- shrunk is the revision at which rows were last dropped: from an older base, all are returned.
-- commits holds the ids of the last commits, 16 bytes each, so that one sent again is known.

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS records (
    key         TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    counter     INTEGER NOT NULL,
    serial      INTEGER NOT NULL,
    shrunk      INTEGER NOT NULL DEFAULT 0,
    deadline    REAL,
    commits     BLOB NOT NULL DEFAULT x''
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS records_by_deadline ON records (deadline) WHERE deadline IS NOT NULL;

CREATE TABLE IF NOT EXISTS rows (
    key     TEXT NOT NULL,
    name    TEXT NOT NULL,
    counter INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (key, name)
) WITHOUT ROWID;

-- What subjects are looked up by: short properties. A look-up repeats these conditions word for word.
CREATE INDEX IF NOT EXISTS rows_by_value ON rows (name, body, key)
    WHERE substr(name, 1, 2) = 'p:' AND length(body) <= 200;

CREATE TABLE IF NOT EXISTS definitions (
    hash TEXT PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;

-- Event ids that a record remembers, the newest with the highest number.
CREATE TABLE IF NOT EXISTS seen (
    key TEXT NOT NULL,
    n   INTEGER NOT NULL,
    id  BLOB NOT NULL,
    PRIMARY KEY (key, n)
) WITHOUT ROWID;

-- Ids of the commits that removed a record, which has no row to hold them any more.
CREATE TABLE IF NOT EXISTS removals (
    n  INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE
);

-- Where records stood when a cache that is followed removed them, so that what it says late of them is known
-- to be the past.
CREATE TABLE IF NOT EXISTS gone (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT NOT NULL UNIQUE,
    incarnation INTEGER NOT NULL,
    counter     INTEGER NOT NULL
);

-- Events in commit order; `at` is when each was appended, by the clock of who appended it.
CREATE TABLE IF NOT EXISTS outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL,
    type     TEXT NOT NULL,
    key      TEXT NOT NULL,
    at       REAL NOT NULL,
    body     TEXT NOT NULL
);

-- What the bus published, as against what tracking did: an id is published once. The event is in the outbox.
CREATE TABLE IF NOT EXISTS published (
    id       TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    root     TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS published_by_position ON published (position);
CREATE INDEX IF NOT EXISTS published_by_root ON published (root);

CREATE TABLE IF NOT EXISTS delayed (
    id   TEXT PRIMARY KEY,
    due  REAL NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS delayed_by_due ON delayed (due);

CREATE TABLE IF NOT EXISTS consumers (
    name    TEXT PRIMARY KEY,
    max_lag INTEGER,
    on_lag  TEXT NOT NULL,
    lapsed  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- One row for each partition of a consumer. The token grows with each owner: an older one cannot acknowledge.
CREATE TABLE IF NOT EXISTS shares (
    consumer  TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    owner     TEXT,
    token     INTEGER NOT NULL DEFAULT 0,
    until     REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (consumer, partition)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS members (
    consumer TEXT NOT NULL,
    owner    TEXT NOT NULL,
    until    REAL NOT NULL,
    PRIMARY KEY (consumer, owner)
) WITHOUT ROWID;

-- state: failed, asked (to be run again) or taken (by a process that runs it, until a moment).
CREATE TABLE IF NOT EXISTS failed (
    id        TEXT PRIMARY KEY,
    handler   TEXT NOT NULL,
    consumer  TEXT NOT NULL,
    attempts  INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    traceback TEXT NOT NULL,
    at        REAL NOT NULL,
    body      TEXT NOT NULL,
    state     TEXT NOT NULL DEFAULT 'failed',
    until     REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS failed_by_state ON failed (state) WHERE state <> 'failed';
