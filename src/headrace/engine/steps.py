"""A pipeline's own steps over the accepted rows of exactly one load, with the accounting kept.

A step may change values and drop rows; a dropped row counts as filtered. It must keep `_source_row`, add no row and
keep every column, since each row must stay traceable to its record.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from headrace.engine import pandas_shim
from headrace.engine.base import quoted
from headrace.model.contract import Contract, StepSpec
from headrace.model.errors import BadObject


def run_steps(
    db: duckdb.DuckDBPyConnection, contract: Contract, columns: Sequence[tuple[str, str]], project: str
) -> None:
    """Replace the views `accepted` and `staged` by what the steps made of the accepted rows."""
    if not contract.steps:
        return
    names = ", ".join(quoted(n) for n, _ in columns)
    db.execute(f"create temp table step0 as select _member, _record as _source_row, {names} from accepted")
    for i, step in enumerate(contract.steps, 1):
        _run(db, i, step, project)
        _verify(db, i, step, columns)
    last = f"step{len(contract.steps)}"
    typed = ", ".join(f"t.{quoted(n)}::{kind} as {quoted(n)}" for n, kind in columns)
    db.execute(
        f"create temp table stepped as select s._item, s._member, s._record, {typed}"
        f" from accepted s join {last} t on t._source_row = s._record and t._member is not distinct from s._member"
    )
    _storable(db, contract)
    db.execute(
        "create temp table staged_stepped as select s.* replace (s._filtered or (s._good and not exists (select 1 from"
        " stepped t where t._record = s._record and t._member is not distinct from s._member)) as _filtered)"
        " from staged s"
    )
    db.execute("create or replace temp view staged as select * from staged_stepped")
    db.execute("create or replace temp view accepted as select *, true as _good, false as _filtered from stepped")


def _run(db: duckdb.DuckDBPyConnection, i: int, step: StepSpec, project: str) -> None:
    db.execute(f"create or replace temp view input as select * from step{i - 1}")
    if step.kind == "sql":
        db.execute(f"create temp table step{i} as {step.text}")
        return
    module, _, function = step.text.partition(":")
    if project not in sys.path:
        sys.path.insert(0, project)
    pandas_shim.find()
    table = getattr(importlib.import_module(module), function)(db.sql("select * from input").to_arrow_table())
    if not isinstance(table, pa.Table):
        raise BadObject("HR430", f"step {step.text}", f"it returned {type(table).__name__}", "return a pyarrow.Table")
    db.register(f"stepped_{i}", table)
    db.execute(f"create temp table step{i} as select * from stepped_{i}")


def _verify(db: duckdb.DuckDBPyConnection, i: int, step: StepSpec, columns: Sequence[tuple[str, str]]) -> None:
    which = f"step {step.text.splitlines()[0][:60]}"
    have = {d[0] for d in db.execute(f"select * from step{i} limit 0").description or ()}
    missing = [n for n in ("_member", "_source_row", *(n for n, _ in columns)) if n not in have]
    if missing:
        raise BadObject("HR431", which, f"its result lacks {', '.join(missing)}", "keep every column of the input")
    found = db.execute(
        f"select count(*) from step{i} t anti join step0 s on s._source_row = t._source_row"
        " and s._member is not distinct from t._member union all"
        f" select count(*) - count(distinct (coalesce(_member, ''), _source_row)) from step{i}"
    ).fetchall()
    if any(n for (n,) in found):
        raise BadObject("HR432", which, "its result holds rows that its input does not", "a step may only drop rows")


def _storable(db: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """What the sinks can store was asked of the rows before the steps changed them."""
    for name, holds in contract.limits:
        found = db.execute(f"select _record from stepped where ({holds}) is distinct from true limit 1").fetchone()
        if found:
            which = f"step {contract.steps[-1].text.splitlines()[0][:60]}"
            told = f"what it makes of record {found[0]} cannot be stored by key ({name})"
            raise BadObject("HR433", which, told, "keep keys present and short, numbers finite, rows below 400 KB")
