"""Compaction: small files of one partition become one, sorted by load, as a revision like any other.

No row changes; sinks that hold rows see the same rows come from another file. Called by `headrace compact` and, when
small files have piled up, by the publisher's thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.engine import telling
from headrace.engine.base import BaseWriter, base_lost, file_list, quoted
from headrace.engine.faults import point
from headrace.engine.home import Home
from headrace.engine.recover import recover
from headrace.engine.sql import engine_connection, mechanics
from headrace.model.contract import LINEAGE
from headrace.model.loads import DataFile, Decision, FileKind, Shape

SMALL = 32 * 10**6
"""Files below this many bytes are worth joining; two at least."""
TOO_MANY = 64
"""Small files in one partition at which the publisher's thread compacts by itself."""


def compact(home: Home, least: int = 2) -> int:
    """Join small files wherever `least` of them share a partition; returns how many files went."""
    with home.lock(), mechanics(home.name):
        recover(home)
        shape = home.ledger.shape()
        if shape is None:
            return 0
        number = home.ledger.head() + 1
        removed: list[DataFile] = []
        fresh: list[DataFile] = []
        kinds: tuple[FileKind, ...] = ("data", "losers")
        crowds = {kind: _crowded(home.ledger.files(kind), least) for kind in kinds}
        if missing := home.files.bring([file for small in crowds.values() for file in small]):
            raise base_lost(home.name, missing)  # before anything is written that nobody would want
        with engine_connection(
            home.settings.engine_memory, home.settings.threads, [home.root], home.spool
        ) as connection:
            writer = BaseWriter(
                connection,
                home.root,
                home.base,
                f"{home.name}.c{number}-{home.token()}",
                shape.partitions,
                {n: dict(shape.columns)[n] for n in shape.key},
            )
            for kind, small in crowds.items():
                if small:
                    removed += small
                    fresh += writer.write(kind, _sorted_rows(home, shape, kind, small))
        if not removed:
            return 0
        home.files.keep(fresh)
        point("compact.written")
        decision = Decision(
            pipeline=home.name,
            number=number,
            reason="compact",
            shape=shape,
            fresh=tuple(fresh),
            removed=tuple(f.path for f in removed),
        )
        home.ledger.record(decision)
        telling.decided(home, decision)
        recover(home)
        telling.stands(home, decision)
        return len(removed)


def crowded(home: Home) -> bool:
    """Whether small files have piled up somewhere."""
    return bool(_crowded(home.ledger.files("data"), TOO_MANY))


def _crowded(files: Sequence[DataFile], least: int) -> list[DataFile]:
    places: dict[tuple[tuple[str, str | None], ...], list[DataFile]] = {}
    for file in files:
        if file.size < SMALL:
            places.setdefault(tuple(sorted(file.partition.items())), []).append(file)
    return [file for group in places.values() if len(group) >= least for file in group]


def _sorted_rows(home: Home, shape: Shape, kind: str, files: Sequence[DataFile]) -> str:
    columns = [*shape.columns, *LINEAGE, *([("_verdict", "VARCHAR")] if kind == "losers" else [])]
    names = ", ".join(quoted(n) for n, _ in columns)
    empty = ", ".join(f"null::{t} as {quoted(n)}" for n, t in columns)
    paths = file_list(home.root, [f.path for f in files])
    return (
        f"select {names} from ((select {empty} limit 0) union all by name (from read_parquet({paths},"
        " union_by_name = true, hive_partitioning = false))) order by _load_id, _source_file, _source_row"
    )
