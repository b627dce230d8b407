"""The same items to a DynamoDB by one client: `python -m benchmarks.peers.item_writers CLIENT FILE ITEMS`.

CPU seconds are this process's own, from the rows to the last answer; libraries are imported and connections made
before. boto3's clients get their rows as Python objects that are there already, in the types that each needs;
Headrace begins with the Parquet file.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
import duckdb
from benchmarks.harness import tell
from botocore.config import Config

from headrace.aws.keyed_items import RowReader, puts
from headrace.aws.keyed_layout import Layout
from headrace.aws.session import Session
from headrace.aws.wire import Wire
from headrace.model.loads import DataFile
from headrace.sinks.delta import rows_of

KEY = ("site", "event_time", "event_id")
COLUMNS = (
    ("event_id", "BIGINT"),
    ("event_time", "TIMESTAMP"),
    ("customer_id", "BIGINT"),
    ("device_id", "VARCHAR"),
    ("site", "VARCHAR"),
    ("category", "VARCHAR"),
    ("quantity", "BIGINT"),
    ("unit_price", "DECIMAL(10,2)"),
    ("amount", "DECIMAL(14,2)"),
    ("temperature", "DOUBLE"),
    ("ok", "BOOLEAN"),
    ("note", "VARCHAR"),
)
ROWS = """
SELECT i AS event_id, TIMESTAMP '2024-01-01' + to_seconds(i) AS event_time,
    10000000 + i * 7919 % 1000003 AS customer_id,
    'device-' || lower(to_hex(i * 2654435761 % 4294967296)) AS device_id, 'site-' || i % 200 AS site,
    ['electronics', 'toys', 'books', 'garden'][1 + i % 4] AS category, i % 500 AS quantity,
    (i * 31 % 100000) / 100 AS unit_price, (i * 97 % 10000000) / 100 AS amount, sin(i) * 40 AS temperature,
    i % 3 = 0 AS ok, CASE WHEN i % 50 > 0 THEN 'said "yes" – ' || i END AS note,
    'raw/events.csv' AS _source_file, '9f86d081884c7d65' AS _source_version, i + 1 AS _source_row,
    'events.1' AS _load_id, TIMESTAMPTZ '2025-01-01 00:00:00+00' AS _arrived_at
"""
TABLE = "t"
AT_ONCE = 25


def write_rows(path: Path, items: int) -> None:
    """The input of all."""
    typed = ", ".join(f'"{n}"::{t} AS "{n}"' for n, t in COLUMNS)
    query = f"SELECT {typed}, COLUMNS('^_') FROM ({ROWS} FROM range({items}) t(i))"
    duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def headrace(path: Path, items: int) -> Callable[[], object]:
    layout = Layout.of(KEY, COLUMNS)
    file = DataFile(path.name, "data", items, path.stat().st_size, {"events.1": items})
    reader = RowReader(path.parent / "spill", "512MB", 1)
    wire = Wire(Session("eu-west-2"), TABLE)
    wire.send(reader.texts(puts(layout, rows_of(path.parent, [file], layout.columns, (0, AT_ONCE)), 1, 1)))
    return lambda: wire.send(reader.texts(puts(layout, rows_of(path.parent, [file], layout.columns), 1, 1)))


def batch_writer(path: Path, items: int) -> Callable[[], object]:
    """boto3's own way for many items: one batch after the other, from plain Python values."""
    rows = list(_rows(path, Decimal))
    table = boto3.resource("dynamodb").Table(TABLE)
    _put(table, rows[:AT_ONCE])
    return lambda: _put(table, rows)


def _put(table: Any, rows: list[dict[str, Any]]) -> None:
    with table.batch_writer() as batch:
        for row in rows:
            batch.put_item(Item=row)


def low_level(path: Path, items: int) -> Callable[[], object]:
    """What a careful user of boto3 gets to: the client without validation, and attributes typed by hand."""
    kinds = {n: "N" if t.startswith(("BIGINT", "DEC", "DOUBLE")) else "S" for n, t in COLUMNS} | {"ok": "BOOL"}
    rows = list(_rows(path, str))
    client = boto3.client("dynamodb", config=Config(parameter_validation=False))

    def typed(row: dict[str, Any]) -> dict[str, Any]:
        return {name: {kinds.get(name, "S"): value} for name, value in row.items()}

    def send(wanted: list[dict[str, Any]]) -> None:
        source = iter(wanted)
        while chunk := list(islice(source, AT_ONCE)):
            answer = client.batch_write_item(RequestItems={TABLE: [{"PutRequest": {"Item": typed(r)}} for r in chunk]})
            assert not answer["UnprocessedItems"]

    send(rows[:AT_ONCE])
    return lambda: send(rows)


def _rows(path: Path, number: Callable[[Any], Any]) -> Iterator[dict[str, Any]]:
    """Rows as dicts, times as text, floats and decimals as `number` makes them; null columns left out."""
    found = duckdb.execute(
        f"SELECT * REPLACE (event_time::VARCHAR AS event_time, _arrived_at::VARCHAR AS _arrived_at)"
        f" FROM read_parquet('{path}')"
    )
    names = [column[0] for column in found.description or ()]
    whole = (lambda v: v) if number is Decimal else str
    for row in found.fetchall():
        yield {
            name: number(str(value))
            if isinstance(value, float | Decimal)
            else whole(value)
            if isinstance(value, int) and not isinstance(value, bool)
            else value
            for name, value in zip(names, row, strict=True)
            if value is not None
        }


def main(client: str, path: Path, items: int) -> None:
    act = {"headrace": headrace, "batch_writer": batch_writer, "low_level": low_level}[client](path, items)
    cpu, wall = time.process_time(), time.perf_counter()
    act()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    tell(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall, rss=rss)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
