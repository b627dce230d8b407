"""A child that was taken over says what it likes: the worker believes only what concerns the job, and what adds up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from headrace.engine import ingest, stage
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.model.loads import LoadState
from law.place import Place

Answer = dict[str, Any]
Lie = Callable[[Answer], None]


class Liar:
    """Stages honestly, and changes the answer wherever the poisoned object is in the job."""

    def __init__(self, lie: Lie) -> None:
        self._lie = lie

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> Answer:
        answer = stage.handle(payload)
        if any(x["key"] == "in/poison.csv" for x in payload["inputs"]):
            self._lie(answer)
        return answer


def worked(place: Place, lie: Lie) -> None:
    """Two honest objects and a poisoned one, until nothing waits."""
    for name, row in (("a.csv", "1,1"), ("poison.csv", "2,2"), ("z.csv", "3,3")):
        place.put(name, row)
    scan(place.home)
    for _ in range(place.home.settings.max_receives):
        while leases := place.home.queue.lease("p", 100, timedelta(minutes=5)):
            ingest.ingest(place.home, Liar(lie), leases)
        place.clock.advance(timedelta(hours=2))
    publish(place.home)


def name_another_file(answer: Answer) -> None:
    answer["files"][0]["path"] = "/etc/passwd"


def leave_the_base(answer: Answer) -> None:
    answer["files"][0]["path"] = "staged/p/data/../../../ledger.db"


def claim_another_load(answer: Answer) -> None:
    answer["loads"][0]["load"] = "p.999"


def hide_a_load(answer: Answer) -> None:
    del answer["loads"][-1]


def lose_the_files(answer: Answer) -> None:
    answer["files"] = []


def count_a_row_more(answer: Answer) -> None:
    for name in ("read", "accepted", "loaded"):
        answer["loads"][-1]["counts"][name] += 1


LIES = [name_another_file, leave_the_base, claim_another_load, hide_a_load, lose_the_files, count_a_row_more]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_costs_the_object_that_it_came_with_and_no_other(place: Place, lie: Lie) -> None:
    worked(place, lie)
    assert place.rows() == {1: (1, "a.csv"), 3: (3, "z.csv")}
    (dead,) = place.home.ledger.in_state("dead")
    assert (dead.key, dead.state) == ("in/poison.csv", LoadState.DEAD)
    assert dead.cause.startswith(("HR608", "HR520"))
    assert place.home.queue.empty("p")


def test_what_an_honest_child_says_of_the_same_objects_stands(place: Place) -> None:
    worked(place, lambda answer: None)
    assert place.rows() == {1: (1, "a.csv"), 2: (2, "poison.csv"), 3: (3, "z.csv")}
