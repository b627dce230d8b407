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
from headrace.model.loads import Correction, Load, LoadState, source_file
from headrace.model.where import meant
from headrace.project.again import again, as_it_stands
from headrace.project.kept import Kept, lost
from headrace.project.naming import names_key, readings
from headrace.project.peek import Peeked, peek
from headrace.project.quarantine import PLACE, literal, records
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
    lost: Mapping[str, Kept] = field(default_factory=dict)  # objects that cannot be read again: nothing was stored
    lost_rows: int = 0
    unchanged: tuple[int, ...] = ()  # lines whose cells are as they were rejected: nothing was stored of them
    loads: tuple[LoadResult, ...] = ()  # what came of reading those objects again
    outcome: Mapping[str, int] = field(default_factory=dict)  # loaded, rejected, duplicate, conflict, filtered

    def public(self) -> dict[str, Any]:
        return {
            "corrected": self.rows,
            "left_aside": self.skipped + self.lost_rows,
            "unchanged_lines": list(self.unchanged),
            "outcome": dict(self.outcome),
            "loads": [x.public() for x in self.loads],
        }


@dataclass(frozen=True, slots=True)
class _Edited:
    line: int
    record: int
    cells: Cells


def correct(project: Project, home: Home, path: Path, on_progress: Progress | None) -> Corrected:
    """Store what an edited export asks for, have the objects read again, and see where the rows are then."""
    asked, told = read(home, path)
    standing = home.ledger.standing()
    left = [as_it_stands(home, standing[key], str(state)) for key, state in told.lost.items()]
    if not asked:
        return replace(told, loads=tuple(left))
    _store(home, asked)
    loads = again(project, home, [standing[key] for key in told.keys], on_progress)
    return replace(told, loads=(*loads, *left), outcome=_outcome(home, asked, loads))


def drop(project: Project, home: Home, file: str | None, on_progress: Progress | None) -> list[LoadResult]:
    """Forget the corrections in force, those of `file` if given, and have their objects read again as they are."""
    dropped = stored(home, file)
    standing = home.ledger.standing()
    home.ledger.drop_corrections(dropped)
    return again(project, home, [standing[key] for key in dict.fromkeys(c.key for c in dropped)], on_progress)


def read(home: Home, path: Path) -> tuple[list[Correction], Corrected]:
    """The corrections that an edited export asks for, checked against what was rejected; nothing is stored.

    Those of objects that cannot be read again are left aside: they could take no effect.
    Raises UsageError HR127 for a file that is no export, a record that was not rejected or is given twice, and a column
    that the object does not have.
    """
    headers, edited = _parse(path)
    standing = home.ledger.standing()
    found: list[Correction] = []
    skipped, unchanged = 0, []
    for (file, version), lines in edited.items():
        of = next(((k, m) for k, m in readings(file) if k in standing and standing[k].version == version), None)
        if of is None:
            skipped += len(lines)
            continue
        key, member = of
        before = _rejected(home, path, standing[key], member, lines)
        own = list(dict.fromkeys(h for peeked in before.values() for h in peeked.headers))
        _check_columns(path, file, headers, own)
        _check_cells(path, file, lines, own)
        for e in lines:
            peeked = before.get(e.record)
            cells = _as_it_was(e.cells, peeked)
            if peeked is not None and not any((peeked.cells.get(h) or "") != (v or "") for h, v in cells.items()):
                unchanged.append(e.line)
            else:
                found.append(Correction(key, version, member, e.record, cells, home.clock.now()))
    cannot = lost(home, [standing[key] for key in dict.fromkeys(c.key for c in found)])
    able = [c for c in found if c.key not in cannot]
    keys = tuple(dict.fromkeys(c.key for c in able))
    return able, Corrected(len(able), keys, skipped, cannot, len(found) - len(able), tuple(sorted(unchanged)))


def _store(home: Home, corrections: Iterable[Correction]) -> None:
    """Make corrections durable; they take effect when their objects are read again."""
    by_member: dict[tuple[str, str, str], dict[int, Mapping[str, str | None]]] = {}
    for c in corrections:
        by_member.setdefault((c.key, c.version, c.member), {})[c.record] = c.cells
    for (key, version, member), cells in by_member.items():
        home.ledger.correct(key, version, member, cells, home.clock.now())


def _outcome(home: Home, asked: Sequence[Correction], loads: Sequence[LoadResult]) -> dict[str, int]:
    """Where corrected records are, of the objects that came to stand; those that no table has were filtered."""
    ledger = home.ledger
    came = {x.object: x.load for x in loads if x.state == str(LoadState.STANDING)}
    corrections, ids = [c for c in asked if c.key in came], list(came.values())
    files = ledger.files_of(ids, staged=False)
    wanted = ", ".join(f"({literal(came[c.key])}, {literal(c.file)}, {c.record})" for c in corrections)
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
            f" WHERE (_load_id, _source_file, _source_row) IN (VALUES {wanted}) GROUP BY 1"
        )
        whole = tables[table + suffix]
        relation = relation_over(home, whole.columns, its, whole.without)
        for row in run_sql({"t": relation}, query).to_pylist():
            counts[row["place"]] += row["n"]
    counts["filtered"] = max(0, len(corrections) - sum(counts.values()))
    return counts


def stored(home: Home, file: str | None = None) -> list[Correction]:
    """Every correction that is bound to a version that stands. `file` is a key, the end of one, or that of a row."""
    standing = home.ledger.standing()
    return [
        c
        for c in home.ledger.stored_corrections()
        if c.key in standing
        and standing[c.key].version == c.version
        and (file is None or file == c.file or names_key(file, c.key))
    ]


def _parse(path: Path) -> tuple[list[str], dict[tuple[str, str], list[_Edited]]]:
    """The columns that hold cells, and the lines by the file and version they belong to."""
    csv.field_size_limit(LARGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.reader(source)
            names = next(reader, [])
            lines = [(reader.line_num, row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as exc:
        raise UsageError("HR127", str(path), f"cannot be read ({exc})", "save it as CSV in UTF-8") from exc
    if missing := [n for n in PLACE[:3] if n not in names]:
        raise UsageError("HR127", str(path), f"has no column {missing[0]}", "begin with `headrace quarantine export`")
    at = {n: names.index(n) for n in PLACE if n in names}  # the object may have headers of these names: they follow
    own = {*at.values(), _last(names, "_raw")}
    headers = {i: n for i, n in enumerate(names) if i not in own}
    edited: dict[tuple[str, str], list[_Edited]] = {}
    given: dict[tuple[str, str, int], int] = {}
    for line, row in lines:
        file, version, record = (row[at[n]] if at[n] < len(row) else "" for n in PLACE[:3])
        if not record.isdigit():
            raise UsageError("HR127", f"{path}:{line}", "_source_row is no number", "leave that column as it was")
        place = (file, version, int(record))
        if place in given:
            raise UsageError(
                "HR127",
                f"{path}:{line}",
                f"record {place[2]} of {place[0]} is given twice",
                f"keep this line or line {given[place]}",
            )
        given[place] = line
        cells: Cells = {h: row[i] for i, h in headers.items() if i < len(row)}
        edited.setdefault(place[:2], []).append(_Edited(line, place[2], cells))
    return list(headers.values()), edited


def _last(names: Sequence[str], name: str) -> int | None:
    """Where an export's own last column stands."""
    return max((i for i, n in enumerate(names) if n == name), default=None)


def _rejected(home: Home, path: Path, load: Load, member: str, edited: Sequence[_Edited]) -> dict[int, Peeked]:
    """What was rejected of one file, by record, with the cells it was judged by: its own, or an earlier correction's.

    Records are only missing where the version cannot be read again.
    """
    file = source_file(load.key, member)
    stored = home.ledger.corrections(load.key, load.version)
    earlier = {record: cells for its, record, cells in stored if its == member}
    known = records(home, load.id, file) | set(earlier)
    for e in edited:
        if e.record not in known:
            raise UsageError(
                "HR127",
                f"{path}:{e.line}",
                f"record {e.record} of {file} was not rejected",
                "only rejected rows can be corrected: begin with `headrace quarantine export`",
            )
    found = peek(home, load.key, load.version, {member: [e.record for e in edited]})
    return {n: Peeked(p.line, p.raw, dict(earlier.get(n, p.cells)), p.headers) for (_, n), p in found.items()}


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
