"""Rows of the base on their way into a keyed sink's SQLite file: read, typed and sorted by DuckDB, in batches.

Used by `local.keyed` alone. Knows no revision and writes nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from headrace.local.keyed_layout import ORIGIN, Layout
from headrace.sinks.keyed import quoted

BATCH_ROWS = 32_768

Origin = tuple[str, str, str | None, str | None]
"""(_load_id, _source_file, _source_version, _arrived_at as text): what many rows share."""

Stored = tuple[Any, ...]

SOURCES = """
CREATE OR REPLACE TEMP TABLE sources AS
SELECT unnest($1::VARCHAR[]) AS _load_id, unnest($2::VARCHAR[]) AS _source_file, unnest($3::BIGINT[]) AS _source
"""


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

    def origins(self, rows: str) -> list[Origin]:
        found = self._duckdb().execute(f"SELECT DISTINCT {', '.join(ORIGIN)} FROM {rows}").fetchall()
        return [(a, b, c, d) for a, b, c, d in found]

    def batches(
        self, layout: Layout, rows: str, numbers: Mapping[Origin, int], only: Sequence[str] = ()
    ) -> Generator[Iterable[Stored], None, None]:
        """The rows in key order as they are stored, or only these stored columns, some thousands at a time.

        `numbers` are those under which the table knows the rows' origins.
        """
        database = self._duckdb()
        database.execute(SOURCES, [[o[0] for o in numbers], [o[1] for o in numbers], list(numbers.values())])
        names = ", ".join(quoted(n) for n in only)
        query = f"SELECT {names} FROM ({layout.select(rows)})" if only else layout.select(rows)
        for batch in database.sql(query).to_arrow_reader(BATCH_ROWS):
            yield zip(*(_values(column) for column in batch.columns), strict=True)

    def few(self, layout: Layout, rows: str) -> tuple[set[Origin], list[tuple[Origin, Stored]]]:
        """All rows at once, in any order, each with its origin; their `_source` is still to be filled in."""
        found = self._duckdb().execute(layout.select_few(rows)).fetchall()
        taken = [(row[-len(ORIGIN) :], tuple("NaN" if v != v else v for v in row[: -len(ORIGIN)])) for row in found]
        return {origin for origin, _ in taken}, taken

    def doubled(self, layout: Layout, rows: str) -> tuple[int, Stored] | None:
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

    def _duckdb(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None:
            self._opened = duckdb.connect(config=self._config)
        return self._opened


def _values(column: pa.Array) -> list[Any]:
    """Python values for SQLite, which keeps NaN as null: it becomes the text 'NaN', which no number is equal to."""
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type):
        import pyarrow.compute as pc  # 0.15 s: not every table has such a column

        if not pc.any(pc.is_nan(column)).as_py():
            return values
        return ["NaN" if v is not None and v != v else v for v in values]
    return values
