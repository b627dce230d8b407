"""Looking items up by key in a keyed sink's SQLite file, in this process or another, while it is being written.

`headrace get` and the HTTP API call it through `KeyedWriter.get`. Reads one consistent revision per call, never waits
for the writer, writes nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from headrace.local.keyed_layout import Layout, reader_of
from headrace.model.contract import LINEAGE
from headrace.model.errors import InfrastructureError, UsageError
from headrace.sinks.keyed import missing_table, quoted
from headrace.sinks.keyed_bounds import conditions


class KeyedLookup:
    """Reads `path`. Each thread gets a connection of its own, opened on first use.

    `expected` tells the number that the ledger knows of the table: where the file has none, 0 is the only right one.
    """

    def __init__(self, path: Path, table: str, expected: Callable[[], int] = lambda: 0) -> None:
        self.path, self.table, self._expected = path, table, expected
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def get(
        self,
        table: str,
        key: Any,
        *,
        at: Any = None,
        begins_with: str | None = None,
        start: Any = None,
        end: Any = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Items of one partition key in sort order; `start` and `end` are inclusive.

        With a sort key of several columns, `at` takes one value for each (a tuple), `start` and `end` any leading ones;
        `end=(day,)` then includes everything of that day's value. `begins_with` is a prefix of the first sort column's
        text, and of nothing else. Values are given as Python values or as the text that `get` prints.
        Raises UsageError (HR721 for another table, HR722 for a value that no key can hold).
        """
        self._own(table)
        with self._snapshot() as found:
            if found is None:
                return []
            connection, layout = found
            where, values = _conditions(layout, key, at, begins_with, start, end)
            order = quoted(layout.sort or layout.partition)
            return _rows(connection, layout, f"{where} ORDER BY i.{order}", values, limit)

    def find(self, table: str, column: str, value: Any = True, limit: int | None = None) -> list[dict[str, Any]]:
        """Items whose indexed column has this value, through its sparse index; in no promised order."""
        self._own(table)
        with self._snapshot() as found:
            if found is None:
                return []
            connection, layout = found
            types = dict(layout.columns)
            if column not in types:
                raise UsageError("HR722", f"column {column!r}", f"table {table!r} has no such column")
            # the index's own condition must stand in the query, or SQLite does not use it
            sparse = "= 1" if types[column] == "BOOLEAN" and value is True else "IS NOT NULL"
            where = f"i.{quoted(column)} {sparse} AND i.{quoted(column)} = ?"
            return _rows(connection, layout, where, [value], limit)

    def close(self) -> None:
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._local = threading.local()

    def _own(self, table: str) -> None:
        if table != self.table:
            raise UsageError("HR721", f"table {table!r}", "there is no such keyed table here", f"try {self.table!r}")

    @contextmanager
    def _snapshot(self) -> Iterator[tuple[sqlite3.Connection, Layout] | None]:
        """One revision to read from, with its shape; None before the first. Raises HR533 if it held rows once."""
        if not self.path.exists():
            self._local = threading.local()  # what is open was deleted: not to be read when the table is there again
            self._refuse_lost()
            yield None
            return
        try:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                layout = _layout(connection)
                if layout is None:
                    self._refuse_lost()
                yield (connection, layout) if layout else None
            finally:
                connection.execute("COMMIT")
        except sqlite3.Error as exc:
            raise InfrastructureError(
                "HR519", f"keyed {self.table!r}", f"its file cannot be read: {exc}", "run `headrace doctor`"
            ) from exc

    def _refuse_lost(self) -> None:
        if (at := self._expected()) and not self._is_there():
            raise missing_table(self.table, at)

    def _is_there(self) -> bool:
        """Looked at once more: the first revision may have come since the look before."""
        if not self.path.exists():
            return False
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            return _layout(connection) is not None

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            # not mode=ro: a reader of a WAL file must be able to make its index when it is the first to come
            uri = f"{self.path.absolute().as_uri()}?mode=rw"
            found = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=60, isolation_level=None)
            found.execute("PRAGMA query_only = 1")
            self._local.connection = found
            self._opened.append(found)
        return found


def _rows(
    connection: sqlite3.Connection, layout: Layout, where: str, values: Sequence[Any], limit: int | None
) -> list[dict[str, Any]]:
    names, readers, sql = _projection(layout)
    limited = f"{sql} WHERE {where}" + ("" if limit is None else f" LIMIT {int(limit)}")
    found = connection.execute(limited, values).fetchall()
    return [
        {name: None if value is None else read(value) for name, read, value in zip(names, readers, row, strict=True)}
        for row in found
    ]


def _layout(connection: sqlite3.Connection) -> Layout | None:
    """The file's shape, or None while its first revision has not been committed."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'headrace_meta'").fetchone() is None:
        return None
    key, columns = connection.execute("SELECT key, columns FROM headrace_meta").fetchone()
    return _layout_of(key, columns)


@lru_cache(maxsize=64)
def _layout_of(key: str, columns: str) -> Layout:
    return Layout.from_meta(key, columns)


@lru_cache(maxsize=64)
def _projection(layout: Layout) -> tuple[tuple[str, ...], tuple[Any, ...], str]:
    """(names, readers, SQL) of a whole item: the row's columns, then the lineage."""
    wanted = (*layout.columns, *LINEAGE)
    shared = {name for name, _ in LINEAGE} - {"_source_row"}
    exprs = ", ".join(f"{'s' if name in shared else 'i'}.{quoted(name)}" for name, _ in wanted)
    sql = f"SELECT {exprs} FROM items i LEFT JOIN headrace_sources s ON s.id = i._source"
    return tuple(n for n, _ in wanted), tuple(reader_of(t) for _, t in wanted), sql


def _conditions(
    layout: Layout, key: Any, at: Any, begins_with: str | None, start: Any, end: Any
) -> tuple[str, list[Any]]:
    """The WHERE clause over `items i`, with its values."""
    parts, values = [f"i.{quoted(layout.partition)} = ?"], [layout.key.encode_partition(key)]
    for operator, value in conditions(layout.key, at, begins_with, start, end):
        parts.append(f"i.{quoted(layout.sort or layout.partition)} {operator} ?")
        values.append(value)
    return " AND ".join(parts), values
