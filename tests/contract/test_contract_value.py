"""A contract is a value: it survives JSON, and its digest moves just when rows would."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import Csv, Pipeline, Record, alert, column, derived, files, flag, keyed, lake, reject, sql
from headrace.contract.compile import compile_contract, partitions
from headrace.model.contract import Column, Contract, CsvSpec, RowRule, StepSpec, Type


class Row(Record, key=("a", "t"), zone="UTC", date_format="DD/MM/YYYY", extra="keep", null=("", "NA")):
    a: str = column("A", "Alpha", pattern="^x", doc="what it is")
    t: datetime
    d: date | None = None
    n: int = 3
    p: Decimal = column(digits=(9, 2), round=True, ge=0)
    c: Literal["u", "v"] | None = None
    j: dict[str, Any] | None = None
    u: UUID = column(default_sql="row_hash()")
    e: float = derived("n * 2.0")


def pipeline(**settings: Any) -> Pipeline:
    given: dict[str, Any] = {"source": files("in/"), "record": Row, "sinks": [lake("t"), keyed("k")]}
    return Pipeline("p", **{**given, **settings})


names = st.text("abcdefgh", min_size=1, max_size=6)
words = st.text(max_size=12)
types = st.builds(
    Type,
    st.sampled_from(["str", "int", "float", "decimal", "bool", "date", "datetime", "uuid", "json"]),
    digits=st.none() | st.tuples(st.integers(1, 38), st.integers(0, 10)),
    zone=st.none() | st.just("UTC"),
    choices=st.lists(words, max_size=3).map(tuple),
    format=st.none() | words,
    round=st.booleans(),
)
pairs = st.lists(st.tuples(names, words), max_size=3).map(tuple)
columns = st.builds(
    Column,
    names,
    types,
    nullable=st.booleans(),
    headers=st.lists(words, max_size=2).map(tuple),
    path=st.none() | words,
    default=st.none() | words,
    default_sql=st.none() | words,
    sql=st.none() | words,
    checks=pairs,
)
contracts = st.builds(
    Contract,
    names,
    st.lists(columns, max_size=4).map(tuple),
    key=st.lists(names, max_size=2).map(tuple),
    null=st.lists(words, max_size=2).map(tuple),
    csv=st.builds(
        CsvSpec, delimiter=st.none() | words, header=st.none() | st.booleans(), skip=st.none() | st.integers(0, 9)
    ),
    steps=st.lists(st.builds(StepSpec, st.just("sql"), words), max_size=2).map(tuple),
    rules=st.lists(
        st.builds(RowRule, st.sampled_from(["reject", "skip", "flag", "alert"]), names, words), max_size=2
    ).map(tuple),
    limits=pairs,
)


@settings(max_examples=100)
@given(contracts)
def test_a_contract_survives_json_with_its_digest(contract: Contract) -> None:
    back = Contract.from_dict(json.loads(json.dumps(contract.to_dict())))
    assert back == contract
    assert back.digest == contract.digest


def test_a_compiled_contract_survives_json_too() -> None:
    contract = compile_contract(pipeline(rules=[flag("f", "n > 1")], steps=[sql("SELECT * FROM input")]))
    assert Contract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


def test_docs_names_of_sinks_tolerances_and_alerts_do_not_move_the_digest() -> None:
    class Documented(
        Record, key=("a", "t"), zone="UTC", date_format="DD/MM/YYYY", extra="keep", null=("", "NA"), version=2
    ):
        a: str = column("A", "Alpha", pattern="^x", doc="said otherwise")
        t: datetime
        d: date | None = column(default=None, doc="new")
        n: int = 3
        p: Decimal = column(digits=(9, 2), round=True, ge=0)
        c: Literal["u", "v"] | None = None
        j: dict[str, Any] | None = None
        u: UUID = column(default_sql="row_hash()")
        e: float = derived("n * 2.0")

    plain = compile_contract(pipeline()).digest
    assert compile_contract(pipeline(record=Documented)).digest == plain
    assert compile_contract(pipeline(sinks=[keyed("other"), lake("else")])).digest == plain
    assert compile_contract(pipeline(tolerate=0.5, expect_every="1 day")).digest == plain
    told = alert("told", when="n > 1", subject="x", body="y")
    assert compile_contract(pipeline(rules=[told])).digest == plain
    assert compile_contract(pipeline(source=files("elsewhere/", suffix=".csv", after="archive"))).digest == plain


def test_whatever_shapes_rows_moves_the_digest() -> None:
    class Wider(Row):
        z: str | None = None

    class Stricter(Row, on_conflict="first"):
        pass

    digests = [
        compile_contract(p).digest
        for p in (
            pipeline(),
            pipeline(record=Wider),
            pipeline(record=Stricter),
            pipeline(rules=[reject("r", "n > 1")]),
            pipeline(rules=[reject("r", "n > 2")]),
            pipeline(sinks=[lake("t")]),  # without a keyed sink its limits do not hold
            pipeline(sinks=[keyed("k"), lake("t", partition_by="n")]),  # what is staged lies in other folders
            pipeline(steps=[sql("SELECT * FROM input WHERE n > 1")]),
            pipeline(source=files("in/", csv=Csv(delimiter=";"))),
        )
    ]
    assert len(set(digests)) == len(digests)


def test_partitions_are_columns_or_parts_of_a_time() -> None:
    sinks = [keyed("k"), lake("t", ["year(t)", "month(t)", "c"]), lake("other", "n")]
    assert partitions(pipeline(sinks=sinks)) == (
        ("year", 'year("t")::INTEGER'),
        ("month", 'month("t")::INTEGER'),
        ("c", '"c"'),
    )
    assert partitions(pipeline(sinks=[keyed("k")])) == ()


def double(table: Any) -> Any:
    return table


def test_a_python_step_is_a_reference_with_the_digest_of_its_source() -> None:
    (step,) = compile_contract(pipeline(steps=[double])).steps
    assert (step.kind, step.text) == ("python", f"{__name__}:double")
    assert len(step.digest) == 16
