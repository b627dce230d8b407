"""Parquet files into rows of text cells by casts that lose nothing; nested values become JSON text.

Called by `open` and `probe`. Damage in the footer is found here; damaged pages only show while staging reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from headrace.formats.archive import Part
from headrace.formats.dialect import Dialect
from headrace.formats.rows import Blame, Group, Place, fresh_name, literal, quoted, unique_headers
from headrace.model.errors import BadObject


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
                json.dumps({h: r[h] for h in self.headers}, ensure_ascii=False),
            )
            for r in found
        }


def open_parquet(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> list[TableRows]:
    """One TableRows per set of columns. HR413 for a file that is no Parquet, or whose footer is damaged."""
    groups: dict[tuple[tuple[str, str], ...], list[Part]] = {}
    blame = Blame()
    for part in parts:
        with blame.of(part.item):
            groups.setdefault(_columns(connection, part), []).append(part)
    blame.tell()
    return [_rows(connection, columns, group) for columns, group in groups.items()]


def _columns(connection: duckdb.DuckDBPyConnection, part: Part) -> tuple[tuple[str, str], ...]:
    try:
        rows = connection.execute(f"describe select * from read_parquet({literal(str(part.path))})").fetchall()
    except duckdb.Error as exc:
        found = f"is no readable Parquet ({str(exc).splitlines()[0]})"
        raise BadObject("HR413", part.which, found, "write it again, whole") from exc
    return tuple((name, kind) for name, kind, *_ in rows)


def _rows(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[tuple[str, str]], parts: Sequence[Part]
) -> TableRows:
    headers = unique_headers([name for name, _ in columns])
    cells = ", ".join(f"{_as_text(n, kind)} as {quoted(h)}" for h, (n, kind) in zip(headers, columns, strict=True))
    selects = ", ".join(literal(str(p.path)) for p in parts)
    name = fresh_name("parquet")
    connection.register(name, _places([p.path for p in parts], parts))
    relation = (
        f"(select {cells}, p._item, p._member, f.file_row_number + 1 as _record"
        f" from read_parquet([{selects}], filename=true, file_row_number=true) f join {name} p on p.path = f.filename)"
    )
    return TableRows(connection, headers, relation, {(p.item, p.member): Dialect(kind="parquet") for p in parts})


def _places(paths: Sequence[Path], parts: Sequence[Part]) -> pa.Table:
    return pa.table(
        {
            "path": pa.array([str(p) for p in paths], pa.string()),
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
