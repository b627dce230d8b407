"""The ledger of one pipeline in SQLite: what was seen, staged and decided. See `ledger_schema.sql`.

Every method is one transaction. Only `record` moves the head, by compare-and-swap: that is what makes a second
publisher harmless. Reading for people lives in `ledger_history.py`.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.resources import files as package_files

from headrace.local.database import Database
from headrace.local.ledger_hints import SqliteHints
from headrace.local.ledger_rows import COUNTS, counts_values, load_of, shape_text
from headrace.local.queue import SqliteQueue
from headrace.model.accounts import check_files, check_load, check_staged
from headrace.model.contract import Contract
from headrace.model.errors import LeaseLost, RevisionRefused
from headrace.model.identity import identify
from headrace.model.loads import (
    Alert,
    Arrival,
    Counts,
    DataFile,
    Decision,
    FileKind,
    Lease,
    Load,
    LoadState,
    Settlement,
    Staged,
)
from headrace.model.times import text_of
from headrace.model.waiting import Waiting, first_of
from headrace.ports import Clock

SCHEMA = package_files("headrace.local").joinpath("ledger_schema.sql").read_text()


class SqliteLedger(SqliteHints):
    """ports.Ledger for one pipeline."""

    def __init__(self, database: Database, queue: SqliteQueue, pipeline: str, clock: Clock) -> None:
        super().__init__(database, pipeline, clock)
        self._queue = queue

    # -- arriving ------------------------------------------------------------------------------------------------

    def keep_contract(self, contract: Contract) -> None:
        """Store what loads will refer to by digest."""
        with self._db.transaction() as db:
            db.execute(
                "insert or ignore into contracts values (?, ?, ?)",
                (contract.digest, json.dumps(contract.to_dict()), text_of(self._clock.now())),
            )

    def pin(self, arrivals: Sequence[Arrival]) -> list[Load]:
        with self._db.transaction() as db:
            live = self.live([a.key for a in arrivals])
            (seq,) = db.execute("select coalesce(max(seq), 0) from loads").fetchone()
            fresh: list[Load] = []
            found = []
            arrived = False
            for arrival in arrivals:
                there = live.get(arrival.key, [])
                arrived |= all(x.version != arrival.version for x in there)
                identity = identify(arrival, there[::-1])
                self._move(db, [x.id for x in identity.overtaken], LoadState.ABANDONED)
                if identity.load is not None:
                    load = self._touched(db, identity.load, arrival)
                else:
                    load = self._new(arrival, identity.arrived_at, seq + len(fresh) + 1)
                    fresh.append(load)
                    live.setdefault(arrival.key, []).append(load)
                found.append(load)
            self._insert(db, fresh, seq)
            if arrived:
                now = text_of(self._clock.now())
                db.execute("insert or replace into meta values ('arrived ' || ?, ?)", (self.pipeline, now))
            return found

    def _touched(self, db: sqlite3.Connection, load: Load, a: Arrival) -> Load:
        """The same bytes, written again perhaps: only how they are told apart cheaply has changed."""
        if load.fingerprint != a.fingerprint:
            db.execute("update loads set fingerprint = ? where id = ?", (a.fingerprint, load.id))
        return replace(load, fingerprint=a.fingerprint)

    def _new(self, a: Arrival, arrived_at: datetime, seq: int) -> Load:
        return Load(
            id=f"{self.pipeline}.{seq}",
            pipeline=self.pipeline,
            key=a.key,
            version=a.version,
            contract=a.contract,
            corrections=a.corrections,
            arrived_at=arrived_at,
            state=LoadState.SEEN,
            size=a.size,
            fingerprint=a.fingerprint,
            seen_at=self._clock.now(),
        )

    def _insert(self, db: sqlite3.Connection, loads: Sequence[Load], after: int) -> None:
        now = text_of(self._clock.now())
        db.executemany(
            "insert into loads (seq, id, pipeline, key, version, contract, corrections, arrived_at, state, size,"
            " fingerprint, seen_at) values (?, ?, ?, ?, ?, ?, ?, ?, 'seen', ?, ?, ?)",
            [
                (seq, x.id, x.pipeline, x.key, x.version, x.contract, x.corrections, text_of(x.arrived_at))
                + (x.size, x.fingerprint, now)
                for seq, x in enumerate(loads, after + 1)
            ],
        )

    def earlier_twin(self, load: Load) -> Load | None:
        """A live load of another key with the same bytes and an earlier place in the order."""
        row = (
            self._db.connection()
            .execute(
                "select * from loads where pipeline = ? and version = ? and key <> ?"
                " and state in ('seen', 'staged', 'decided', 'standing')"
                " and (arrived_at, key) < (?, ?) order by arrived_at, key limit 1",
                (self.pipeline, load.version, load.key, text_of(load.arrived_at), load.key),
            )
            .fetchone()
        )
        return load_of(row) if row else None

    def skip(self, load: str) -> None:
        """Leave a seen load unread because of its twin."""
        with self._db.transaction() as db:
            db.execute("update loads set state = 'skipped' where id = ? and state = 'seen'", (load,))

    def take_up(self, load: str) -> Load:
        """A new load in place of a skipped one, whose twin has gone. What is live, if another worker was faster.

        New, because the old one may have been staged before its twin came: no load is ever staged twice.
        """
        with self._db.transaction() as db:
            old = load_of(db.execute("select * from loads where id = ?", (load,)).fetchone())
            if old.state is not LoadState.SKIPPED:
                newer = db.execute(
                    "select * from loads where pipeline = ? and key = ? and version = ? order by seq desc limit 1",
                    (self.pipeline, old.key, old.version),
                )
                return load_of(newer.fetchone())
            self._move(db, [load], LoadState.ABANDONED)
            (seq,) = db.execute("select max(seq) from loads").fetchone()
            new = replace(old, id=f"{self.pipeline}.{seq + 1}", state=LoadState.SEEN, counts=Counts(), decided=None)
            self._insert(db, [new], seq)
            return new

    # -- staging -------------------------------------------------------------------------------------------------

    def stage(self, staged: Sequence[Staged], files: Sequence[DataFile], leases: Sequence[Lease]) -> None:
        check_staged(staged, files)
        with self._db.transaction() as db:
            marks = ",".join("?" * len(staged))
            ids = [s.load for s in staged]
            seen = {x for (x,) in db.execute(f"select id from loads where state = 'seen' and id in ({marks})", ids)}
            torn = next((f for f in files if not seen.isdisjoint(f.loads) and not seen.issuperset(f.loads)), None)
            if torn is None:
                self._mark_staged(db, [s for s in staged if s.load in seen])
            for file in files:
                self._insert_file(db, file, doomed=torn is not None or seen.isdisjoint(file.loads))
            if torn is None:
                # What was abandoned meanwhile may be just what the store holds: somebody has to look.
                db.executemany(
                    "insert into hints (pipeline, key, asked) select pipeline, key, random() from loads"
                    " where id = ? and state = 'abandoned'"
                    " on conflict (pipeline, key) do update set asked = excluded.asked",
                    [(x,) for x in ids if x not in seen],
                )
                self._acknowledge(db, leases)
        if torn is not None:  # after the commit: these files are trash, and known as such
            raise LeaseLost("HR525", torn.path, "another worker staged part of this batch", "nothing to do")

    def _mark_staged(self, db: sqlite3.Connection, staged: Sequence[Staged]) -> None:
        now = text_of(self._clock.now())
        db.executemany(
            f"update loads set state = 'staged', dialect = ?, seconds = ?, staged_at = ?, {COUNTS} where id = ?",
            [(json.dumps(dict(s.dialect)), s.seconds, now, *counts_values(s.counts), s.load) for s in staged],
        )
        self._insert_alerts(db, [alert for s in staged for alert in s.alerts], None)

    def bury(self, load: str, cause: str, leases: Sequence[Lease]) -> None:
        with self._db.transaction() as db:
            db.execute("update loads set state = 'dead', cause = ? where id = ? and state = 'seen'", (cause, load))
            (key,) = db.execute("select key from loads where id = ?", (load,)).fetchone()
            self._hint(db, [key])
            self._acknowledge(db, leases)

    def hint(self, keys: Iterable[str], leases: Sequence[Lease] = ()) -> None:
        """Ask the publisher to look at keys whose object is gone or in doubt, and acknowledge their events."""
        with self._db.transaction() as db:
            self._hint(db, keys)
            self._acknowledge(db, leases)

    def _acknowledge(self, db: sqlite3.Connection, leases: Sequence[Lease]) -> None:
        try:
            self._queue.acknowledge_in(db, leases)
        except LeaseLost:
            # Somebody else holds the event now and will find this work done. Losing it here would do it twice.
            pass

    # -- deciding ------------------------------------------------------------------------------------------------

    def pending(self, most: float = math.inf, beside: Iterable[str] = ()) -> set[str]:
        """Keys with staged loads that wait for the publisher. What was staged together is known by its files."""
        waiting = "select key from loads where pipeline = ? and state = 'staged'"
        if most == math.inf:
            return {key for (key,) in self._db.connection().execute(waiting, (self.pipeline,))}
        files: dict[object, tuple[int, set[str], int]] = {}
        for seq, key, file, size in self._db.connection().execute(
            "select l.seq, l.key, f.id, f.size from loads l left join file_loads x on x.load = l.id"
            " left join files f on f.id = x.file and f.added is null and f.doomed is null"
            " where l.pipeline = ? and l.state = 'staged'",
            (self.pipeline,),
        ):
            order, keys, _ = files.get(file or f"load {seq}", (seq, set(), 0))
            files[file or f"load {seq}"] = min(order, seq), keys | {key}, size or 0
        return first_of((Waiting(order, frozenset(keys), size) for order, keys, size in files.values()), most, beside)

    def live(self, keys: Sequence[str]) -> dict[str, list[Load]]:
        """Every load of those keys that is not history yet, oldest first."""
        found: dict[str, list[Load]] = {}
        db = self._db.connection()
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            marks = ",".join("?" * len(some))
            for row in db.execute(
                f"select * from loads where pipeline = ? and key in ({marks}) and state in"
                " ('seen', 'staged', 'dead', 'decided', 'standing', 'skipped') order by seq",
                (self.pipeline, *some),
            ):
                found.setdefault(row["key"], []).append(load_of(row))
        return found

    def record(self, decision: Decision) -> None:
        d, n, now = decision, decision.number, self._clock.now()
        with self._db.transaction() as db:
            if n != self._head(db) + 1:
                raise RevisionRefused("HR526", self.pipeline, f"revision {n} is not the next one", "start again")
            db.execute(
                "insert into revisions values (?, ?, ?, ?, ?)",
                (self.pipeline, n, text_of(now), d.reason, shape_text(d.shape)),
            )
            for file in d.fresh:
                self._insert_file(db, file, added=n)
            _update_files(db, "added = ?", n, d.adopted)
            _update_files(db, "removed = ?", n, d.removed)
            _update_files(db, "doomed = ?", text_of(now), d.doomed)
            self._move(db, d.retired, LoadState.RETIRED, f"retired = {n}, stale = 0")
            self._move(db, d.standing, LoadState.DECIDED, f"decided = {n}")
            self._recount(db, d.counts)
            self._settle(db, d.settlement, n)
            check_files(d.fresh)
            self._check_accounts(db, {*d.standing, *d.counts, *(load for f in d.fresh for load in f.loads)})

    def settle(self, settlement: Settlement) -> None:
        """Record what a look settled without changing any row: no revision is needed."""
        with self._db.transaction() as db:
            self._settle(db, settlement, self._head(db))

    def _settle(self, db: sqlite3.Connection, s: Settlement, revision: int) -> None:
        self._move(db, s.abandoned, LoadState.ABANDONED)
        self._move(db, s.skipped, LoadState.SKIPPED, "stale = 0")
        db.executemany("update loads set stale = 1 where id = ?", [(x,) for x in s.stale])
        db.executemany("update loads set stale = 0 where id = ?", [(x,) for x in s.recovered])
        self._forget(db, s.forgotten)
        self._insert_alerts(db, s.alerts, revision)

    def mark(self, sink: str, number: int) -> None:
        """Remember what a sink said of itself. It holds this pipeline's rows now, whosever they were before."""
        with self._db.transaction() as db:
            db.execute("insert or replace into sinks values (?, ?, ?)", (self.pipeline, sink, number))
            db.execute("delete from sinks where sink = ? and pipeline <> ?", (sink, self.pipeline))

    def forget_sink(self, sink: str) -> None:
        """A sink that the definition no longer has holds nothing back; if it returns it is filled as a new one."""
        with self._db.transaction() as db:
            db.execute("delete from sinks where pipeline = ? and sink = ?", (self.pipeline, sink))

    def stand(self, number: int) -> None:
        """Every sink is at `number` or beyond: its loads stand, and messages about them may go out.

        What was to be said of a load that never came to stand, or does so no more, is dropped.
        """
        with self._db.transaction() as db:
            db.execute(
                # the plus: look among the few that are decided, not through every revision so far
                "update loads set state = 'standing' where pipeline = ? and state = 'decided' and +decided <= ?",
                (self.pipeline, number),
            )
            db.execute(
                "delete from outbox where pipeline = ? and state = 'waiting' and exists"
                " (select 1 from loads l where l.id = outbox.load and l.state in ('abandoned', 'retired'))",
                (self.pipeline,),
            )
            db.execute(
                "update outbox set state = 'ready' where pipeline = ? and state = 'waiting' and (load is null or exists"
                " (select 1 from loads l where l.id = outbox.load and l.state in ('standing', 'dead')))",
                (self.pipeline,),
            )

    # -- pieces --------------------------------------------------------------------------------------------------

    def _move(self, db: sqlite3.Connection, loads: Iterable[str], state: LoadState, also: str = "") -> None:
        setting = f"state = '{state}'" + (f", {also}" if also else "")
        db.executemany(f"update loads set {setting} where id = ?", [(x,) for x in loads])

    def _recount(self, db: sqlite3.Connection, counts: Mapping[str, Counts]) -> None:
        db.executemany(f"update loads set {COUNTS} where id = ?", [(*counts_values(c), x) for x, c in counts.items()])

    def _check_accounts(self, db: sqlite3.Connection, loads: Iterable[str]) -> None:
        """What stands from now on: the counts of each of these loads are the rows in its files."""
        asked = json.dumps(list(loads))
        held: dict[str, dict[FileKind, int]] = {}
        for load, kind, rows in db.execute(
            "select l.load, f.kind, sum(l.rows) from file_loads l join files f on f.id = l.file where l.load in"
            " (select value from json_each(?)) and f.added is not null and f.removed is null group by 1, 2",
            (asked,),
        ):
            held.setdefault(load, {})[kind] = rows
        for load, *counts in db.execute(
            "select id, read, accepted, rejected, filtered, loaded, duplicate, conflict from loads"
            " where id in (select value from json_each(?)) and state in ('decided', 'standing')",
            (asked,),
        ):
            check_load(load, Counts(*counts), held.get(load, {}))

    def _insert_file(
        self, db: sqlite3.Connection, file: DataFile, *, added: int | None = None, doomed: bool = False
    ) -> None:
        lo, hi = file.ranges[0] if file.ranges else (None, None)
        cursor = db.execute(
            "insert into files (pipeline, path, kind, rows, size, partition, ranges, lo, hi, added, doomed)"
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.pipeline, file.path, file.kind, file.rows, file.size, json.dumps(dict(file.partition)))
            + (json.dumps(file.ranges), lo, hi, added, text_of(self._clock.now()) if doomed else None),
        )
        db.executemany(
            "insert into file_loads values (?, ?, ?)", [(cursor.lastrowid, x, n) for x, n in file.loads.items()]
        )

    def _insert_alerts(self, db: sqlite3.Connection, alerts: Iterable[Alert], revision: int | None) -> None:
        now = text_of(self._clock.now())
        db.executemany(
            "insert into outbox (name, pipeline, load, revision, subject, body, state, at)"
            " values (?, ?, ?, ?, ?, ?, 'waiting', ?) on conflict (pipeline, name)"
            " do update set load = excluded.load, revision = excluded.revision where state = 'waiting'",
            [(a.name, self.pipeline, a.load or None, revision, a.subject, a.body, now) for a in alerts],
        )


def _update_files(db: sqlite3.Connection, setting: str, value: object, paths: Iterable[str]) -> None:
    db.executemany(f"update files set {setting} where path = ?", [(value, p) for p in paths])
