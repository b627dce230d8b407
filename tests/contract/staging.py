"""Runs the contract's query over a handful of rows of text, for tests: what a file with them would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from headrace import Pipeline, Record, files, lake
from headrace.contract.compile import compile_contract
from headrace.contract.query import stage_query
from headrace.model.contract import Contract
from headrace.model.fields import cell_name, quoted


@dataclass
class Staged:
    """Rows in the order given: the typed row, or None and why not. `filtered` counts skipped ones."""

    rows: list[dict[str, Any] | None]
    rejected: list[dict[str, Any]]
    filtered: int

    @property
    def accepted(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row is not None]

    @property
    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.rejected]


def contract_of(record: type[Record], **settings: Any) -> Contract:
    return compile_contract(Pipeline("p", source=files("in/"), record=record, **{"sinks": [lake("t")], **settings}))


def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET timezone = 'Pacific/Auckland'")  # nothing may lean on the session's zone
    return connection


shared = cache(connect)
"""One connection for all tests of a process."""


def stage(
    contract: Contract, headers: Sequence[str], cells: Sequence[Sequence[str | None]], *, plain: bool = False
) -> Staged:
    """Stage rows of text under these headers, by the query for few rows and by the one for many."""
    named = {"_n": pa.array(range(len(cells)), pa.int32())}
    named |= {cell_name(i): pa.array([row[i] for row in cells], pa.string()) for i in range(len(headers))}
    shared().from_arrow(pa.table(named)).create("text")
    try:
        few, many = (_stage(contract, headers, len(cells), plain, brief) for brief in (True, False))
    finally:
        shared().execute("DROP TABLE text")
    assert repr(few) == repr(many)  # as text: a NaN is not equal to itself
    return many


def _stage(contract: Contract, headers: Sequence[str], count: int, plain: bool, brief: bool) -> Staged:
    connection = shared()
    query = stage_query(contract, headers, "text", ["_n"], plain=plain, brief=brief)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS {query.select}")
    names = [name for name, _ in query.columns]
    shown = ", ".join(f"{quoted(n)}{_readable(kind)}" for n, kind in query.columns)
    accepted = connection.execute(f"SELECT _n, {shown} FROM staged WHERE _bad = 0 AND NOT _filtered").fetchall()
    rejected = connection.execute(f"SELECT _n, {query.rejected} FROM staged WHERE _bad <> 0 ORDER BY _n").fetchall()
    filtered = connection.execute("SELECT count(*) FROM staged WHERE _filtered").fetchall()[0][0]
    rows: list[dict[str, Any] | None] = [None] * count
    for row in accepted:
        rows[row[0]] = dict(zip(names, row[1:], strict=True))
    keys = ("n", "rule", "column", "value", "reason")
    assert len(accepted) + len(rejected) + filtered == count
    return Staged(rows, [dict(zip(keys, row, strict=True)) for row in rejected], filtered)


def _readable(kind: str) -> str:
    """Instants as UTC wall clocks: the client library would want pytz for them."""
    return "::TIMESTAMPTZ AT TIME ZONE 'UTC'" if kind == "TIMESTAMPTZ" else ""
