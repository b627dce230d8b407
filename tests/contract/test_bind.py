"""`check_definition`: all that is wrong with the SQL of a definition, each with its place and what to do."""

from __future__ import annotations

import runpy
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headrace import Pipeline, Record, alert, column, derived, files, flag, lake, reject, skip, sql
from headrace.contract.bind import check_definition

SKETCHES = Path(__file__).resolve().parent.parent / "typing" / "systems"


class Base(Record, key="a", zone="UTC"):
    a: str
    n: int
    p: Decimal = column(digits=(9, 2))
    t: datetime
    b: int = derived("n + 1")


def problems(record: type[Record] = Base, **settings: Any) -> list[str]:
    pipeline = Pipeline("p", source=files("in/"), record=record, sinks=[lake("t", "month(t)")], **settings)
    return [str(error) for error in check_definition(pipeline)]


def with_sql(text: str, annotation: Any = float) -> list[str]:
    made = type("Made", (Base,), {"__annotations__": {"x": annotation}, "x": derived(text, digits=_digits(annotation))})
    return problems(made)


def _digits(annotation: Any) -> tuple[int, int] | None:
    return (9, 2) if annotation is Decimal else None


@pytest.mark.parametrize("path", sorted(SKETCHES.glob("*.py")), ids=lambda p: p.stem)
def test_the_example_systems_have_no_mistakes(path: Path) -> None:
    for value in runpy.run_path(str(path)).values():
        if isinstance(value, Pipeline):
            assert check_definition(value) == []


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("n * 1.5", float),
        ("b + n", int),
        ("p + 1", Decimal),
        ("round(p * p, 2)", Decimal),
        ("_arrived_at", datetime),
        ("upper(a) || _source_file", str),
        ("a like 'x%'", bool),
        ("len(list_filter([1, 2], lambda i: i > n))", int),
        ("row_hash()", str),
        ("t - interval 1 day", datetime),
        ("coalesce(null, 1)", int),
    ],
)
def test_pure_expressions_over_the_columns_above_are_fine(text: str, annotation: Any) -> None:
    assert with_sql(text, annotation) == []


@pytest.mark.parametrize(
    ("text", "annotation", "code", "words"),
    [
        ("nn + 1", int, "HR207", "'nn' is not a column; did you mean 'n'?"),
        ("x + 1", int, "HR207", "'x' is not computed yet"),
        ("uper(a)", str, "HR207", "uper() is not a function; did you mean 'upper'?"),
        ("n +", int, "HR207", "syntax error"),
        ("n -- why", int, "HR207", "syntax error"),
        ("random()", float, "HR208", "random() gives another answer each time"),
        ("now()", datetime, "HR208", "_arrived_at is the time to use"),
        ("current_timestamp", datetime, "HR208", "_arrived_at is the time to use"),
        ("current_date", str, "HR208", "_arrived_at is the time to use"),
        ("ago(interval 1 day)", datetime, "HR208", "ago() gives another answer"),
        ("uuid()", str, "HR208", "uuid() gives another answer"),
        ("getvariable('x')", str, "HR208", "getvariable() gives another answer"),
        ("hash(a)", int, "HR208", "differs between versions"),
        ("(select max(n) from t)", int, "HR208", "it asks other tables"),
        ("n in (select 1)", bool, "HR208", "it asks other tables"),
        ("exists(from read_csv('/etc/passwd'))", bool, "HR208", "it asks other tables"),
        ("sum(n)", int, "HR208", "sum() looks at more than one row"),
        ("row_number() over ()", int, "HR208", "looks at more than one row"),
        ("unnest([1])", int, "HR208", "looks at more than one row"),
        ("1), (2", int, "HR208", "more than one expression"),
        ("1); drop table x; select (2", int, "HR208", "not a SELECT"),
        ("n * 1.5", int, "HR216", "it gives DECIMAL(21,1), not BIGINT"),
        ("n", str, "HR216", "write (…)::VARCHAR if that is meant"),
        ("p * p", Decimal, "HR216", "not DECIMAL(9,2)"),
        ("timestamp '2024-01-01'", datetime, "HR216", "not an instant"),
    ],
)
def test_a_mistake_in_sql_is_named_with_its_cure(text: str, annotation: Any, code: str, words: str) -> None:
    (problem,) = with_sql(text, annotation)
    assert problem.startswith(f"{code} test_bind.py:")
    assert words in problem


def test_all_mistakes_are_told_at_once_each_with_its_line() -> None:
    class Wrong(Base):
        x: int = derived("nn")
        y: int = column(check="y + 1")

    rules = [
        flag("high", "n > 1"),
        reject("bad", "hihg"),
        skip("odd", "n"),
        alert("told", when="high", subject="{a}", body="x"),
    ]
    found = problems(Wrong, rules=rules)
    assert [line.split(" ")[0] for line in found] == ["HR207", "HR216", "HR207", "HR216"]
    assert [line.split(":")[1].split(" ")[0] for line in found] == sorted(
        {line.split(":")[1].split(" ")[0] for line in found}
    )
    assert "did you mean 'high'?" in found[2]


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("SELECT * FROM input WHERE n > 1", "", ""),
        ("WITH big AS (SELECT * FROM input) SELECT * FROM big QUALIFY row_number() OVER (PARTITION BY a) = 1", "", ""),
        ("SELECT a FROM input", "HR214", "its result lacks the column '_member'"),
        ("SELECT * EXCLUDE (n) FROM input", "HR214", "its result lacks the column 'n'"),
        ("SELECT * REPLACE (n::DOUBLE AS n) FROM input", "HR214", "column 'n': it gives DOUBLE, not BIGINT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "HR208", "a step reads nothing but 'input'"),
        ("SELECT * FROM '/etc/passwd'", "HR208", "a step reads nothing but 'input'"),
        ("SELECT * FROM other", "HR208", "it reads 'other'"),
        ("SELECT * FROM input USING SAMPLE 10%", "HR208", "it takes a sample"),
        ("SELECT * FROM input ORDER BY random()", "HR208", "random()"),
        ("DELETE FROM input", "HR208", "it is not a SELECT"),
        ("SELECT * FROM input; SELECT 1", "HR208", "more than one statement"),
        ("SELECT nn FROM input", "HR207", "nn"),
    ],
)
def test_steps_read_input_alone_and_give_the_record(query: str, code: str, words: str) -> None:
    found = problems(steps=[sql(query)])
    if not code:
        assert found == []
    else:
        assert found[0].startswith(f"{code} test_bind.py:") and words in found[0]
