"""How rows of the ledger become values, in one place for writing and reading."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from headrace.model.loads import Counts, DataFile, Load, LoadState, Shape
from headrace.model.times import instant_of

COUNTS = "read = ?, accepted = ?, rejected = ?, filtered = ?, loaded = ?, duplicate = ?, conflict = ?"


@lru_cache(maxsize=256)
def _dialect(text: str) -> Mapping[str, Any]:
    """The same few decisions come back for every file of a kind: parsed once, shared, never changed."""
    return MappingProxyType(json.loads(text))


def load_of(row: sqlite3.Row) -> Load:
    return Load(
        id=row["id"],
        pipeline=row["pipeline"],
        key=row["key"],
        version=row["version"],
        contract=row["contract"],
        corrections=row["corrections"],
        arrived_at=instant_of(row["arrived_at"]),
        state=LoadState(row["state"]),
        size=row["size"],
        fingerprint=row["fingerprint"],
        counts=Counts(
            row["read"],
            row["accepted"],
            row["rejected"],
            row["filtered"],
            row["loaded"],
            row["duplicate"],
            row["conflict"],
        ),
        dialect=_dialect(row["dialect"]),
        cause=row["cause"],
        decided=row["decided"],
        retired=row["retired"],
        stale=bool(row["stale"]),
        seen_at=instant_of(row["seen_at"]) if row["seen_at"] else None,
        staged_at=instant_of(row["staged_at"]) if row["staged_at"] else None,
        seconds=row["seconds"],
    )


def files_query(where: str) -> str:
    """Files with their loads folded in, in the order they were recorded."""
    return (
        "select path, kind, rows, size, partition, ranges, (select json_group_object(load, rows) from file_loads"
        f" where file = files.id) as loads from files where {where} order by id"
    )


def file_of(row: sqlite3.Row) -> DataFile:
    return DataFile(
        path=row["path"],
        kind=row["kind"],
        rows=row["rows"],
        size=row["size"],
        loads=json.loads(row["loads"]),
        partition=json.loads(row["partition"]),
        ranges=tuple((lo, hi) for lo, hi in json.loads(row["ranges"])),
    )


def counts_values(c: Counts) -> tuple[int, ...]:
    return (c.read, c.accepted, c.rejected, c.filtered, c.loaded, c.duplicate, c.conflict)


def shape_text(shape: Shape) -> str:
    return json.dumps([shape.columns, shape.key, shape.on_conflict, shape.partitions])


def shape_of(text: str) -> Shape:
    columns, key, on_conflict, partitions = json.loads(text)
    return Shape(tuple(map(tuple, columns)), tuple(key), on_conflict, tuple(map(tuple, partitions)))
