"""What is there, told alike for both homes. Ids of loads are left out: they count attempts, which may differ."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pyarrow.parquet import ParquetFile

from headrace.engine.home import Home
from headrace.model.loads import Load

Row = tuple[Any, ...]
REJECTED = ("_source_file", "_source_row", "_source_line", "rule", "column", "value", "reason", "raw")
OWN = ("_load_id",)
"""Columns that name attempts."""
STOOD = ("decided", "standing")
LIVE = ("seen", "staged", "dead", "skipped", *STOOD)


@dataclass(frozen=True)
class Facts:
    """Everything a person could ask of one pipeline, of the objects below one prefix."""

    lake: frozenset[Row]
    items: frozenset[Row]
    losers: frozenset[Row]
    rejected: frozenset[Row]
    loads: Mapping[str, Row]  # key → state, version, order, stale, counts, cause
    retired: Mapping[str, int]  # key → how many versions stood there once

    def differences(self, other: Facts) -> str:
        """What one has and the other has not, for a person; empty if they are equal."""
        found = []
        for name in (f.name for f in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Mapping):
                mine, theirs = frozenset(mine.items()), frozenset(theirs.items())
            found += [f"{name}: only here {row}" for row in sorted(mine - theirs, key=str)[:5]]
            found += [f"{name}: only there {row}" for row in sorted(theirs - mine, key=str)[:5]]
        return "\n".join(found)


def facts(home: Home, prefix: str, lake: Iterable[dict[str, Any]], items: Iterable[dict[str, Any]]) -> Facts:
    """`lake` and `items` are what readers of the two sinks see, of all keys."""
    live = [load for load in home.ledger.in_state(*LIVE) if load.key.startswith(prefix)]
    stood = {load.id for load in live if load.state in STOOD}
    return Facts(
        lake=_set("lake", lake, prefix),
        items=_set("items", items, prefix),
        losers=_set("losers", _base(home, "losers", stood), prefix),
        rejected=frozenset(
            tuple(row.get(c) for c in REJECTED) for row in _base(home, "rejected", stood) if _below(row, prefix)
        ),
        loads={load.key: _told(load) for load in live},
        retired=_retired(home, prefix),
    )


def _told(load: Load) -> Row:
    counts = tuple(load.counts.to_dict().items())
    state = "standing" if load.state in STOOD else str(load.state)
    return (state, load.version, load.arrived_at, load.stale, counts, load.cause.split(" ")[0])


def _retired(home: Home, prefix: str) -> dict[str, int]:
    keys: dict[str, int] = {}
    for load in home.ledger.history():
        if load.key.startswith(prefix) and load.state == "retired":
            keys[load.key] = keys.get(load.key, 0) + 1
    return keys


def _base(home: Home, kind: str, stood: set[str]) -> list[dict[str, Any]]:
    """Rows of standing loads in the base's files of one kind."""
    files = home.ledger.files(kind)
    lost = home.files.bring(files)
    assert not lost, f"files of the base are lost: {lost}"
    rows: list[dict[str, Any]] = []
    for file in files:
        with ParquetFile(os.path.join(home.root, file.path)) as opened:
            rows += [row for row in opened.read().to_pylist() if row["_load_id"] in stood]
    return rows


def _set(what: str, rows: Iterable[dict[str, Any]], prefix: str) -> frozenset[Row]:
    """A row that is there twice is what must never be."""
    found = [_row(row) for row in rows if _below(row, prefix)]
    assert len(found) == len(set(found)), f"{what}: a row is there twice"
    return frozenset(found)


def _row(row: Mapping[str, Any]) -> Row:
    return tuple(sorted((name, value) for name, value in row.items() if name not in OWN and value is not None))


def _below(row: Mapping[str, Any], prefix: str) -> bool:
    return str(row["_source_file"]).startswith(prefix)
