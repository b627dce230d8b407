"""Declaring a Pipeline: inert, and every mistake that can be seen is raised with its place."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import date, datetime
from typing import Any

import pytest

from headrace import Csv, DefinitionError, Pipeline, Record, alert, files, flag, keyed, lake, reject, sql
from headrace.model.words import span_seconds


class Row(Record, key=("a", "t"), zone="UTC"):
    a: str
    t: datetime
    d: date | None = None
    n: int = 0


def pipeline(name: Any = "p", **settings: Any) -> Pipeline:
    given: dict[str, Any] = {"source": files("in/"), "record": Row, "sinks": [lake("t")]}
    return Pipeline(name, **{**given, **settings})


def test_a_pipeline_is_a_frozen_value() -> None:
    made = pipeline(rules=[flag("f", "n > 1")])
    assert made == pipeline(rules=(flag("f", "n > 1"),))
    assert isinstance(made.rules, tuple) and isinstance(made.sinks, tuple)
    with pytest.raises(FrozenInstanceError):
        made.name = "q"  # type: ignore[misc]


def test_files_are_declared_as_the_engine_reads_them() -> None:
    made = files("raw/", suffix=".CSV", csv=Csv(delimiter=";"), on_delete="retract")
    assert (made.prefix, made.suffix, made.csv, made.on_delete) == ("raw/", (".csv",), Csv(delimiter=";"), "retract")
    assert (made.same_bytes, made.after, made.sheet) == ("alert", "leave", None)


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda: pipeline("My Pipe"), "HR202", "no name for a pipeline"),
        (lambda: pipeline(source="in/"), "HR212", "write source=files('prefix/')"),
        (lambda: pipeline(record=dict), "HR213", "a class that inherits from Record"),
        (lambda: pipeline(record=Record), "HR213", "Record has no columns"),
        (lambda: pipeline(tolerate=2), "HR213", "a share from 0 to 1"),
        (lambda: pipeline(expect_every="soon"), "HR213", "no span of time"),
        (lambda: pipeline(sinks=[]), "HR209", "no sinks"),
        (lambda: pipeline(sinks=["t"]), "HR209", "'t' is no sink"),
        (lambda: pipeline(sinks=[lake("t"), keyed("t")]), "HR209", "table 't' is named twice"),
        (lambda: pipeline(sinks=[keyed("k", index="m")]), "HR209", "index column 'm' is not a column"),
        (lambda: lake("My Table"), "HR209", "no name for a table"),
        (lambda: pipeline(sinks=[lake("t", "week(t)")]), "HR210", "year(), month(), day() or hour()"),
        (lambda: pipeline(sinks=[lake("t", "year(tt)")]), "HR210", "did you mean 't'?"),
        (lambda: pipeline(sinks=[lake("t", "year(a)")]), "HR210", "'a' has no year"),
        (lambda: pipeline(sinks=[lake("t", "hour(d)")]), "HR210", "'d' has no hour"),
        (lambda: pipeline(sinks=[lake("t", ["year(t)", "year(d)"])]), "HR210", "two columns would be called 'year'"),
        (lambda: pipeline(rules=["x"]), "HR211", "'x' is no rule"),
        (lambda: pipeline(rules=[flag("n", "a = ''")]), "HR211", "'n' is taken"),
        (lambda: pipeline(rules=[reject("r", "n > 1"), reject("r", "n > 2")]), "HR211", "'r' is taken"),
        (lambda: flag("Bad Name", "x"), "HR211", "no name for a rule"),
        (lambda: pipeline(rules=[alert("m", "n > 1", subject="{b}", body="")]), "HR211", "asks for {b}"),
        (lambda: pipeline(rules=[alert("m", "n > 1", subject="{", body="")]), "HR211", "write {{ for a brace"),
        (lambda: files("/abs"), "HR212", "relative key"),
        (lambda: files("a/../b"), "HR212", "relative key"),
        (lambda: files("in/", suffix="csv"), "HR212", "write '.csv'"),
        (lambda: files("in/", on_delete="retrac"), "HR212", "did you mean 'retract'?"),  # type: ignore[arg-type]
        (lambda: files("in/", on_delete="retract", after="archive"), "HR212", "empties the place"),
        (lambda: Csv(delimiter=";;"), "HR212", "give one character"),
        (lambda: Csv(skip=-1), "HR212", "whole number from 0"),
        (lambda: pipeline(steps=[5]), "HR214", "step 5 is no step"),
    ],
)
def test_a_mistake_is_found_when_the_pipeline_is_made(make: Any, code: str, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        make()
    assert caught.value.code == code
    assert words in str(caught.value)
    assert "test_pipeline_definition.py:" in caught.value.which


def test_a_keyed_sink_needs_a_key() -> None:
    class Keyless(Record, dedupe="row"):
        a: str

    with pytest.raises(DefinitionError, match=r"HR209 .*Keyless has no key"):
        pipeline(record=Keyless, sinks=[keyed("k")])


def test_messages_of_alerts_may_ask_for_any_column_flag_and_lineage() -> None:
    rules = [flag("f", "n > 1"), alert("m", "f", subject="{a:>5}", body="{f} {_source_file} {{}}")]
    assert pipeline(rules=rules, steps=[sql("SELECT * FROM input")]).rules == tuple(rules)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2 hours", 7200), ("15 min", 900), ("90s", 90), ("5 sec", 5), ("1 week", 604_800), ("1.5 days", 129_600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert span_seconds(text) == seconds
