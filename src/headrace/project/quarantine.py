"""Rejected rows: counted, shown, and exported whole by header.

Rows are read from the standing `rejected` files; their cells are read again from the object, if it still is that
version. What comes of an edited export is told in `correcting`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TextIO

from headrace.engine.home import Home
from headrace.engine.query import run_sql
from headrace.project.naming import split
from headrace.project.peek import Peeked, peek
from headrace.project.tables import relations

PLACE = ("_source_file", "_source_version", "_source_row", "_reason")
"""Columns that an export puts in front, and that `correct` reads to know where a row belongs."""


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
    """Rejected rows in order of file and record. `file` is a key with its member or without, or the end of one."""
    where = ["true"]
    if file:
        whole = f"_source_file = {literal(file)} OR ends_with(_source_file, {literal('/' + file)})"
        members = f"starts_with(_source_file, {literal(file + '!')}) OR contains(_source_file, {literal(f'/{file}!')})"
        where.append(f"({whole} OR {members})")
    if rule:
        where.append(f"rule = {literal(rule)}")
    bound = f" LIMIT {int(limit)}" if limit is not None else ""
    return _query(home, f"SELECT * FROM rejected WHERE {' AND '.join(where)} ORDER BY _source_file, _source_row{bound}")


def objects(home: Home, found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys of the objects that rejected rows come from, in order."""
    return sorted({split(home, file)[0] for file in {row["_source_file"] for row in found}})


def export(home: Home, found: Sequence[Mapping[str, Any]], out: TextIO) -> int:
    """Write rejected rows as CSV: where each belongs and why it was rejected, then its cells under their headers.

    A row that was corrected before and rejected again has the corrected cells: those were judged. A row whose object is
    gone or changed, or that fits no header, has its raw text under `_raw` instead of cells.
    """
    cells_of = _cells(home, found)
    records = [(row, cells_of.get(_place(row))) for row in found]
    headers: dict[str, None] = {}
    for _, peeked in records:
        headers.update(dict.fromkeys(peeked.headers if peeked else ()))
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


def _cells(home: Home, found: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], Peeked]:
    by_file: dict[tuple[str, str], list[int]] = {}
    for row in found:
        by_file.setdefault((row["_source_file"], row["_source_version"]), []).append(row["_source_row"])
    cells: dict[tuple[str, str, int], Peeked] = {}
    for (file, version), records in by_file.items():
        key, member = split(home, file)
        corrected = {n: own for of, n, own in home.ledger.corrections(key, version) if of == member}
        for record, peeked in peek(home, key, member, version, records).items():
            judged = dict(corrected.get(record, peeked.cells))
            cells[file, version, record] = replace(peeked, cells=judged)
    return cells


def _place(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["_source_file"], row["_source_version"], row["_source_row"]


def _query(home: Home, query: str) -> list[dict[str, Any]]:
    rejected = next(r for name, r in relations(home).items() if name.endswith("__rejected"))
    found: list[dict[str, Any]] = run_sql({"rejected": rejected}, query).to_pylist()
    return found


def literal(value: str) -> str:
    """A text as SQL."""
    return "'" + value.replace("'", "''") + "'"
