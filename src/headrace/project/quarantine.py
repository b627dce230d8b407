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
from headrace.model.loads import source_file
from headrace.project.naming import member_of, names_key, row_name
from headrace.project.peek import Peeked, peek
from headrace.project.tables import relations

PLACE = ("_source_file", "_source_version", "_source_row", "_reason")
"""Columns that an export puts in front, and that `correct` reads to know where a row belongs."""


def summary(home: Home) -> list[dict[str, Any]]:
    """How many rows each rule rejected, the most first, with one example."""
    found = _query(
        home,
        'SELECT rule, "column", count(*) AS rows, count(DISTINCT _load_id) AS files, min(reason) AS reason,'
        " arg_min({'_load_id': _load_id, '_source_file': _source_file, '_source_row': _source_row},"
        " _load_id || ':' || _source_row) AS example FROM rejected GROUP BY 1, 2 ORDER BY rows DESC, 1, 2",
    )
    names = names_of(home, [row["example"] for row in found])
    return [{**row, "example": name} for row, name in zip(found, names, strict=True)]


def rows(
    home: Home, *, file: str | None = None, rule: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Rejected rows in order of file and record. `file` is a key, the end of one, or a key with its member."""
    where = ["true"]
    if file:
        loads = [row["_load_id"] for row in _query(home, "SELECT DISTINCT _load_id FROM rejected")]
        keys = home.ledger.keys_of(loads)
        its = ", ".join(literal(load) for load, key in keys.items() if names_key(file, key))
        where.append(f"(_source_file = {literal(file)} OR _load_id IN ({its or 'NULL'}))")
    if rule:
        where.append(f"rule = {literal(rule)}")
    bound = f" LIMIT {int(limit)}" if limit is not None else ""
    order = "ORDER BY _source_file, _source_row, _load_id"
    return _query(home, f"SELECT * FROM rejected WHERE {' AND '.join(where)} {order}{bound}")


def records(home: Home, load: str, file: str) -> set[int]:
    """The numbers of the records that a load rejected of its object, or of one member of it."""
    query = f"SELECT _source_row FROM rejected WHERE _load_id = {literal(load)} AND _source_file = {literal(file)}"
    return {row["_source_row"] for row in _query(home, query)}


def objects(home: Home, found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys of the objects that rejected rows come from, in order."""
    return sorted(set(_keys(home, found).values()))


def names_of(home: Home, found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `explain` takes for each of these rows."""
    keys = _keys(home, found)
    return [
        row_name(row["_load_id"], member_of(row["_source_file"], keys[row["_load_id"]]), row["_source_row"])
        for row in found
    ]


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


def _cells(home: Home, found: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], Peeked]:
    keys = _keys(home, found)
    by_object: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row in found:
        key = keys[row["_load_id"]]
        wanted = by_object.setdefault((key, row["_source_version"]), {})
        wanted.setdefault(member_of(row["_source_file"], key), []).append(row["_source_row"])
    cells: dict[tuple[str, str, int], Peeked] = {}
    for (key, version), wanted in by_object.items():
        corrected = {(member, record): own for member, record, own in home.ledger.corrections(key, version)}
        for place, peeked in peek(home, key, version, wanted).items():
            member, record = place
            judged = dict(corrected.get(place, peeked.cells))
            cells[source_file(key, member), version, record] = replace(peeked, cells=judged)
    return cells


def _keys(home: Home, found: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The object's key of each load that rows are of. A `_source_file` alone may be read in more ways than one."""
    return home.ledger.keys_of({row["_load_id"] for row in found})


def _place(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["_source_file"], row["_source_version"], row["_source_row"]


def _query(home: Home, query: str) -> list[dict[str, Any]]:
    rejected = next(r for name, r in relations(home).items() if name.endswith("__rejected"))
    found: list[dict[str, Any]] = run_sql({"rejected": rejected}, query).to_pylist()
    return found


def literal(value: str) -> str:
    """A text as SQL."""
    return "'" + value.replace("'", "''") + "'"
