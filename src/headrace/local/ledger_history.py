"""Reading the ledger: for people (history, status, explain), for queries (which files stand) and for housekeeping.

Nothing here changes what stands; the only writes are messages sent and files forgotten.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from headrace.local.ledger_corrections import SqliteCorrections
from headrace.local.ledger_rows import file_of, files_query, load_of, shape_of
from headrace.model.accounts import Census
from headrace.model.contract import Contract
from headrace.model.errors import InfrastructureError, UsageError
from headrace.model.loads import Counts, DataFile, Load, LoadState, Outline, Revision, Shape
from headrace.model.times import instant_of, text_of

_PIPELINES = """
    with recursive names(name) as (
        select min(pipeline) from revisions
        union all select (select min(pipeline) from revisions where pipeline > name) from names where name is not null
    ) select name from names
"""
"""Every pipeline that ever recorded a revision, one step in the index for each. The last row is null."""


class SqliteHistory(SqliteCorrections):
    """The reading half of a ledger."""

    # -- loads ---------------------------------------------------------------------------------------------------

    def load(self, id: str) -> Load | None:
        row = self._db.connection().execute("select * from loads where id = ?", (id,)).fetchone()
        return load_of(row) if row else None

    def keys_of(self, loads: Iterable[str]) -> dict[str, str]:
        """The key of each of the loads, given by id, that there ever was."""
        rows = self._db.connection().execute(
            "select id, key from loads where id in (select value from json_each(?))", (json.dumps(list(loads)),)
        )
        return dict(rows.fetchall())

    def history(
        self, key: str | None = None, since: datetime | None = None, limit: int | None = None, after: int = 0
    ) -> list[Load]:
        """Loads as they were first seen, newest last. With `limit`, the newest so many."""
        where, values = ["+pipeline = ?"], [self.pipeline]  # the plus: walk back by seq, do not sort a million rows
        if key is not None:
            where = ["pipeline = ?", "key = ?"]
            values.append(key)
        if since is not None:
            where.append("seen_at >= ?")
            values.append(text_of(since))
        rows = self._db.connection().execute(
            f"select * from loads where {' and '.join(where)} and seq > ? order by seq desc limit ?",
            (*values, after, -1 if limit is None else limit),
        )
        return [load_of(row) for row in rows][::-1]

    def last_seq(self) -> int:
        (n,) = self._db.connection().execute("select coalesce(max(seq), 0) from loads").fetchone()
        return int(n)

    def in_state(self, *states: str) -> list[Load]:
        """Loads in any of the live states, oldest first."""
        marks = ",".join("?" * len(states))
        rows = self._db.connection().execute(
            f"select * from loads where pipeline = ? and state in ({marks}) order by seq", (self.pipeline, *states)
        )
        return [load_of(row) for row in rows]

    def retired(self, keys: Iterable[str]) -> list[Load]:
        """What stood under these keys once and does no more, as far as it is remembered."""
        rows = self._db.connection().execute(
            "select * from loads where pipeline = ? and key in (select value from json_each(?)) and state = 'retired'",
            (self.pipeline, json.dumps(list(keys))),
        )
        return [load_of(row) for row in rows]

    def outline(self, after: str = "") -> Iterator[Outline]:
        """Every load of a key beyond `after` that is not history, by key and oldest first, without holding them all."""
        rows = self._db.connection().execute(
            "select key, id, version, contract, corrections, state, fingerprint, stale from loads where pipeline = ?"
            " and state in ('seen', 'staged', 'dead', 'decided', 'standing', 'skipped') and key > ? order by key, seq",
            (self.pipeline, after),
        )
        for key, id, version, contract, corrections, state, fingerprint, stale in rows:
            yield Outline(key, id, version, contract, corrections, LoadState(state), fingerprint, bool(stale))

    def standing(self) -> dict[str, Load]:
        """What stands under each key, skipped twins included."""
        return {x.key: x for x in self.in_state("decided", "standing", "skipped")}

    def count_standing(self) -> int:
        """Under how many keys something stands, skipped twins included: counted in an index."""
        query = "select count(*) from loads where pipeline = ? and state in ('decided', 'standing', 'skipped')"
        return int(self._db.connection().execute(query, (self.pipeline,)).fetchone()[0])

    def wanted(self, loads: Iterable[str]) -> set[str]:
        """Those of the loads, given by id, that stand or may come to stand without being read again."""
        return self._among(loads, "seen", "staged", "decided", "standing")

    def standing_among(self, loads: Iterable[str]) -> set[str]:
        """Those of the loads, given by id, that stand."""
        return self._among(loads, "decided", "standing")

    def _among(self, loads: Iterable[str], *states: str) -> set[str]:
        ids = json.dumps(list(loads))
        if ids == "[]":
            return set()
        rows = self._db.connection().execute(
            "select id from loads where id in (select value from json_each(?))"
            " and state in (select value from json_each(?))",
            (ids, json.dumps(states)),
        )
        return {id for (id,) in rows}

    def dead(self) -> list[Load]:
        """Objects that cannot load as they are."""
        return self.in_state("dead")

    def outdated(self, digest: str) -> list[Load]:
        """Standing loads of another contract than this."""
        return [x for x in self.in_state("decided", "standing") if x.contract != digest]

    def twins(self, version: str) -> list[Load]:
        """Live loads of these bytes under any key."""
        rows = self._db.connection().execute(
            "select * from loads where pipeline = ? and version = ? and state in"
            " ('seen', 'staged', 'decided', 'standing', 'skipped') order by arrived_at, key",
            (self.pipeline, version),
        )
        return [load_of(row) for row in rows]

    def repeated(self, versions: Iterable[str]) -> set[str]:
        """Those of the versions that more than one live load has."""
        rows = self._db.connection().execute(
            "select version from loads where pipeline = ? and version in (select value from json_each(?)) and state in"
            " ('seen', 'staged', 'decided', 'standing', 'skipped') group by version having count(*) > 1",
            (self.pipeline, json.dumps(list(versions))),
        )
        return {version for (version,) in rows}

    def census(self, digest: str) -> Census:
        """The numbers that health is told by, counted in indexes: no load is read. `digest`: the present contract."""
        db = self._db.connection()
        states = db.execute(
            "select state, count(*) from loads where pipeline = ? and state in"
            " ('seen', 'staged', 'dead', 'decided', 'standing', 'skipped') group by state",
            (self.pipeline,),
        ).fetchall()
        outdated, stale = db.execute(
            "select coalesce(sum(contract <> ?), 0), coalesce(sum(stale), 0) from loads"
            " where pipeline = ? and state in ('decided', 'standing')",
            (digest, self.pipeline),
        ).fetchone()
        (held,) = db.execute(
            "select count(*) from hints where pipeline = ? and held is not null and confirmed = 0", (self.pipeline,)
        ).fetchone()
        return Census(dict(map(tuple, states)), outdated, stale, held)

    def any_in_state(self, *states: str) -> bool:
        """Whether there is a load in any of these states."""
        marks = ",".join("?" * len(states))
        query = f"select exists (select 1 from loads where pipeline = ? and state in ({marks}))"
        return bool(self._db.connection().execute(query, (self.pipeline, *states)).fetchone()[0])

    def totals(self) -> Counts:
        """The accounting of everything that stands."""
        row = (
            self._db.connection()
            .execute(
                "select coalesce(sum(read), 0), coalesce(sum(accepted), 0), coalesce(sum(rejected), 0),"
                " coalesce(sum(filtered), 0), coalesce(sum(loaded), 0), coalesce(sum(duplicate), 0),"
                " coalesce(sum(conflict), 0) from loads where pipeline = ? and state in ('decided', 'standing')",
                (self.pipeline,),
            )
            .fetchone()
        )
        return Counts(*row)

    def contract(self, digest: str) -> Contract:
        row = self._db.connection().execute("select body from contracts where digest = ?", (digest,)).fetchone()
        if row is None:
            raise InfrastructureError("HR528", digest, "this contract is not in the ledger", "restore a backup")
        return Contract.from_dict(json.loads(row[0]))

    def known_since(self) -> datetime | None:
        """When the pipeline was first opened here, under whichever contract."""
        query = "select min(at) from contracts where json_extract(body, '$.pipeline') = ?"
        (at,) = self._db.connection().execute(query, (self.pipeline,)).fetchone()
        return instant_of(at) if at else None

    def last_arrival(self) -> datetime | None:
        """When a version that was not there already was last seen under any key; no replay, redrive or correction."""
        query = "select value from meta where key = 'arrived ' || ?"
        row = self._db.connection().execute(query, (self.pipeline,)).fetchone()
        return instant_of(row[0]) if row else None

    # -- files and revisions -------------------------------------------------------------------------------------

    def files(self, kind: str, at: int | None = None) -> list[DataFile]:
        where = "pipeline = ? and kind = ? and added is not null and removed is null"
        values: tuple[Any, ...] = (self.pipeline, kind)
        if at is not None:
            where = "pipeline = ? and kind = ? and added <= ? and (removed is null or removed > ?)"
            values = (self.pipeline, kind, at, at)
        return [file_of(row) for row in self._db.connection().execute(files_query(where), values)]

    def standing_paths(self) -> list[str]:
        """Where the files are that stand now, of every kind."""
        rows = self._db.connection().execute(
            "select path from files where pipeline = ? and added is not null and removed is null", (self.pipeline,)
        )
        return [path for (path,) in rows]

    def overlapping(self, kind: str, lo: Any, hi: Any) -> list[DataFile]:
        """Standing files whose first key column may hold a value in [lo, hi], or of unknown range."""
        where = (
            "pipeline = ? and kind = ? and removed is null and added is not null"
            " and (lo is null or (lo <= ? and hi >= ?))"
        )
        rows = self._db.connection().execute(files_query(where), (self.pipeline, kind, hi, lo))
        return [file_of(row) for row in rows]

    def files_of(self, loads: Iterable[str], *, staged: bool) -> list[DataFile]:
        """Files that hold rows of these loads: the staged ones, or the standing ones."""
        ids = list(loads)
        state = "added is null and doomed is null" if staged else "added is not null and removed is null"
        found: dict[str, DataFile] = {}
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ",".join("?" * len(some))
            where = f"{state} and id in (select file from file_loads where load in ({marks}))"
            for row in self._db.connection().execute(files_query(where), some):
                found[row["path"]] = file_of(row)
        return list(found.values())

    def sinks(self) -> dict[str, int]:
        """The number each sink was last seen at."""
        rows = self._db.connection().execute("select sink, number from sinks where pipeline = ?", (self.pipeline,))
        return dict(map(tuple, rows))

    def revisions(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Numbers, instants, reasons and how many loads each decided and retired; newest last."""
        rows = self._db.connection().execute(
            "select number, at, reason, (select count(*) from loads l where l.pipeline = r.pipeline and"
            " l.decided = r.number) as decided, (select count(*) from loads l where l.pipeline = r.pipeline and"
            " l.retired = r.number) as retired from revisions r where pipeline = ? order by number desc limit ?",
            (self.pipeline, -1 if limit is None else limit),
        )
        return [dict(row) for row in rows][::-1]

    def head(self) -> int:
        return self._head(self._db.connection())

    def _head(self, db: sqlite3.Connection) -> int:
        (n,) = db.execute(
            "select coalesce(max(number), 0) from revisions where pipeline = ?", (self.pipeline,)
        ).fetchone()
        return int(n)

    def shape(self, number: int | None = None) -> Shape | None:
        """The tables' shape after that revision; None before the first."""
        row = (
            self._db.connection()
            .execute(
                "select shape from revisions where pipeline = ? and number = ?",
                (self.pipeline, self.head() if number is None else number),
            )
            .fetchone()
        )
        return shape_of(row[0]) if row else None

    def revision(self, number: int) -> Revision:
        db = self._db.connection()
        row = db.execute(
            "select * from revisions where pipeline = ? and number = ?", (self.pipeline, number)
        ).fetchone()
        if row is None:
            raise InfrastructureError("HR527", self.pipeline, f"revision {number} is not in the ledger")
        asked = (self.pipeline, number)
        return Revision(
            pipeline=self.pipeline,
            number=number,
            at=instant_of(row["at"]),
            reason=row["reason"],
            added=tuple(map(file_of, db.execute(files_query("pipeline = ? and kind = 'data' and added = ?"), asked))),
            removed=tuple(
                map(file_of, db.execute(files_query("pipeline = ? and kind = 'data' and removed = ?"), asked))
            ),
            columns=shape_of(row["shape"]).columns,
            standing=self._ids_of("decided", number),
            retired=self._ids_of("retired", number),
        )

    def _ids_of(self, column: str, number: int) -> tuple[str, ...]:
        rows = self._db.connection().execute(
            f"select id from loads where pipeline = ? and {column} = ? order by seq", (self.pipeline, number)
        )
        return tuple(id for (id,) in rows)

    def standing_number(self) -> int:
        """The newest revision that every known sink has."""
        return min(self.sinks().values(), default=0)

    def held(self) -> list[str]:
        """Keys whose retraction waits for a person."""
        rows = self._db.connection().execute(
            "select key from hints where pipeline = ? and held is not null and confirmed = 0 order by key",
            (self.pipeline,),
        )
        return [key for (key,) in rows]

    # -- messages and housekeeping -------------------------------------------------------------------------------

    def messages(self, state: str = "ready", limit: int = 100) -> list[dict[str, Any]]:
        rows = self._db.connection().execute(
            "select * from outbox where pipeline = ? and state = ? order by id limit ?", (self.pipeline, state, limit)
        )
        return [dict(row) for row in rows]

    def sent(self, ids: Sequence[int]) -> None:
        with self._db.transaction() as db:
            db.executemany("update outbox set state = 'sent' where id = ?", [(i,) for i in ids])

    def trash(self) -> list[str]:
        """Paths that nothing ever referred to, or will: of abandoned loads, and of staged files written anew."""
        rows = self._db.connection().execute(
            "select path from files where pipeline = ? and added is null and (doomed is not null or not exists"
            " (select 1 from file_loads s join loads l on l.id = s.load where s.file = files.id"
            " and l.state = 'staged'))",
            (self.pipeline,),
        )
        return [path for (path,) in rows]

    def retired_files(self, upto: int) -> list[tuple[DataFile, datetime]]:
        """Files that a revision up to that one removed, and when; the oldest first."""
        when = dict(
            self._db.connection()
            .execute("select number, at from revisions where pipeline = ? and number <= ?", (self.pipeline, upto))
            .fetchall()
        )
        query = files_query("pipeline = ? and removed <= ?").replace("select path", "select removed, path")
        rows = self._db.connection().execute(query, (self.pipeline, upto)).fetchall()
        found = [(file_of(row), instant_of(when[row["removed"]])) for row in rows]
        return sorted(found, key=lambda entry: entry[1])

    def forget_files(self, paths: Iterable[str]) -> None:
        """Drop rows of files that were deleted from disk."""
        with self._db.transaction() as db:
            db.executemany("delete from files where path = ?", [(p,) for p in paths])

    def known_paths(self, below: str) -> set[str]:
        """Every path below a folder that any pipeline of this root knows, whatever its state."""
        rows = self._db.connection().execute("select path from files where path >= ? and path < ?", _below(below))
        return {path for (path,) in rows}

    def strangers(self, below: str) -> list[str]:
        """Other pipelines whose standing rows are in files below a folder."""
        db = self._db.connection()
        if not any(name not in (self.pipeline, None) for (name,) in db.execute(_PIPELINES)):
            return []  # most roots: no file has to be looked at
        rows = db.execute(
            "select distinct pipeline from files where path >= ? and path < ? and pipeline <> ? and added is not null"
            " and removed is null order by pipeline",
            (*_below(below), self.pipeline),
        )
        return [name for (name,) in rows]

    def filled_by(self, sink: str) -> str | None:
        """Another pipeline that this root last saw fill a sink of that name."""
        query = "select pipeline from sinks where sink = ? and pipeline <> ? and number > 0"
        row = self._db.connection().execute(query, (sink, self.pipeline)).fetchone()
        return row[0] if row else None

    def find_load(self, id: str) -> Load:
        found = self.load(id)
        if found is None:
            raise UsageError("HR130", id, "there is no such load", "see `headrace history`")
        return found


def _below(folder: str) -> tuple[str, str]:
    """Bounds of the paths below a folder: `0` follows `/`."""
    return f"{folder}/", f"{folder}0"
