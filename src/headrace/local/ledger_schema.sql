-- The ledger of one root: every load, file, revision and decision of all its pipelines. Times are UTC text.

create table if not exists meta (key text primary key, value text not null) without rowid;

create table if not exists contracts (digest text primary key, body text not null, at text not null) without rowid;

-- One row per load. `seq` orders them as they were first seen; `arrived_at` is the pinned order of the occurrence.
create table if not exists loads (
    seq integer primary key,
    id text not null unique,
    pipeline text not null,
    key text not null,
    version text not null,
    contract text not null,
    corrections text not null,
    arrived_at text not null,
    state text not null,
    size integer not null,
    fingerprint text not null,
    read integer not null default 0,
    accepted integer not null default 0,
    rejected integer not null default 0,
    filtered integer not null default 0,
    loaded integer not null default 0,
    duplicate integer not null default 0,
    conflict integer not null default 0,
    dialect text not null default '{}',
    cause text not null default '',
    decided integer,
    retired integer,
    stale integer not null default 0,
    seen_at text,
    staged_at text,
    seconds real not null default 0
);
create index if not exists loads_by_key on loads (pipeline, key, seq);
-- Whole indexes: SQLite uses a partial one only for a query that repeats its list of states word for word.
create index if not exists loads_by_state on loads (pipeline, state, key);
create index if not exists loads_by_bytes on loads (pipeline, version);
-- What `status` and every run's end add up, without touching the rows.
create index if not exists loads_summed on loads
    (pipeline, state, contract, stale, read, accepted, rejected, filtered, loaded, duplicate, conflict)
    where state in ('decided', 'standing');
create index if not exists loads_by_revision on loads (pipeline, decided) where decided is not null;
create index if not exists loads_by_retraction on loads (pipeline, retired) where retired is not null;

-- One row per Parquet file of the base. Staged: added is null. Standing: added set, removed null.
-- `doomed`: never to be adopted. What nothing refers to is deleted from disk, then from here.
create table if not exists files (
    id integer primary key,
    pipeline text not null,
    path text not null unique,
    kind text not null,
    rows integer not null,
    size integer not null,
    partition text not null,
    ranges text not null,
    lo any,
    hi any,
    added integer,
    removed integer,
    doomed text
) strict;
create index if not exists files_added on files (pipeline, added);
create index if not exists files_removed on files (pipeline, removed);
create index if not exists files_standing on files (pipeline, kind, lo, hi) where removed is null and added is not null;
create index if not exists files_staged on files (pipeline, path) where added is null;

create table if not exists file_loads (
    file integer not null references files (id) on delete cascade,
    load text not null,
    rows integer not null,
    primary key (file, load)
) without rowid;
create index if not exists file_loads_by_load on file_loads (load);

create table if not exists revisions (
    pipeline text not null,
    number integer not null,
    at text not null,
    reason text not null,
    shape text not null,
    primary key (pipeline, number)
) without rowid;

-- What this root last saw each sink say of itself. The truth is in the sink.
create table if not exists sinks (
    pipeline text not null,
    sink text not null,
    number integer not null,
    primary key (pipeline, sink)
) without rowid;

-- Keys that the publisher must look at: their object seems to be gone, or a same-bytes twin has moved.
create table if not exists hints (
    pipeline text not null,
    key text not null,
    held text,
    confirmed integer not null default 0,
    asked integer not null default 0, -- another number each time that somebody asks
    primary key (pipeline, key)
) without rowid;

create table if not exists corrections (
    pipeline text not null,
    key text not null,
    version text not null,
    member text not null,
    record integer not null,
    cells text not null,
    at text not null,
    primary key (pipeline, key, version, member, record)
) without rowid;

-- Messages to people. Waiting until the load that they speak of stands; `name` makes each be said once.
create table if not exists outbox (
    id integer primary key,
    name text not null,
    pipeline text not null,
    load text,
    revision integer,
    subject text not null,
    body text not null,
    state text not null,
    at text not null,
    unique (pipeline, name)
);
create index if not exists outbox_open on outbox (pipeline, state) where state <> 'sent';
