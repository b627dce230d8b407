"""A worker whose time is bounded, as a function's is: what it begins, and what becomes of those beside a poison."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace import Pipeline, Record, files, lake
from headrace.engine.home import Home
from headrace.engine.ingest import ingest
from headrace.engine.reconcile import scan
from headrace.engine.sandbox import InProcess
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.target import LocalTarget
from headrace.model.errors import InfrastructureError

LIFE = 300.0
SETTINGS = Settings(child_timeout=0.8 * LIFE)


class Row(Record, key="k"):
    k: int


class Slow(InProcess):
    """A child that hangs over some objects until it is killed. The time is told, not waited for."""

    def __init__(self, *hangs: str) -> None:
        super().__init__()
        self.hangs, self.spent = hangs, 0.0

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        if any(x["key"].endswith(self.hangs) for x in payload["inputs"]):
            self.spent += timeout
            raise InfrastructureError("HR603", "the child", f"took longer than {timeout:.0f} s", "it is tried again")
        self.spent += 1
        return super().call(kind, payload, timeout)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    pipeline = Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t")])
    home = LocalTarget(tmp_path / "root", SETTINGS, ManualClock()).home(pipeline)
    (tmp_path / "root/landing/in").mkdir(parents=True, exist_ok=True)
    for n in range(20):
        (tmp_path / f"root/landing/in/{n:02}.csv").write_text(f"k\n{n}\n")
    scan(home)
    return home


def invoke(home: Home, child: Slow, begun: float = 0.0) -> float:
    """One function's life; returns how much of it was used."""
    assert isinstance(home.clock, ManualClock)
    home.clock.advance(timedelta(hours=1))
    child.spent = begun
    ingest(home, child, home.queue.lease("p", 100, timedelta(minutes=30)), lambda: LIFE - child.spent)
    return child.spent


def test_what_hangs_the_child_is_dead_in_the_end_and_no_other_with_it(home: Home) -> None:
    child = Slow("07.csv")
    for _ in range(5):
        assert invoke(home, child) <= LIFE, "the function was killed"
    states = {x.key: x.state for x in home.ledger.history()}
    assert states.pop("in/07.csv") == "dead"
    assert set(states.values()) == {"staged"} and len(states) == 19


def test_an_object_is_not_called_dead_for_the_time_that_others_took(home: Home) -> None:
    child = Slow("07.csv")
    for _ in range(5):
        assert invoke(home, child, begun=200.0) <= LIFE
    assert "dead" not in {x.state for x in home.ledger.history()}


@pytest.mark.parametrize("begun, staged", [(100.0, 1), (250.0, 0)])
def test_the_first_job_is_begun_although_to_copy_it_took_long(home: Home, begun: float, staged: int) -> None:
    large = replace(home, settings=replace(SETTINGS, batch_bytes=1))  # in such batches these objects are large
    assert invoke(large, Slow(), begun) <= LIFE
    assert len(home.ledger.in_state("staged")) == staged


def test_what_was_never_begun_in_a_whole_life_does_not_come_as_if_it_was_new_for_ever(home: Home) -> None:
    for _ in range(3):
        invoke(home, Slow(), begun=250.0)
    assert isinstance(home.clock, ManualClock)
    home.clock.advance(timedelta(hours=1))
    assert {x.receives for x in home.queue.lease("p", 100, timedelta(minutes=1))} == {4}
