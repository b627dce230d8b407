"""What one revision changes in a sink that holds rows, read from the base's Parquet files by DuckDB in key order.

For sinks that are loaded row by row (`local.keyed`); the lake adopts whole files and needs none of it. Streams Arrow
batches: memory stays within the connection's limit however many rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path

from headrace.model.contract import LINEAGE
from headrace.model.loads import DataFile
from headrace.sinks.keyed import quoted

ORIGIN = ("_load_id", "_source_file", "_source_row")
"""Where a row comes from. Equal origins mean the same row: only its file changed (compaction, a contest elsewhere)."""


Span = tuple[int, int]
"""The first row of a file that is meant, and the first behind it that is not."""


def rows_of(root: Path, files: Sequence[DataFile], columns: Sequence[tuple[str, str]], span: Span | None = None) -> str:
    """A subquery over the rows of `files` with exactly `columns` and the lineage; what an older file lacks is null.

    `span` takes a part of the only file: row groups outside it are not read.
    """
    wanted = (*columns, *LINEAGE)
    empty = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in wanted)
    typed = ", ".join(f"{quoted(name)}::{kind} AS {quoted(name)}" for name, kind in wanted)
    if not files:
        return f"(SELECT {empty} WHERE false)"
    paths = ", ".join(_literal(str(root / f.path)) for f in files)
    union = f", union_by_name = {'true' if len(files) > 1 else 'false'}"
    found = f"read_parquet([{paths}], hive_partitioning = false{union})"
    if span is not None:
        found = _within(found, span, {name for name, _ in columns})
    return f"(SELECT {typed} FROM (SELECT {empty} WHERE false UNION ALL BY NAME SELECT * FROM {found}))"


def _within(found: str, span: Span, names: Set[str]) -> str:
    """Rows by their place in the file. DuckDB has one name for it, and refuses a file that has such a column."""
    if "file_row_number" in map(str.casefold, names):  # then all of the file is read
        found, place = f"(SELECT *, row_number() OVER () - 1 AS _place FROM {found})", "_place"
    else:
        found, place = f"{found[:-1]}, file_row_number = true)", "file_row_number"
    return f"{found} WHERE {place} >= {span[0]} AND {place} < {span[1]}"


def gone(
    root: Path,
    added: Sequence[DataFile],
    removed: Sequence[DataFile],
    columns: Sequence[tuple[str, str]],
    span: Span | None = None,
) -> str:
    """The rows of `removed`, or of a span of it, that `added` does not hold again."""
    return _without(rows_of(root, removed, columns, span), rows_of(root, added, columns) if added else None)


def come(
    root: Path,
    added: Sequence[DataFile],
    removed: Sequence[DataFile],
    columns: Sequence[tuple[str, str]],
    span: Span | None = None,
) -> str:
    """The rows of `added`, or of a span of it, that `removed` did not hold already."""
    return _without(rows_of(root, added, columns, span), rows_of(root, removed, columns) if removed else None)


def _without(rows: str, others: str | None) -> str:
    if others is None:
        return rows
    same = " AND ".join(f"a.{name} = b.{name}" for name in ORIGIN)
    return f"(SELECT a.* FROM {rows} a ANTI JOIN {others} b ON {same})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
