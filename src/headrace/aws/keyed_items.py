"""Rows of the base on their way into a DynamoDB table: DuckDB turns them into the JSON of item requests.

No value becomes a Python object: what comes out is one text per row, as `aws.wire` sends it. Used by `aws.keyed`
alone; knows no revision and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from headrace.aws.keyed_layout import CONTROL, INDEX_BYTES, Layout, indexed
from headrace.model.contract import LINEAGE
from headrace.sinks.keyed import NUMBERS, Part, alone_sql, quoted, text_sql

BATCH_ROWS = 5_000


class RowReader:
    """One DuckDB connection, opened on first use (10 ms). What does not fit in `memory_limit` spills to `spill`."""

    def __init__(self, spill: Path, memory_limit: str, threads: int) -> None:
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(spill),
            "preserve_insertion_order": False,
        }
        self._opened: duckdb.DuckDBPyConnection | None = None

    def texts(self, query: str) -> Iterator[str]:
        """The only column of a query, streamed."""
        found = self._duckdb().execute(query)
        while rows := found.fetchmany(BATCH_ROWS):
            yield from (text for (text,) in rows)

    def count(self, rows: str) -> int:
        return int(self._one(f"SELECT count(*) FROM {rows}")[0])

    def doubled(self, layout: Layout, rows: str) -> tuple[int, tuple[Any, ...]] | None:
        """A key that several of the rows have, and how many."""
        sort = layout.key.sort_sql()
        keys = [layout.key.partition_sql(), *([sort] if sort else [])]
        twice = f"SELECT {', '.join(keys)}, count(*) AS n FROM {rows} GROUP BY ALL HAVING n > 1 LIMIT 1"
        found = self._duckdb().execute(twice).fetchone()
        return (found[-1], found[:-1]) if found else None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def _one(self, query: str) -> tuple[Any, ...]:
        found = self._duckdb().execute(query).fetchone()
        assert found is not None
        return found

    def _duckdb(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None:
            self._opened = duckdb.connect(config=self._config)
        return self._opened


def puts(layout: Layout, rows: str, number: int, generation: int) -> str:
    """A query of the PutRequest of each row, stamped with the revision and the generation that write it."""
    stamps = f'"_revision":{{"N":"{number}"}},"_generation":{{"N":"{generation}"}}'
    known = {layout.partition, layout.sort}
    held = [_value(Part(name, kind)) for name, kind in (*layout.columns, *LINEAGE) if name not in known]
    held += [_indexed(layout, Part(name, dict(layout.columns)[name])) for name in layout.index]
    begin = _literal('{"PutRequest":{"Item":{' + stamps + ",")
    return f"SELECT concat({begin}, {', '.join([_key(layout), *held])}, '}}}}}}') FROM {rows}"


def deletes(layout: Layout, rows: str, kept: str | None) -> str:
    """A query of the DeleteRequest of each row whose key none of the rows `kept` has."""
    if kept is not None:
        names = [quoted(p.name) for p in (layout.key.partition, *layout.key.sort)]
        same = " AND ".join(f"a.{name} = b.{name}" for name in names)
        rows = f"(SELECT a.* FROM {rows} a ANTI JOIN {kept} b ON {same})"
    begin = _literal('{"DeleteRequest":{"Key":{')
    return f"SELECT concat({begin}, {_key(layout)}, '}}}}}}') FROM {rows}"


def keys(layout: Layout, rows: str, sample: int) -> str:
    """A query of the keys of at most so many of the rows, any of them."""
    return f"SELECT concat('{{', {_key(layout)}, '}}') FROM {rows} USING SAMPLE {sample} ROWS"


def _key(layout: Layout) -> str:
    """SQL of the attributes that are the key, as members of a JSON object."""
    partition = layout.key.partition_sql()
    if layout.key.partition.type == "VARCHAR":
        reserved = f"chr(0) || {_literal(CONTROL[1:])}"
        partition = f"CASE WHEN starts_with({partition}, {reserved}) THEN {partition} || chr(0) ELSE {partition} END"
    member = _member(layout.partition, layout.partition_type, partition)
    sort = layout.key.sort_sql()
    if layout.sort is None or sort is None:
        return member
    return f"{member}, ',', {_member(layout.sort, layout.sort_type, sort)}"


def _value(part: Part) -> str:
    """SQL of one attribute as a member of a JSON object, with the comma in front; empty for null."""
    match part.type:
        case "VARCHAR":
            member = _around(part.name, "S", f"to_json({part.sql})", quoted=False)
        case "BOOLEAN":
            member = _around(part.name, "BOOL", f"{part.sql}::VARCHAR", quoted=False)
        case "DATE" | "TIMESTAMP" | "TIMESTAMPTZ" | "UUID":
            member = _around(part.name, "S", text_sql(part))
        case "DOUBLE" | "FLOAT":
            number = f"{part.sql}::DOUBLE"
            held = f"abs({number}) >= 1e-130 AND abs({number}) < 1e126 OR ({number} = 0 AND NOT signbit({number}))"
            number, text = (_around(part.name, kind, f"{number}::VARCHAR") for kind in ("N", "S"))
            member = f"CASE WHEN {held} THEN {number} ELSE {text} END"
        case _:
            member = _around(part.name, "N", f"{part.sql}::VARCHAR")
    return f"coalesce({member}, '')"


def _indexed(layout: Layout, part: Part) -> str:
    """SQL of the attribute by which a sparse index knows the row; empty where the index leaves it out."""
    name = indexed(part.name)
    if part.type == "BOOLEAN":
        sort = layout.key.sort_sql()
        member = _member(name, layout.sort_type, sort) if sort else _literal(f'"{name}":{{"S":"1"}}')
        return f"CASE WHEN {part.sql} THEN concat(',', {member}) ELSE '' END"
    value = alone_sql(part)
    if part.type in NUMBERS:
        return f"CASE WHEN {part.sql} IS NOT NULL THEN concat(',', {_member(name, 'N', value)}) ELSE '' END"
    fits = f"strlen({value}) BETWEEN 1 AND {INDEX_BYTES}"
    return f"CASE WHEN {fits} THEN concat(',', {_member(name, 'S', value)}) ELSE '' END"


def _member(name: str, kind: str, value: str) -> str:
    """SQL (several arguments of concat) of an attribute that is not null."""
    if kind == "N":
        return f"{_literal(_opened(name, 'N', True))}, ({value})::BIGINT::VARCHAR, '\"}}'"
    return f"{_literal(_opened(name, kind, False))}, to_json({value}), '}}'"


def _around(name: str, kind: str, text: str, *, quoted: bool = True) -> str:
    """SQL of an attribute with a comma in front; null where `text` is."""
    begin, end = _literal("," + _opened(name, kind, quoted)), "'\"}'" if quoted else "'}'"
    return f"{begin} || {text} || {end}"


def _opened(name: str, kind: str, quoted: bool) -> str:
    return f'{json.dumps(name, ensure_ascii=False)}:{{"{kind}":' + ('"' if quoted else "")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
