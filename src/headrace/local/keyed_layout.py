"""How a row lies in a keyed sink's SQLite file: tables, column types, and the way there and back.

Used by `local.keyed` (writing) and `local.keyed_lookup` (reading). Exact types that SQLite lacks are text: decimals as
digits, dates and times of fixed width in UTC. Lineage that many rows share stands once, in `headrace_sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from headrace.sinks.keyed import Part, quoted, text_sql
from headrace.sinks.keyed_columns import KeyedColumns

STATE_VERSION = 1
"""`user_version` of the file. Raised when this layout changes; a newer file is refused (HR516)."""

PAGE_SIZE = 8192
ORIGIN = (
    "_load_id",
    "_source_file",
    "_source_version",
    "strftime(make_timestamp(epoch_us(_arrived_at)), '%Y-%m-%dT%H:%M:%S.%fZ')",
)
"""DuckDB expressions of what `headrace_sources` holds of a row."""

META = """
CREATE TABLE headrace_meta (number INTEGER NOT NULL, rows INTEGER NOT NULL, columns TEXT NOT NULL, key TEXT NOT NULL);
CREATE TABLE headrace_sources (
    id INTEGER PRIMARY KEY, _load_id TEXT NOT NULL, _source_file TEXT NOT NULL, _source_version TEXT,
    _arrived_at TEXT, UNIQUE (_load_id, _source_file));
"""


@dataclass(frozen=True)
class Layout(KeyedColumns):
    """How the columns of one table lie in its file."""

    @cached_property
    def stored(self) -> tuple[tuple[str, str, str], ...]:
        """(name, SQLite type, DuckDB expression over a row `r` that knows its `_source`), in stored order."""
        hidden = [("_pk", self.key.partition_sql())] if self.partition == "_pk" else []
        hidden += [("_sk", self.key.sort_sql() or "")] if self.sort == "_sk" else []
        return (
            *((name, "TEXT", sql) for name, sql in hidden),
            *((name, _affinity(kind), _stored_sql(Part(name, kind))) for name, kind in self.columns),
            ("_source", "INTEGER", "_source"),
            ("_source_row", "INTEGER", "_source_row"),
        )

    def create(self) -> str:
        keys = ", ".join(quoted(c) for c in (self.partition, self.sort) if c)
        columns = ", ".join(f"{quoted(n)} {t}" for n, t, _ in self.stored)
        return f"CREATE TABLE items ({columns}, PRIMARY KEY ({keys})) WITHOUT ROWID"

    def indexes(self, names: Sequence[str]) -> list[str]:
        """Sparse: a flag's index holds only the rows where it is true, another column's those where it is not null."""
        types = dict(self.columns)
        return [
            f"CREATE INDEX IF NOT EXISTS {quoted('by_' + n)} ON items ({quoted(n)}) "
            f"WHERE {quoted(n)} {'= 1' if types[n] == 'BOOLEAN' else 'IS NOT NULL'}"
            for n in names
            if n in types
        ]

    def select(self, rows: str) -> str:
        """DuckDB query of `rows` as they are stored, in key order; the relation `sources` numbers their origins."""
        exprs = ", ".join(f"{sql} AS {quoted(name)}" for name, _, sql in self.stored)
        order = ", ".join(str(self._position(c)) for c in (self.partition, self.sort) if c)
        sources = "JOIN sources s ON r._load_id = s._load_id AND r._source_file = s._source_file"
        return f"SELECT {exprs} FROM (SELECT r.*, s._source FROM {rows} r {sources}) r ORDER BY {order}"

    def select_few(self, rows: str) -> str:
        """DuckDB query of `rows` as they are stored, with `_source` null and `ORIGIN` behind; in no order."""
        exprs = ", ".join("NULL" if name == "_source" else sql for name, _, sql in self.stored)
        return f"SELECT {exprs}, {', '.join(ORIGIN)} FROM {rows}"

    def insert(self) -> str:
        """By name: a column added later stands behind those that were there."""
        names = ", ".join(quoted(name) for name, _, _ in self.stored)
        return f"INSERT INTO items ({names}) VALUES ({', '.join('?' * len(self.stored))})"

    def delete(self) -> str:
        """Parameters: partition key, sort key if any, `_source`, `_source_row`."""
        return f"DELETE FROM items WHERE {' AND '.join(f'{quoted(c)} = ?' for c in self.identity)}"

    @cached_property
    def source_at(self) -> int:
        """The place of `_source` among `stored`."""
        return self._position("_source") - 1

    @cached_property
    def identity(self) -> tuple[str, ...]:
        return tuple(c for c in (self.partition, self.sort, "_source", "_source_row") if c)

    def _position(self, column: str) -> int:
        return [name for name, _, _ in self.stored].index(column) + 1


def _affinity(kind: str) -> str:
    match kind:
        case "BIGINT" | "INTEGER" | "BOOLEAN":
            return "INTEGER"
        case "DOUBLE" | "FLOAT":
            return "REAL"
        case _:
            return "TEXT"


def _stored_sql(part: Part) -> str:
    match part.type:
        case "DATE" | "TIMESTAMP" | "TIMESTAMPTZ" | "UUID":
            return text_sql(part)
        case "VARCHAR" | "BIGINT" | "INTEGER" | "BOOLEAN" | "DOUBLE" | "FLOAT":
            return part.sql
        case _:
            return f"{part.sql}::VARCHAR"


def reader_of(kind: str) -> Callable[[Any], Any]:
    """Turns a stored value that is not null into its Python value.

    Python's dates end with the year 9999: what lies outside stays text.
    """
    match kind:
        case "BOOLEAN":
            return bool
        case "DATE":
            return _or_text(date.fromisoformat)
        case "TIMESTAMP" | "TIMESTAMPTZ":
            return _or_text(datetime.fromisoformat)
        case "UUID":
            return UUID
        case "DOUBLE" | "FLOAT":
            return float  # 'NaN' too, which SQLite would keep as null
        case _ if kind.startswith("DECIMAL"):
            return Decimal
        case _:
            return _same


def _or_text(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            return text

    return read


def _same(value: Any) -> Any:
    return value
