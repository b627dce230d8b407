"""Parquet files into rows of text cells by casts that lose nothing; nested values become JSON text.

Called by `open` and `probe`. Damage in the footer is found here; damaged pages only show while staging reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import count

import duckdb
import pyarrow as pa

from headrace.formats.archive import Part
from headrace.formats.dialect import Dialect
from headrace.formats.headers import headers_of
from headrace.formats.rows import Blame, Group, Place, fresh_name, literal, quoted
from headrace.model.contract import Contract
from headrace.model.errors import BadObject
from headrace.model.fields import cell_name


class TableRows(Group):
    """Numbered rows of a relation that can be asked again: raw text is the record's cells as JSON."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        headers: tuple[str, ...],
        relation: str,
        decided: Mapping[Place, Dialect],
        lined: str | None = None,
    ) -> None:
        super().__init__(headers, decided)
        self._connection, self.relation = connection, relation
        self._lined = lined or f"(select *, _record as _line from {relation})"

    def raw(self, wanted: Mapping[Place, Sequence[int]]) -> dict[tuple[int, str | None, int], tuple[int, str]]:
        places = [(item, member, number) for (item, member), numbers in wanted.items() for number in numbers]
        table = pa.table(
            {
                "_item": pa.array([p[0] for p in places], pa.int32()),
                "_member": pa.array([p[1] for p in places], pa.string()),
                "_record": pa.array([p[2] for p in places], pa.int64()),
            }
        )
        name = fresh_name("wanted")
        self._connection.register(name, table)
        try:
            rows = self._connection.execute(
                f"select r.* from {self._lined} r semi join {name} w on r._item = w._item"
                " and r._member is not distinct from w._member and r._record = w._record"
            )
            names = [d[0] for d in rows.description or ()]
            found = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
        finally:
            self._connection.unregister(name)
        return {
            (r["_item"], r["_member"], r["_record"]): (
                r["_line"],
                json.dumps({h: r[cell_name(i)] for i, h in enumerate(self.headers)}, ensure_ascii=False),
            )
            for r in found
        }


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a file: as the file calls it, as DuckDB does (which adds a number to one that differs in case alone),
    and its type."""

    header: str
    name: str
    kind: str


def open_parquet(
    connection: duckdb.DuckDBPyConnection, contract: Contract | None, parts: Sequence[Part]
) -> list[TableRows]:
    """One TableRows per set of columns. HR413 for a file that is no Parquet, or whose footer is damaged; HR408 for
    doubled headers."""
    groups: dict[tuple[_Column, ...], list[Part]] = {}
    headers: dict[tuple[_Column, ...], tuple[str, ...]] = {}
    blame = Blame()
    for part in parts:
        with blame.of(part.item):
            columns = _columns(connection, part)
            headers[columns] = headers_of(part.which, [c.header for c in columns], contract)
            groups.setdefault(columns, []).append(part)
    blame.tell()
    return [_rows(connection, headers[columns], columns, group) for columns, group in groups.items()]


def _columns(connection: duckdb.DuckDBPyConnection, part: Part) -> tuple[_Column, ...]:
    file = literal(str(part.path))
    try:
        rows = connection.execute(f"describe select * from read_parquet({file}, hive_partitioning=false)").fetchall()
        names = [name for name, *_ in rows]
        if _numbered(names):
            schema = connection.execute(f"select name, coalesce(num_children, 0) from parquet_schema({file})")
            written = _top_level(schema.fetchall())
            names = written if len(written) == len(names) else names
    except duckdb.Error as exc:
        found = f"is no readable Parquet ({str(exc).splitlines()[0]})"
        raise BadObject("HR413", part.which, found, "write it again, whole") from exc
    return tuple(_Column(header, name, kind) for header, (name, kind, *_) in zip(names, rows, strict=True))


def _numbered(names: Sequence[str]) -> bool:
    """Whether DuckDB may have numbered a name to tell it from another. Asking the file takes a second look at it."""
    folded = {name.casefold() for name in names}
    return any(
        found and found[1] in folded for found in (re.fullmatch(r"(.*)_\d+", name, re.DOTALL) for name in folded)
    )


def _top_level(schema: Sequence[tuple[str, int]]) -> list[str]:
    """Names of the root's own children, of a schema told depth first."""
    names: list[str] = []
    inside = 0  # elements that are still to come of the child at hand
    for name, children in schema[1:]:
        if inside:
            inside -= 1
        else:
            names.append(name)
        inside += children
    return names


NUMBER = "file_row_number"
"""What DuckDB calls a row's place in its file: it has no other name for it, and refuses a file with such a column."""


def _rows(
    connection: duckdb.DuckDBPyConnection, headers: tuple[str, ...], columns: Sequence[_Column], parts: Sequence[Part]
) -> TableRows:
    cells = ", ".join(f"{_as_text(c.name, c.kind)} as {cell_name(i)}" for i, c in enumerate(columns))
    own = {c.name.casefold() for c in columns}
    relation = _each(cells, parts) if NUMBER in own else _together(connection, cells, own, parts)
    return TableRows(connection, headers, relation, {(p.item, p.member): Dialect(kind="parquet") for p in parts})


def _together(connection: duckdb.DuckDBPyConnection, cells: str, own: Set[str], parts: Sequence[Part]) -> str:
    files = ", ".join(literal(str(p.path)) for p in parts)
    path = next(free for n in count() if (free := f"_path{n}") not in own)
    name = fresh_name("parquet")
    connection.register(name, _places(parts))
    return (
        f"(select {cells}, p._item, p._member, f.{NUMBER} + 1 as _record from read_parquet([{files}],"
        f" filename='{path}', {NUMBER}=true, hive_partitioning=false) f join {name} p on p.path = f.{path})"
    )


def _each(cells: str, parts: Sequence[Part]) -> str:
    """File by file, numbered while they are read from the first row to the last, which takes one thread for each."""
    selects = [
        f"select {cells}, {p.item}::integer as _item, {literal(p.member) if p.member is not None else 'null'}::varchar"
        " as _member, row_number() over () as _record"
        f" from read_parquet({literal(str(p.path))}, hive_partitioning=false) f"
        for p in parts
    ]
    return f"({' union all '.join(selects)})"


def _places(parts: Sequence[Part]) -> pa.Table:
    return pa.table(
        {
            "path": pa.array([str(p.path) for p in parts], pa.string()),
            "_item": pa.array([p.item for p in parts], pa.int32()),
            "_member": pa.array([p.member for p in parts], pa.string()),
        }
    )


def _as_text(name: str, kind: str) -> str:
    """An exact cast to text: instants in UTC with their offset, bytes as UTF-8 or else escaped, nested as JSON."""
    column = f"f.{quoted(name)}"
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "VARIANT", "JSON")):
        return f"to_json({column})::varchar"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"(({column} at time zone 'UTC')::varchar || '+00:00')"
    if kind == "BLOB":
        return f"coalesce(try(decode({column})), {column}::varchar)"
    return f"{column}::varchar"
