"""Rejected rows: counted, shown, exported whole by header, and brought back as corrections.

Rows are read from the standing `rejected` files; their cells are read again from the object, if it still is that
version. A correction is bound to (object, version, member, record) and falls with that version.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from headrace.engine.home import Home
from headrace.engine.query import run_sql
from headrace.model.errors import UsageError
from headrace.project.peek import Peeked, peek
from headrace.project.results import LoadResult
from headrace.project.tables import ledger_of, relations

PLACE = ("_source_file", "_source_version", "_source_row", "_reason")
"""Columns that an export puts in front, and that `correct` reads to know where a row belongs."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """What `correct` stored: how many rows, and the objects that have to be read again."""

    rows: int
    keys: tuple[str, ...]
    skipped: int  # rows of a version that does not stand any more
    loads: tuple[LoadResult, ...] = ()  # what came of reading those objects again


def summary(home: Home) -> list[dict[str, Any]]:
    """How many rows each rule rejected, the most first, with one example."""
    return _query(
        home,
        'SELECT rule, "column", count(*) AS rows, count(DISTINCT _load_id) AS files, min(reason) AS reason,'
        " min(_load_id || ':' || _source_row) AS example FROM rejected GROUP BY 1, 2 ORDER BY rows DESC, 1, 2",
    )


def rows(
    home: Home, *, file: str | None = None, rule: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Rejected rows in order of file and record. `file` is a key, or the end of one."""
    where = ["true"]
    if file:
        where.append(f"(_source_file = {_text(file)} OR ends_with(_source_file, {_text('/' + file)}))")
    if rule:
        where.append(f"rule = {_text(rule)}")
    bound = f" LIMIT {int(limit)}" if limit is not None else ""
    return _query(home, f"SELECT * FROM rejected WHERE {' AND '.join(where)} ORDER BY _source_file, _source_row{bound}")


def export(home: Home, found: Sequence[Mapping[str, Any]], out: TextIO) -> int:
    """Write rejected rows as CSV: where each belongs and why it was rejected, then its cells under their headers.

    A row whose object is gone or changed, or that fits no header, has its raw text under `_raw` instead of cells.
    """
    cells_of = _cells(home, found)
    records = [(row, cells_of.get(_place(row))) for row in found]
    headers: dict[str, None] = {}
    for _, peeked in records:
        headers.update(dict.fromkeys(peeked.cells if peeked else ()))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*PLACE, *headers, "_raw"])
    for row, peeked in records:
        cells = peeked.cells if peeked else {}
        writer.writerow(
            [row["_source_file"], row["_source_version"], row["_source_row"], row["reason"]]
            + [cells.get(h) or "" for h in headers]
            + ["" if cells else row["raw"]]
        )
    return len(records)


def correct(home: Home, path: Path, *, dry_run: bool = False) -> Corrected:
    """Store the rows of an edited export as corrections. Raises UsageError HR127 for a file that is none."""
    with path.open(encoding="utf-8-sig", newline="") as source:
        reader = csv.DictReader(source)
        names = list(reader.fieldnames or ())
        if missing := [n for n in PLACE[:3] if n not in names]:
            raise UsageError(
                "HR127", str(path), f"has no column {missing[0]}", "begin with `headrace quarantine export`"
            )
        edited = list(reader)
    headers = [n for n in names if n not in PLACE and n != "_raw"]
    ledger, now = ledger_of(home), home.clock.now()
    wanted: dict[tuple[str, str, str], dict[int, dict[str, str | None]]] = {}
    for line, row in enumerate(edited, 2):
        key, _, member = row["_source_file"].partition("!")
        if not row["_source_row"].isdigit():
            raise UsageError("HR127", f"{path}:{line}", "_source_row is no number", "leave that column as it was")
        cells = {h: row[h] for h in headers if row[h] is not None}
        wanted.setdefault((key, row["_source_version"], member), {})[int(row["_source_row"])] = dict(cells)
    standing = ledger.standing()
    current = {k: v for k, v in wanted.items() if k[0] in standing and standing[k[0]].version == k[1]}
    if not dry_run:
        for (key, version, member), records in current.items():
            ledger.correct(key, version, member, records, now)
    return Corrected(
        rows=sum(len(r) for r in current.values()),
        keys=tuple(dict.fromkeys(key for key, _, _ in current)),
        skipped=sum(len(r) for k, r in wanted.items() if k not in current),
    )


def _cells(home: Home, found: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], Peeked]:
    by_file: dict[tuple[str, str], list[int]] = {}
    for row in found:
        by_file.setdefault((row["_source_file"], row["_source_version"]), []).append(row["_source_row"])
    cells: dict[tuple[str, str, int], Peeked] = {}
    for (file, version), records in by_file.items():
        for record, peeked in peek(home, file, version, records).items():
            cells[file, version, record] = peeked
    return cells


def _place(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["_source_file"], row["_source_version"], row["_source_row"]


def _query(home: Home, query: str) -> list[dict[str, Any]]:
    rejected = next(r for name, r in relations(home).items() if name.endswith("__rejected"))
    found: list[dict[str, Any]] = run_sql({"rejected": rejected}, query).to_pylist()
    return found


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
