"""Steps end to end: they see one load, may change and drop rows, and may not invent any."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace import Pipeline, Record, files, keyed, lake, sql
from headrace.engine import ingest
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.sandbox import InProcess, Sandbox
from headrace.engine.settings import Settings
from headrace.local.target import LocalTarget
from headrace.model.loads import Counts
from headrace.model.pipeline import Keyed, Lake


class Row(Record, key="k"):
    k: int
    v: int


def doubled(table: pa.Table) -> pa.Table:
    """Twice the value, and only rows of an odd key."""
    odd = table.filter(pc.equal(pc.bit_wise_and(table["k"], 1), 1))
    return odd.set_column(odd.schema.get_field_index("v"), "v", pc.multiply(odd["v"], 2))


def invented(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table])


def missing(table: pa.Table) -> pa.Table:
    """As many as PyArrow takes for missing of a Series of floats and of one of anything."""
    import pandas as pd

    found = [pa.array(pd.Series([1.0, math.nan])), pa.array(pd.Series([1, pd.NA, pd.NaT], dtype=object))]
    values = [10 * found[0].null_count + found[1].null_count] * len(table)
    return table.set_column(table.schema.get_field_index("v"), "v", pa.array(values, pa.int64()))


def run(
    tmp_path: Path,
    *steps: object,
    text: str = "k,v\n1,1\n2,2\n3,x\n5,5\n",
    record: type[Record] = Row,
    sinks: Sequence[Lake | Keyed] = (lake("t"),),
    child: ingest.Child | None = None,
) -> tuple[Counts, str, list[tuple[int, int]]]:
    pipeline = Pipeline("p", source=files("in/"), record=record, steps=steps, sinks=sinks)  # type: ignore[arg-type]
    target = LocalTarget(tmp_path / "root", project=Path(__file__).parent)
    home = target.home(pipeline)
    (target.landing / "in").mkdir()
    (target.landing / "in" / "a.csv").write_text(text)
    scan(home)
    ingest.ingest(home, child or InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    publish(home)
    (load,) = home.ledger.history()
    paths = [str(target.root / f.path) for f in home.ledger.files("data")]
    rows = duckdb.execute("select k, v from read_parquet($1) order by k", [paths]).fetchall() if paths else []
    target.close()
    return load.counts, load.cause, rows


def test_a_query_may_change_and_drop_rows_and_what_it_drops_is_filtered(tmp_path: Path) -> None:
    counts, _, rows = run(tmp_path, sql("select * replace (v + 10 as v) from input where k <> 2"))
    assert rows == [(1, 11), (5, 15)]
    assert (counts.read, counts.accepted, counts.rejected, counts.filtered) == (4, 2, 1, 1)


def test_steps_run_in_order_python_after_sql(tmp_path: Path) -> None:
    counts, _, rows = run(tmp_path, sql("select * replace (v + 10 as v) from input"), doubled)
    assert rows == [(1, 22), (5, 30)]
    assert counts.filtered == 1


def test_a_function_is_handed_its_table_without_an_extra_copy(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="error", category=UserWarning):  # DuckDB says where it would make one
        counts, cause, rows = run(tmp_path, doubled)
    assert (counts.accepted, cause, rows) == (2, "", [(1, 2), (5, 10)])


def test_a_function_has_pandas_as_if_nobody_had_kept_it_away(tmp_path: Path) -> None:
    """The child keeps PyArrow from importing it until a step runs."""
    pytest.importorskip("pandas")
    with Sandbox(Settings()) as child:
        _, cause, rows = run(tmp_path, missing, child=child)
    assert (cause, rows) == ("", [(1, 12), (2, 12), (5, 12)])


def test_a_step_that_invents_rows_costs_the_object(tmp_path: Path) -> None:
    _, cause, rows = run(tmp_path, invented)
    assert cause.startswith("HR432") and not rows


class Named(Record, key="k"):
    k: str
    v: int


def test_a_row_that_a_step_made_and_no_keyed_sink_can_store_is_refused_before_it_is_decided(tmp_path: Path) -> None:
    for i, (change, said) in enumerate((("repeat(k, 3000) as k", "(key)"), ("nullif(k, 'b') as k", "(key)"))):
        step = sql(f"select * replace ({change}) from input")
        (tmp_path / f"{i}").mkdir()
        counts, cause, _ = run(tmp_path / f"{i}", step, text="k,v\na,1\nb,2\n", record=Named, sinks=[keyed("t")])
        assert "HR433" in cause and said in cause, cause
        assert counts == Counts()
