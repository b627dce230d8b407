"""Which rows win: accepted rows with one key, resolved over everything that will stand.

Given the loads that begin and cease to stand, this finds the keys whose outcome may change, ranks their rows, and
rewrites only the files in which a row changes sides. `F` of the law, computed from what changed. The publisher calls it
just before it records a revision; what it writes is durable before it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import duckdb

from headrace.engine.base import BaseWriter, base_lost, file_list, key_columns, lost, quoted
from headrace.engine.home import Home
from headrace.engine.sql import engine_connection, scalar
from headrace.model.contract import LINEAGE
from headrace.model.loads import Counts, DataFile, Load, Shape

IDENTITY = "_load_id, _source_file, _source_row"


@dataclass(slots=True)
class Resolution:
    """What the revision does to files and counts. Paths are of the base."""

    fresh: list[DataFile] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    doomed: list[str] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)


def resolve(home: Home, number: int, shape: Shape, files: Change) -> Resolution:
    """Resolve a change of the standing loads into files to add and remove, and counts.

    `shape.columns` are the columns of every row from now on; files of older loads may lack some (null).
    Raises BaseLost if a file that must be read is not there. A file whose loads all go has nothing to carry over.
    """
    result = Resolution(counts=dict(files.counts))
    if not files.needs_query:
        files.settle(result, rewritten=())
        return result
    files.require()
    with engine_connection(
        home.settings.engine_memory, home.settings.threads, [home.root], home.root / "spool"
    ) as connection:
        contest = Contest(connection, home, shape, files, f"{home.name}.r{number}-{home.token()}")
        result.fresh = contest.run(result.counts)
        home.files.keep(result.fresh)
        files.settle(result, contest.rewritten)
    return result


class Change:
    """The files that a change of loads concerns, as the ledger says."""

    def __init__(self, home: Home, shape: Shape, coming: Sequence[Load], going: Sequence[Load]) -> None:
        self.counts = {x.id: x.counts for x in coming}
        self.coming = set(self.counts)
        self.going = {x.id for x in going}
        self.staged = home.ledger.files_of(self.coming, staged=True)
        self.leaving = home.ledger.files_of(self.going, staged=False)
        self._home = home
        self._staged = {f.path for f in self.staged}
        self.key = key_columns(home.contract, [n for n, _ in shape.columns])
        old = home.ledger.shape()
        self.reshaped = old is not None and not old.admits(shape)  # then everything goes, and had other keys
        searched = bool(self.key) and not self.reshaped
        self.data = self._near(home, "data") if searched else []
        self.losers = self._near(home, "losers") if searched else []

    def _near(self, home: Home, kind: str) -> list[DataFile]:
        """Standing files that may hold a key of the coming rows, or of the going ones (their losers may win now)."""
        concerned = [f for f in self.staged if f.kind != "rejected"]
        concerned += [f for f in self.leaving if f.kind == "data" and kind == "losers"]
        concerned += [f for f in self.leaving if f.kind == "losers" and kind == "data"]
        if not concerned:
            return []
        bounds = None
        if any(not f.ranges for f in concerned):
            found = home.ledger.files(kind)
        else:
            bounds = [
                (min(f.ranges[i][0] for f in concerned), max(f.ranges[i][1] for f in concerned))
                for i in range(len(concerned[0].ranges))
            ]
            found = home.ledger.overlapping(kind, *bounds[0])
        found = [f for f in found if not self.going.issuperset(f.loads)]
        return [f for f in found if bounds is None or _meets(f, bounds)]

    def _dirty(self, file: DataFile) -> bool:
        """Holds rows that must not stand beside rows that do."""
        if file.kind == "rejected":
            return False
        if any(load in self.going for load in file.loads):
            return not self.going.issuperset(file.loads)
        return file.path in self._staged and not self.coming.issuperset(file.loads)

    @cached_property
    def lost(self) -> set[str]:
        """Those that leave and cannot be read; all others are below the root from now on."""
        return {f.path for f in self._home.files.bring(self._read())}

    def _read(self) -> list[DataFile]:
        """Everything that a query may have to read."""
        rows = [f for f in [*self.staged, *self.leaving] if f.kind != "rejected"]
        return [*rows, *self.data, *self.losers]

    @cached_property
    def dirty(self) -> list[DataFile]:
        return [f for f in [*self.staged, *self.leaving] if self._dirty(f)]

    @property
    def needs_query(self) -> bool:
        """Whether any row may change sides, or any file must be split."""
        if self.dirty or self.data or self.losers:
            return True
        return bool(self.key) and len(self.coming) > 1

    def missing(self) -> set[str]:
        """Of the coming loads, those with a staged file that is not there any more."""
        return {load for f in lost(self._home.files, self.staged) for load in f.loads} & self.coming

    def require(self) -> None:
        """Bring what has to be read. Raises BaseLost unless every standing file of it is there."""
        lost = self.lost
        missing = [f for f in [*self.dirty, *self.data, *self.losers] if f.path in lost]
        if missing:
            raise base_lost(self._home.name, list({f.path: f for f in missing}.values()))

    def excluded(self) -> set[str]:
        """Loads whose rows may be in files at hand but must not stand."""
        return self.going | {load for f in self.staged for load in f.loads if load not in self.coming}

    def settle(self, result: Resolution, rewritten: Iterable[str]) -> None:
        """Say what becomes of every file that was not written anew."""
        gone = set(rewritten)
        result.doomed = sorted(self._staged & gone)
        result.adopted = sorted(self._staged - gone)
        result.removed = sorted((gone - self._staged) | {f.path for f in self.leaving if self._useless(f)})

    def _useless(self, file: DataFile) -> bool:
        """Whether none of the loads in a leaving file stands, or may come to stand, after this change."""
        others = [load for load in file.loads if load not in self.going]
        if file.kind == "rejected":  # never written anew: it holds what left earlier, too
            return not self._home.ledger.wanted(others)
        return not others


class Contest:
    """One resolution on one connection. Temporary tables: `excluded`, `contested` keys, `ranked` rows of them."""

    def __init__(self, db: duckdb.DuckDBPyConnection, home: Home, shape: Shape, files: Change, attempt: str) -> None:
        self._db, self._home, self._shape, self._files = db, home, shape, files
        kinds = dict(shape.columns)
        self._writer = BaseWriter(db, home.root, home.base, attempt, shape.partitions, {n: kinds[n] for n in shape.key})
        self._names = [n for n, _ in shape.columns] + [n for n, _ in LINEAGE]
        self.rewritten: list[str] = []

    def run(self, counts: dict[str, Counts]) -> list[DataFile]:
        """Write what must be written anew, bring `counts` up to date, and leave the replaced paths in `rewritten`."""
        self._load_table("excluded", self._files.excluded())
        changed = bool(self._files.key) and self._rank()
        touched = self._touched() if changed else set()
        if changed:
            self._recount(counts)
        return self._rewrite("data", touched, changed) + self._rewrite("losers", touched, changed)

    # -- ranking -------------------------------------------------------------------------------------------------

    def _rank(self) -> bool:
        """Rank the rows of every contested key into `ranked`; False when no row changes sides."""
        key = ", ".join(map(quoted, self._files.key))
        staged = self._scan([f for f in self._files.staged if f.kind == "data"])
        staged_losers = self._scan([f for f in self._files.staged if f.kind == "losers"], losers=True)
        data, losers = self._scan(self._files.data), self._scan(self._files.losers, losers=True)
        left = [f for f in self._files.leaving if f.kind == "data" and not self._files.reshaped]
        going = self._scan([f for f in left if f.path not in self._files.lost], kept=False)
        freed = self._semi("a", f"(from ({staged}) union all by name ({going}))")
        if any(f.path in self._files.lost for f in left):
            freed = ""  # nobody can tell which keys they had: every loser may win now
        self._db.execute(
            f"create temp table contested as"
            f" select {key} from ({staged}) group by {key} having count(*) > 1"
            f" union select {key} from (select distinct {key} from ({staged})) a {self._semi('a', f'({data})')}"
            f" union select {key} from ({losers}) a {freed}"
        )
        if not scalar(self._db, "select count(*) from contested"):
            return False
        members = " union all by name ".join(
            f"(select * from ({rows}) a {self._semi('a', 'contested')})"
            for rows in (staged, staged_losers, data, losers)
        )
        way = "desc" if self._home.contract.key and self._home.contract.on_conflict == "last" else "asc"
        order = ", ".join(f"{n} {way}" for n in ("_arrived_at", "_source_file", "_source_row", "_load_id"))
        self._db.execute(
            f"create temp table placed as select *, row_number() over (partition by {key} order by {order}) as _place"
            f" from ({members})"
        )
        same = " and ".join(f"r.{quoted(n)} is not distinct from w.{quoted(n)}" for n in self._files.key)
        equal = " and ".join(f"r.{quoted(n)} is not distinct from w.{quoted(n)}" for n, _ in self._shape.columns)
        self._db.execute(
            "create temp table ranked as select r.*, case when r._place = 1 then 'loaded'"
            f" when {equal} then 'duplicate' else 'conflict' end as _now"
            f" from placed r join (from placed where _place = 1) w on {same}"
        )
        self._db.execute("create temp table changed as select * from ranked where _now <> _before")
        return scalar(self._db, "select count(*) from changed") > 0

    def _semi(self, left: str, right: str) -> str:
        same = " and ".join(f"{left}.{quoted(n)} is not distinct from k_.{quoted(n)}" for n in self._files.key)
        return f"semi join {right} k_ on {same}"

    def _touched(self) -> set[str]:
        rows = self._db.execute("select distinct _path from changed").fetchall()
        root = str(self._home.root) + "/"
        return {path.removeprefix(root) for (path,) in rows}

    def _recount(self, counts: dict[str, Counts]) -> None:
        moves = self._db.execute("select _load_id, _before, _now, count(*) from changed group by all").fetchall()
        for load, before, now, n in moves:
            if load not in counts:
                counts[load] = self._home.ledger.find_load(load).counts
            counts[load] = counts[load] + Counts(**{before: -n}) + Counts(**{now: n})

    # -- rewriting -----------------------------------------------------------------------------------------------

    def _rewrite(self, kind: str, touched: set[str], changed: bool) -> list[DataFile]:
        """Write files of a kind anew without the rows that left them, and with those that came to them."""
        at_hand = {
            f.path: f for f in [*self._files.staged, *self._files.leaving, *self._files.data, *self._files.losers]
        }
        dirty = {f.path for f in self._files.dirty}
        old = [f for f in at_hand.values() if f.kind == kind and (f.path in touched or f.path in dirty)]
        self.rewritten += [f.path for f in old]
        names = ", ".join(map(quoted, self._names)) + (", _verdict" if kind == "losers" else "")
        parts = [f"select {names} from ({self._scan(old, losers=kind == 'losers')}) a"] if old else []
        if changed:
            parts = [f"{p} anti join changed c using ({IDENTITY})" for p in parts]
            verdict = ", _now as _verdict" if kind == "losers" else ""
            side = "<>" if kind == "losers" else "="
            plain = ", ".join(map(quoted, self._names))
            parts.append(f"select {plain}{verdict} from changed where _now {side} 'loaded'")
        if not parts:
            return []
        return self._writer.write(
            "losers" if kind == "losers" else "data", " union all by name ".join(f"({p})" for p in parts)
        )

    def _scan(self, files: Sequence[DataFile], *, losers: bool = False, kept: bool = True) -> str:
        """Rows of base files with every column of the shape, their path, and how they stood before.

        `kept` leaves out the rows that may not stand; otherwise only those of going loads are read.
        """
        columns = [*self._shape.columns, *LINEAGE, *([("_verdict", "VARCHAR")] if losers else [])]
        typed = ", ".join(f"null::{kind} as {quoted(n)}" for n, kind in columns)
        empty = f"select {typed}, null::varchar as _path limit 0"
        names = ", ".join(quoted(n) for n, _ in columns)
        source = f"({empty})"
        if files:
            paths = file_list(self._home.root, [f.path for f in files])
            source += (
                f" union all by name (from read_parquet({paths}, filename = '_path', union_by_name = true,"
                " hive_partitioning = false))"
            )
        before = "_verdict" if losers else "'loaded'"
        which = "not in" if kept else "in"
        return (
            f"select {names}, _path, {before} as _before from ({source})"
            f" where _load_id {which} (select load from excluded)"
        )

    def _load_table(self, name: str, loads: Iterable[str]) -> None:
        self._db.execute(f"create temp table {name} as select unnest($1::varchar[]) as load", [sorted(loads)])


def _meets(file: DataFile, bounds: Sequence[tuple[object, object]]) -> bool:
    """Whether a file's ranges overlap the bounds in every key column."""
    return not file.ranges or all(
        lo <= high and hi >= low for (lo, hi), (low, high) in zip(file.ranges, bounds, strict=True)
    )
