"""Compaction: small files of one partition become one, sorted by load, as a revision like any other.

No row changes; sinks that hold rows see the same rows come from another file. Called by `headrace compact` and, when
small files have piled up, by the publisher's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.engine import telling
from headrace.engine.base import BaseWriter, base_lost, file_list, quoted
from headrace.engine.faults import point
from headrace.engine.home import Home
from headrace.engine.recover import recover
from headrace.engine.shapes import blocked
from headrace.engine.sql import engine_connection, mechanics
from headrace.engine.time_left import SecondsLeft, forever
from headrace.model.contract import LINEAGE
from headrace.model.loads import DataFile, Decision, FileKind, Shape

KINDS: tuple[FileKind, ...] = ("data", "losers")
SMALL = 32 * 10**6
"""Files below this many bytes are worth joining; two at least."""
TOO_MANY = 64
"""Small files in one partition at which the publisher's thread compacts by itself."""
MOST = 512 * 10**6
"""Bytes that one revision joins at most: they have to lie on the disk of whoever does it, and it takes its time."""


def compact(home: Home, least: int = 2, most: int = MOST, seconds_left: SecondsLeft = forever) -> int:
    """Join small files wherever `least` of them share a partition; returns how many files went.

    A revision joins `most` bytes, and is followed by another while there are files to join, and as much time left as
    the longest before it took.
    """
    went, longest = 0, 0.0
    while (before := seconds_left()) > longest:
        gone, came = _compact_some(home, least, most)
        went += gone
        if came >= gone:
            break  # nothing was left to join, or it did not become less
        if (took := before - seconds_left()) > longest:  # never, where time has no end
            longest = took
    return went


def _compact_some(home: Home, least: int, most: int) -> tuple[int, int]:
    """One revision of it; returns how many files went, and how many came."""
    with home.lock(), mechanics(home.name):
        recover(home)
        shape = home.ledger.shape()
        crowds = {kind: _some(_crowded(home.ledger.files(kind), least), most) for kind in KINDS}
        removed = [file for small in crowds.values() for file in small]
        if shape is None or not removed or blocked(home):  # then sinks take no revision but one that replaces all
            return 0, 0
        if missing := home.files.bring(removed):
            raise base_lost(home.name, missing)  # before anything is written that nobody would want
        number = home.ledger.head() + 1
        fresh = _joined(home, number, shape, crowds)
        home.files.keep(fresh)
        point("compact.written")
        decision = Decision(
            pipeline=home.name,
            number=number,
            reason="compact",
            shape=shape,
            fresh=tuple(fresh),
            removed=tuple(file.path for file in removed),
        )
        home.ledger.record(decision)
        telling.decided(home, decision)
        recover(home)
        telling.stands(home, decision)
        return len(removed), len(fresh)


def _joined(home: Home, number: int, shape: Shape, crowds: Mapping[FileKind, Sequence[DataFile]]) -> list[DataFile]:
    """The rows of each kind's files in new ones."""
    attempt, types = f"{home.name}.c{number}-{home.token()}", dict(shape.columns)
    key = {name: types[name] for name in shape.key}
    limits = (home.settings.engine_memory, home.settings.threads)
    with engine_connection(*limits, [home.root], home.spool) as connection:
        writer = BaseWriter(connection, home.root, home.base, attempt, shape.partitions, key)
        asked = {kind: _sorted_rows(home, shape, kind, small) for kind, small in crowds.items() if small}
        return [file for kind, query in asked.items() for file in writer.write(kind, query)]


def crowded(home: Home) -> bool:
    """Whether small files have piled up somewhere."""
    return bool(_crowded(home.ledger.files("data"), TOO_MANY))


def _some(crowds: Sequence[Sequence[DataFile]], most: int) -> list[DataFile]:
    """Files of whole crowds, as many as fit; of the first one as many as fit, but two."""
    found: list[DataFile] = []
    size = 0
    for crowd in crowds:
        whole = sum(file.size for file in crowd)
        if not found and whole > most:
            for n, file in enumerate(crowd):
                size += file.size
                if n >= 2 and size > most:
                    break
                found.append(file)
            return found
        if size + whole <= most:
            found += crowd
            size += whole
    return found


def _crowded(files: Sequence[DataFile], least: int) -> list[list[DataFile]]:
    """Small files that share a partition, wherever `least` of them do."""
    places: dict[tuple[tuple[str, str | None], ...], list[DataFile]] = {}
    for file in files:
        if file.size < SMALL:
            places.setdefault(tuple(sorted(file.partition.items())), []).append(file)
    return [group for group in places.values() if len(group) >= least]


def _sorted_rows(home: Home, shape: Shape, kind: str, files: Sequence[DataFile]) -> str:
    columns = [*shape.columns, *LINEAGE, *([("_verdict", "VARCHAR")] if kind == "losers" else [])]
    names = ", ".join(quoted(n) for n, _ in columns)
    empty = ", ".join(f"null::{t} as {quoted(n)}" for n, t in columns)
    paths = file_list(home.root, [f.path for f in files])
    return (
        f"select {names} from ((select {empty} limit 0) union all by name (from read_parquet({paths},"
        " union_by_name = true, hive_partitioning = false))) order by _load_id, _source_file, _source_row"
    )
