"""A canary goes the way of every event and never becomes a row, in any home."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace import Pipeline, Record, files, keyed
from headrace.local.target import LocalTarget
from headrace.model.canary import canary_key, is_canary


class Reading(Record, key=("id",)):
    id: str


def pipeline(prefix: str, suffix: str | tuple[str, ...] = ()) -> Pipeline:
    return Pipeline("p", source=files(prefix, suffix=suffix), record=Reading, sinks=(keyed("t"),))


@pytest.mark.parametrize(
    ("prefix", "suffix"), [("in/", ".csv"), ("in/", (".json", ".csv")), ("in/x", ()), ("", ".csv")]
)
def test_a_canary_is_notified_like_an_object_of_the_source_and_wanted_by_nobody(
    tmp_path: Path, prefix: str, suffix: str | tuple[str, ...]
) -> None:
    one = pipeline(prefix, suffix)
    key = canary_key(one.source.prefix, one.source.suffix, "ab12")
    assert key.startswith(prefix)
    assert key.endswith(one.source.suffix[0] if one.source.suffix else "")
    target = LocalTarget(tmp_path)
    try:
        home = target.home(one)
        assert not home.wants(key)
        assert home.wants(key.replace(".headrace-canary-", "canary-"))
    finally:
        target.close()


def test_only_the_last_part_of_a_key_makes_a_canary() -> None:
    assert is_canary("in/.headrace-canary-1.csv")
    assert not is_canary("in/.headrace-canary-1/a.csv")
