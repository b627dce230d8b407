"""A function is killed at each place where that could leave something half done; in the end the same is there."""

from __future__ import annotations

import re

import pytest
from _pytest.mark import ParameterSet

from emulator import ROOT

from .both import Story
from .deployed import Role

INGEST = ("ingest.spooled", "ingest.staged", "ingest.owned")
PUBLISH = (
    "publish.judged",
    "publish.before-record",
    "publish.recorded",
    "recover.applied",
    "lake.after-commit",
)
INGEST_LONG = ("ingest.pinned", "ledger.numbered", "ledger.before-stage", "ledger.staged")
PUBLISH_LONG = (
    "publish.resolved",
    "recover.standing",
    "lake.before-commit",
    "lock.acquired",
    "ledger.looked-up",
    "ledger.before-head",
    "ledger.head-moved",
    "ledger.applying",
    "ledger.keys-moved",
    "ledger.files-moved",
    "ledger.attempts-settled",
    "ledger.before-applied",
    "keyed.before-commit",
    "keyed.after-commit",
    "keyed.sent",
)
"""Within or beside a step of the others: the law's or a port's own tests crash there as well, so here they are for the
long run."""

ELSEWHERE = {
    "stage.rows-staged": "in the confined child, whose death the function survives",
    "compact.written": "in housekeeping, which the crash trials of the law run",
    "lake.swept": "in housekeeping, too",
    "keyed.swept": "when a table is filled anew, which the sink's own tests kill",
}
"""Fault points that no upload passes in a function, and who else tries them."""

NOT_IN_FUNCTIONS = ("local", "aws/operate/")


def points() -> set[str]:
    """Every fault point of what functions run."""
    source = ROOT / "src" / "headrace"
    found = set()
    for path in source.rglob("*.py"):
        part = path.relative_to(source).as_posix()
        if not part.startswith(NOT_IN_FUNCTIONS):
            found |= set(re.findall(r'point\("([a-z.-]+)"\)', path.read_text(encoding="utf-8")))
    return found - {"after-write"}  # the example in the docstring


def long(faults: tuple[str, ...]) -> list[ParameterSet]:
    return [pytest.param(fault, marks=pytest.mark.soak) for fault in faults]


@pytest.mark.parametrize("fault", [*INGEST, *long(INGEST_LONG)])
def test_an_ingest_that_is_killed_is_done_again(story: Story, fault: str) -> None:
    survives(story, "ingest", fault)


@pytest.mark.parametrize("fault", [*PUBLISH, *long(PUBLISH_LONG)])
def test_a_publisher_that_is_killed_is_taken_up_by_the_next(story: Story, fault: str) -> None:
    survives(story, "publish", fault)


@pytest.mark.parametrize(
    "role, fault", [("ingest", "ingest.staged"), pytest.param("publish", "publish.recorded", marks=pytest.mark.soak)]
)
def test_a_function_whose_time_is_up_is_finished_by_the_next(story: Story, role: Role, fault: str) -> None:
    survives(story, role, f"{fault}=hang", timeout=8)


def survives(story: Story, role: Role, fault: str, timeout: int | None = None) -> None:
    both = story("keep")
    with both.crashes(role, fault, timeout):
        both.put("a.csv", "1,1 2,2 2,3 3,x")
        both.put("b.csv", "2,2 4,4")
    found = both.same()
    assert set(both.rows(found)) == {1, 2, 4}
    assert both.states(found) == {"a.csv": "standing", "b.csv": "standing"}


@pytest.mark.soak
def test_an_ingest_that_is_killed_over_an_object_that_cannot_load_or_is_gone_is_done_again(story: Story) -> None:
    both = story("strict")
    with both.crashes("ingest", "ledger.buried"):
        both.put_bytes("poison.csv", b"nothing,like\nthe,contract\n")
        both.put("a.csv", "1,1")
    assert both.states(both.same()) == {"poison.csv": "dead", "a.csv": "standing"}
    with both.crashes("ingest", "ledger.hinted"):
        both.delete("a.csv")
    assert both.states(both.same()) == {"poison.csv": "dead"}


def test_every_fault_point_is_tried_in_a_function_or_elsewhere() -> None:
    assert points() == {*INGEST, *INGEST_LONG, *PUBLISH, *PUBLISH_LONG, "ledger.buried", "ledger.hinted", *ELSEWHERE}
