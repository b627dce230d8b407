-- Events that wait or are leased, in the same file as the ledger, so that recording and acknowledging are one transaction.
-- token: who leases it; null while nobody does. visible_at: microseconds since 1970, until which nobody may lease it.
create table if not exists queue_events (
    id integer primary key,
    pipeline text not null,
    key text not null,
    hint text not null,
    visible_at integer not null,
    receives integer not null default 0,
    token text
);

-- An equal event that still waits is not stored twice; one that is leased may be out of date already, so it is.
create unique index if not exists queue_waiting on queue_events (pipeline, key, hint) where token is null;

create index if not exists queue_visible on queue_events (pipeline, visible_at, id);
