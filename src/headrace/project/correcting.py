"""Edited rejected rows, brought back as corrections: each checked, stored, listed and dropped.

A correction is the whole row of one record that was rejected, bound to (object, version, member, record); it falls with
that version. Nothing else can be corrected: what stands is what its file says. Called by `Project.correct` and the
command line; `quarantine` writes the export that is edited.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.engine.home import Home
from headrace.engine.query import run_sql
from headrace.model.errors import UsageError
from headrace.model.loads import Correction, LoadState, source_file
from headrace.model.where import meant
from headrace.project.again import again
from headrace.project.naming import split
from headrace.project.peek import Peeked, peek
from headrace.project.quarantine import PLACE, literal, rows
from headrace.project.results import LoadResult
from headrace.project.tables import relation_over, relations

if TYPE_CHECKING:
    from headrace.project.opened import Progress, Project

Cells = dict[str, str | None]
LARGEST = 64 << 20
"""Characters of a cell: an export holds the text of whole records."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """What `correct` stored, and what became of it: `outcome` counts the corrected rows by where they are now."""

    rows: int
    keys: tuple[str, ...]
    skipped: int = 0  # rows of a version that does not stand any more
    unchanged: tuple[int, ...] = ()  # lines whose cells are as they were rejected: nothing was stored of them
    loads: tuple[LoadResult, ...] = ()  # what came of reading those objects again
    outcome: Mapping[str, int] = field(default_factory=dict)  # loaded, rejected, duplicate, conflict, filtered

    def public(self) -> dict[str, Any]:
        return {
            "corrected": self.rows,
            "left_aside": self.skipped,
            "unchanged_lines": list(self.unchanged),
            "outcome": dict(self.outcome),
            "loads": [x.public() for x in self.loads],
        }


@dataclass(frozen=True, slots=True)
class _Edited:
    line: int
    version: str
    record: int
    cells: Cells


def correct(project: Project, home: Home, path: Path, on_progress: Progress | None) -> Corrected:
    """Store what an edited export asks for, have the objects read again, and see where the rows are then."""
    asked, told = read(home, path)
    if not asked:
        return told
    standing = home.ledger.standing()
    _store(home, asked)
    loads = again(project, home, [standing[key] for key in told.keys], on_progress)
    return replace(told, loads=tuple(loads), outcome=_outcome(home, asked, loads))


def drop(project: Project, home: Home, file: str | None, on_progress: Progress | None) -> list[LoadResult]:
    """Forget the corrections in force, those of `file` if given, and have their objects read again as they are."""
    dropped = stored(home, file)
    standing = home.ledger.standing()
    home.ledger.drop_corrections(dropped)
    return again(project, home, [standing[key] for key in dict.fromkeys(c.key for c in dropped)], on_progress)


def read(home: Home, path: Path) -> tuple[list[Correction], Corrected]:
    """The corrections that an edited export asks for, checked against what was rejected; nothing is stored.

    Raises UsageError HR127 for a file that is no export, a record that was not rejected or is given twice, and a column
    that the object does not have.
    """
    headers, edited = _parse(path)
    standing = home.ledger.standing()
    found: list[Correction] = []
    skipped, unchanged = 0, []
    for file, lines in edited.items():
        key, member = split(home, file)
        current = [e for e in lines if key in standing and standing[key].version == e.version]
        skipped += len(lines) - len(current)
        if not current:
            continue
        version = standing[key].version
        before = _rejected(home, path, (key, member), version, current)
        own = list(dict.fromkeys(h for peeked in before.values() for h in peeked.headers))
        _check_columns(path, file, headers, own)
        _check_cells(path, file, current, own)
        for e in current:
            peeked = before.get(e.record)
            cells = _as_it_was(e.cells, peeked)
            if peeked is not None and not any((peeked.cells.get(h) or "") != (v or "") for h, v in cells.items()):
                unchanged.append(e.line)
            else:
                found.append(Correction(key, version, member, e.record, cells, home.clock.now()))
    keys = tuple(dict.fromkeys(c.key for c in found))
    return found, Corrected(len(found), keys, skipped, tuple(sorted(unchanged)))


def _store(home: Home, corrections: Iterable[Correction]) -> None:
    """Make corrections durable; they take effect when their objects are read again."""
    by_member: dict[tuple[str, str, str], dict[int, Mapping[str, str | None]]] = {}
    for c in corrections:
        by_member.setdefault((c.key, c.version, c.member), {})[c.record] = c.cells
    for (key, version, member), records in by_member.items():
        home.ledger.correct(key, version, member, records, home.clock.now())


def _outcome(home: Home, asked: Sequence[Correction], loads: Sequence[LoadResult]) -> dict[str, int]:
    """Where corrected records are, of the objects that came to stand; those that no table has were filtered."""
    ledger = home.ledger
    came = {x.object: x.load for x in loads if x.state == str(LoadState.STANDING)}
    corrections, ids = [c for c in asked if c.key in came], list(came.values())
    files = ledger.files_of(ids, staged=False)
    wanted = ", ".join(f"({literal(c.file)}, {c.record})" for c in corrections)
    counts = dict.fromkeys(("loaded", "rejected", "duplicate", "conflict", "filtered"), 0)
    if not corrections:
        return {}
    tables = relations(home)
    table = home.pipeline.sinks[0].table
    for kind, suffix, said in (
        ("data", "", "'loaded'"),
        ("rejected", "__rejected", "'rejected'"),
        ("losers", "__losers", "_verdict"),
    ):
        its = [f for f in files if f.kind == kind]
        if not its:
            continue
        query = (
            f"SELECT {said} AS place, count(*) AS n FROM t"
            f" WHERE (_source_file, _source_row) IN (VALUES {wanted}) GROUP BY 1"
        )
        whole = tables[table + suffix]
        relation = relation_over(home, whole.columns, its, whole.without)
        for row in run_sql({"t": relation}, query).to_pylist():
            counts[row["place"]] += row["n"]
    counts["filtered"] = max(0, len(corrections) - sum(counts.values()))
    return counts


def stored(home: Home, file: str | None = None) -> list[Correction]:
    """Every correction that is bound to a version that stands. `file` is a key, or the end of one."""
    standing = home.ledger.standing()
    return [
        c
        for c in home.ledger.stored_corrections()
        if c.key in standing
        and standing[c.key].version == c.version
        and (file is None or any(f"/{whole}".endswith(f"/{file}") for whole in (c.file, c.key)))
    ]


def _parse(path: Path) -> tuple[list[str], dict[str, list[_Edited]]]:
    """The columns that hold cells, and the lines by the file they belong to."""
    csv.field_size_limit(LARGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.DictReader(source)
            names = list(reader.fieldnames or ())
            lines = [(reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as exc:
        raise UsageError("HR127", str(path), f"cannot be read ({exc})", "save it as CSV in UTF-8") from exc
    if missing := [n for n in PLACE[:3] if n not in names]:
        raise UsageError("HR127", str(path), f"has no column {missing[0]}", "begin with `headrace quarantine export`")
    headers = [n for n in names if n not in PLACE and n != "_raw"]
    edited: dict[str, list[_Edited]] = {}
    given: dict[tuple[str, str, int], int] = {}
    for line, row in lines:
        if not (row["_source_row"] or "").isdigit():
            raise UsageError("HR127", f"{path}:{line}", "_source_row is no number", "leave that column as it was")
        place = (row["_source_file"], row["_source_version"], int(row["_source_row"]))
        if place in given:
            raise UsageError(
                "HR127",
                f"{path}:{line}",
                f"record {place[2]} of {place[0]} is given twice",
                f"keep this line or line {given[place]}",
            )
        given[place] = line
        cells = {h: row[h] for h in headers if row[h] is not None}
        edited.setdefault(place[0], []).append(_Edited(line, place[1], place[2], cells))
    return headers, edited


def _rejected(
    home: Home, path: Path, of: tuple[str, str], version: str, edited: Sequence[_Edited]
) -> dict[int, Peeked]:
    """What was rejected of one file, by record, with the cells it was judged by: its own, or an earlier correction's.

    `of` is (key, member). Records are only missing where the version cannot be read again.
    """
    key, member = of
    file = source_file(key, member)
    earlier = {record: cells for its, record, cells in home.ledger.corrections(key, version) if its == member}
    known = {row["_source_row"] for row in rows(home, file=file)} | set(earlier)
    for e in edited:
        if e.record not in known:
            raise UsageError(
                "HR127",
                f"{path}:{e.line}",
                f"record {e.record} of {file} was not rejected",
                "only rejected rows can be corrected: begin with `headrace quarantine export`",
            )
    found = peek(home, key, member, version, [e.record for e in edited])
    return {record: Peeked(p.line, p.raw, dict(earlier.get(record, p.cells)), p.headers) for record, p in found.items()}


def _check_columns(path: Path, file: str, headers: Sequence[str], own: Sequence[str]) -> None:
    """A cell must have its header: a column that is called otherwise would silently be an empty one."""
    if missing := [h for h in own if h not in headers]:
        unknown = [h for h in headers if h not in own]
        next = f"call {unknown[0]!r} {missing[0]!r} again" if unknown else "leave the columns as they were exported"
        raise UsageError("HR127", str(path), f"has no column {missing[0]!r}, which {file} has", next)


def _check_cells(path: Path, file: str, edited: Sequence[_Edited], own: Sequence[str]) -> None:
    """No text may stand where this object has no column: it would go nowhere."""
    for e in edited:
        for header, text in e.cells.items():
            if text and own and header not in own:
                raise UsageError("HR127", f"{path}:{e.line}", f"{file} has no column {header!r}", meant(header, own))


def _as_it_was(cells: Cells, before: Peeked | None) -> Cells:
    """The edited cells under the object's own headers; what was no value at all and was left blank still is none."""
    if before is None or not before.headers:
        return cells
    return {h: cells.get(h) or (None if before.cells.get(h) is None else "") for h in before.headers}
