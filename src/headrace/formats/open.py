"""The one way into files: local copies in, groups of rows as text out. Format by suffix, all else on evidence.

Runs in the confined child. `engine.stage` calls `open_input`; nothing here knows stores, ledgers or types of columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from headrace.formats.archive import EXCEL, JSON, LIMITS, NDJSON, PARQUET, TEXT, Limits, Part, unpack
from headrace.formats.csv import open_csv
from headrace.formats.dialect import Dialect
from headrace.formats.rows import BadItem, Blame, Group, Item, Rows
from headrace.model.contract import Contract
from headrace.model.errors import BadObject

FAMILIES = (TEXT, JSON + NDJSON, PARQUET, EXCEL)

__all__ = ["BadItem", "Item", "Rows", "blame", "open_input"]


def open_input(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract | None,
    items: Sequence[Item],
    scratch: Path,
    pinned: Mapping[int, Dialect],
    limits: Limits = LIMITS,
) -> list[Rows]:
    """Rows of all items, grouped so that each group is one staging query; every item is in at least one group.

    `pinned` holds decisions of an earlier reading by item index: with the same bytes it reads alike. What is unpacked
    (within `limits`) or rewritten lies in `scratch`, which must outlive the rows. Without a contract (`probe`) evidence
    alone decides.
    Raises BadItem (codes HR401 to HR416) for items that can never load; the others are untouched by it.
    """
    of: dict[tuple[str, ...], list[Part]] = {family: [] for family in FAMILIES}
    passed_over: dict[int, tuple[str, ...]] = {}
    faults = Blame()
    for item in items:
        with faults.of(item.index):
            unpacked = unpack(item, scratch, limits)
            passed_over[item.index] = unpacked.passed_over
            for part in unpacked.parts:
                of[next(family for family in FAMILIES if part.suffix in family)].append(part)
    faults.tell()
    rows: list[Group] = []
    rows += open_csv(connection, contract, of[TEXT], pinned)
    if of[JSON + NDJSON]:  # imported as they come: without them a child starts in 0.62 s instead of 0.71
        from headrace.formats.json import JsonRows

        rows.append(JsonRows(connection, contract, of[JSON + NDJSON], pinned))
    if of[PARQUET]:
        from headrace.formats.parquet import open_parquet

        rows += open_parquet(connection, contract, of[PARQUET])
    if of[EXCEL]:
        from headrace.formats.excel import open_excel

        rows += open_excel(connection, contract, of[EXCEL], pinned)
    _tell_decisions(rows, passed_over)
    return list(rows)


def blame(rows: Rows, items: Sequence[Item], error: duckdb.Error) -> BadItem:
    """What to raise when reading `rows.relation` failed inside DuckDB: HR407, for the group's first item.

    Only exact for a group of one; of a larger one the caller finds the culprit by halving the batch.
    """
    which = next(i.key for i in items if i.index == rows.item)
    found = f"cannot be read to its end ({str(error).splitlines()[0]})"
    return BadItem(rows.item, BadObject("HR407", which, found, "check its quotes and line ends, or upload it again"))


def _tell_decisions(rows: Sequence[Group], passed_over: Mapping[int, tuple[str, ...]]) -> None:
    """One dialect per item; for a zip one that holds those of all its members, whichever group they went to."""
    decided: dict[int, dict[str | None, Dialect]] = {}
    for group in rows:
        for (item, member), dialect in group.decided.items():
            decided.setdefault(item, {})[member] = dialect
    for group in rows:
        group.dialects = {item: _whole(decided[item], passed_over[item]) for item, _ in group.decided}


def _whole(members: Mapping[str | None, Dialect], passed_over: tuple[str, ...]) -> Dialect:
    alone = members.get(None)
    inside = {name: d for name, d in members.items() if name is not None}
    return alone or Dialect(kind="zip", members=inside, passed_over=passed_over)
