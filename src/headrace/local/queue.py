"""Events that wait, in SQLite, beside the ledger. Leased by workers, acknowledged by the ledger; it reads no objects.

Threads and processes share one file: each statement group is one immediate transaction, synced when it ends.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files as package_files
from itertools import islice

from headrace.local.database import Database
from headrace.model.errors import LeaseLost
from headrace.model.loads import Event, Lease
from headrace.ports import Clock

SCHEMA = package_files("headrace.local").joinpath("queue_schema.sql").read_text()
MOST = 1000
"""Events per transaction: long enough to spread the cost of a sync, short enough not to block other writers."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PUT = """
    insert into queue_events (pipeline, key, hint, visible_at) values (?, ?, ?, ?)
    on conflict (pipeline, key, hint) where token is null
    do update set visible_at = excluded.visible_at where excluded.visible_at < visible_at
"""
_ANY = "select 1 from queue_events where pipeline = ? and visible_at <= ? limit 1"
_LEASE = """
    update queue_events set token = ?, visible_at = ?, receives = receives + 1
    where id in (select id from queue_events where pipeline = ? and visible_at <= ? order by visible_at, id limit ?)
    returning id, key, hint, receives
"""
_ACKNOWLEDGE = """
    delete from queue_events where token = ? and id in (select value from json_each(?)) returning id
"""
_MINE = "select id, pipeline, key, hint, receives from queue_events where id = ? and token = ?"
_WAITING = "select id from queue_events where pipeline = ? and key = ? and hint = ? and token is null"
_MERGE = "update queue_events set receives = max(receives, ?), visible_at = min(visible_at, ?) where id = ?"
_REPLAYING = "select 1 from queue_events where pipeline = ? and hint = 'replay' limit 1"
_EXTEND = "update queue_events set visible_at = ? where token = ? and id in (select value from json_each(?))"
_RELEASE = "update queue_events set token = null, visible_at = ? where id = ?"
_RECALL = "update queue_events set visible_at = ? where pipeline = ? and token is not null and visible_at > ?"
_DEPTH = """
    select count(*) filter (where token is null or visible_at <= ?1),
           count(*) filter (where token is not null and visible_at > ?1)
    from queue_events where pipeline = ?2
"""
_EMPTY = "select not exists (select 1 from queue_events where pipeline = ?)"


class SqliteQueue:
    """headrace.ports.Queue for all pipelines of a root."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock
        with database.transaction() as db:
            for statement in SCHEMA.split("\n\n"):  # executescript would end the transaction first
                db.execute(statement)

    def put(self, events: Iterable[Event], delay: timedelta = timedelta(0)) -> None:
        """Store events durably. An equal event that still waits is stored once, and waits no longer than this."""
        remaining = iter(events)
        while rows := [(e.pipeline, e.key, e.hint, self._at(delay)) for e in islice(remaining, MOST)]:
            with self._db.transaction() as db:
                db.executemany(_PUT, rows)

    def lease(self, pipeline: str, n: int, visibility: timedelta) -> list[Lease]:
        """Hide up to `n` events from other workers for `visibility`, those that waited longest first."""
        now, token = self._at(), secrets.token_hex(8)
        if self._db.connection().execute(_ANY, (pipeline, now)).fetchone() is None:
            return []  # an idle worker never takes the write lock
        with self._db.transaction() as db:
            rows = db.execute(_LEASE, (token, self._at(visibility), pipeline, now, n)).fetchall()
        return sorted((Lease(i, Event(pipeline, key, hint), token, n) for i, key, hint, n in rows), key=lambda x: x.id)

    def acknowledge(self, leases: Sequence[Lease]) -> None:
        """Remove events for good. Raises LeaseLost if any was leased again by another; the others are removed."""
        lost: LeaseLost | None = None
        with self._db.transaction() as db:
            try:
                self.acknowledge_in(db, leases)
            except LeaseLost as exc:
                lost = exc  # raised after the commit: what is still ours is done
        if lost is not None:
            raise lost

    def acknowledge_in(self, db: sqlite3.Connection, leases: Sequence[Lease]) -> None:
        """`acknowledge` within a transaction of the ledger's: it commits or falls with what the ledger records.

        LeaseLost comes after the others were removed, so that the caller may go on and commit.
        """
        lost: list[Lease] = []
        for token, mine in _by_token(leases).items():
            removed = {row[0] for row in db.execute(_ACKNOWLEDGE, (token, json.dumps([x.id for x in mine])))}
            lost += [lease for lease in mine if lease.id not in removed]
        if lost:
            which = ", ".join(lease.event.key for lease in lost[:3])
            found = f"{len(lost)} of {len(leases)} leases outlived their visibility"
            raise LeaseLost("HR503", which, found, "another worker has them; raise `visibility` if this is common")

    def extend(self, leases: Sequence[Lease], visibility: timedelta) -> None:
        """Hide leased events for `visibility` from now: the work on them takes longer. A lost lease is passed over."""
        with self._db.transaction() as db:
            for token, mine in _by_token(leases).items():
                db.execute(_EXTEND, (self._at(visibility), token, json.dumps([x.id for x in mine])))

    def release(self, leases: Sequence[Lease], delay: timedelta) -> None:
        """Give events back, to be seen again after `delay`. A lease that was lost is passed over: it is not ours.

        If an equal event came meanwhile the two become one, with the higher count of deliveries and the shorter wait.
        """
        visible_at = self._at(delay)
        with self._db.transaction() as db:
            for lease in leases:
                self._release(db, lease, visible_at)

    def _release(self, db: sqlite3.Connection, lease: Lease, visible_at: int) -> None:
        mine = db.execute(_MINE, (lease.id, lease.token)).fetchone()
        if mine is None:
            return
        number, pipeline, key, hint, receives = mine
        other = db.execute(_WAITING, (pipeline, key, hint)).fetchone()
        if other is None:
            db.execute(_RELEASE, (visible_at, number))
            return
        db.execute(_MERGE, (receives, visible_at, other[0]))
        db.execute("delete from queue_events where id = ?", (number,))

    def recall(self, pipeline: str) -> None:
        """Let every leased event be seen at once: its holder is dead. Only before any worker of the root has begun."""
        now = self._at()
        with self._db.transaction() as db:
            db.execute(_RECALL, (now, pipeline, now))

    def empty(self, pipeline: str) -> bool:
        """Whether no event waits (delayed ones included) and none is leased: cheap, however many there are."""
        (found,) = self._db.connection().execute(_EMPTY, (pipeline,)).fetchone()
        return bool(found)

    def replaying(self, pipeline: str) -> bool:
        """Whether a replay is under way: an event that asks for one waits or is leased."""
        return self._db.connection().execute(_REPLAYING, (pipeline,)).fetchone() is not None

    def depth(self, pipeline: str) -> tuple[int, int]:
        """How many events wait (delayed ones included), and how many are leased. Counts them: not for polling."""
        waiting, leased = self._db.connection().execute(_DEPTH, (self._at(), pipeline)).fetchone()
        return waiting, leased

    def _at(self, delay: timedelta = timedelta(0)) -> int:
        return (self._clock.now() + delay - EPOCH) // timedelta(microseconds=1)


def _by_token(leases: Sequence[Lease]) -> dict[str, list[Lease]]:
    found: dict[str, list[Lease]] = defaultdict(list)
    for lease in leases:
        found[lease.token].append(lease)
    return found
