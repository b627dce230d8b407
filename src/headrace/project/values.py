"""Rows of an Arrow table as Python values; what Python has no value for is text, as DuckDB prints it.

DuckDB's times reach beyond the years 1 to 9999 of Python's, and hold `infinity` and nanoseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BEYOND = (OverflowError, ValueError)
"""What PyArrow raises of a value that Python cannot hold."""


def rows_of(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Each row by column. A column keeps its Python values beside the one that becomes text."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows
    except BEYOND:
        columns = [_values(column) for column in table.columns]
        return [dict(zip(table.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
        return values
    except BEYOND:
        return [_value(cell, text) for cell, text in zip(column, _texts(column), strict=True)]


def _value(cell: pa.Scalar, text: str | None) -> Any:
    try:
        return cell.as_py()
    except BEYOND:
        return text


def _texts(column: pa.ChunkedArray | pa.Array) -> list[str | None]:
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        texts = db.from_arrow(pa.table({"value": column})).select("value::VARCHAR").fetchall()
        return [text for (text,) in texts]
