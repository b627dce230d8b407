"""The publisher's steps, one by one: what is decided when, in which order it is told, and who may fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace.engine import faults, ingest
from headrace.engine.home import Home
from headrace.engine.publish import decide, publish
from headrace.engine.recover import recover
from headrace.engine.replay import rebuild, replay
from headrace.model.errors import InfrastructureError, RevisionRefused, UsageError
from law.children import HereChild
from law.place import Place


def staged(place: Place, *names: str) -> Home:
    """The home, with files of these names staged and not decided."""
    for n, name in enumerate(names):
        place.put(name, f"{n},{n}", minute=n)
    put_events(place, names)
    place.work()
    return place.home


def put_events(place: Place, names: Sequence[str]) -> None:
    from headrace.model.loads import Event

    place.home.queue.put([Event("p", f"in/{name}") for name in names])


def points(act: Callable[[], Any]) -> list[str]:
    """The fault points that an act passes, in order."""
    seen: list[str] = []
    with faults.install(seen.append):
        act()
    return seen


def failing(*names: str) -> Callable[[str], None]:
    def hook(name: str) -> None:
        if name in names:
            raise InfrastructureError("HR519", name, "no space left on the disk", "try again")

    return hook


def test_nothing_to_decide_makes_no_revision(place: Place) -> None:
    assert not publish(place.home)
    assert place.home.ledger.head() == 0


def test_what_waits_together_is_decided_in_one_revision(place: Place) -> None:
    home = staged(place, "a.csv", "b.csv", "c.csv")
    assert publish(home)
    assert (home.ledger.head(), len(home.ledger.standing())) == (1, 3)
    assert not publish(home)


def in_portions(place: Place, *names: str) -> Home:
    """Each of these staged by itself, and a publisher that takes one job at a time."""
    home = replace(place.home, settings=replace(place.home.settings, batch_files=1, revision_bytes=1))
    place.home = home
    return staged(place, *names)


def test_a_revision_takes_no_more_than_it_may_and_the_next_ones_the_rest(place: Place) -> None:
    home = in_portions(place, "a.csv", "b.csv", "c.csv")
    for number, waiting in ((1, {"in/b.csv", "in/c.csv"}), (2, {"in/c.csv"}), (3, set())):
        assert publish(home)
        assert (home.ledger.head(), home.ledger.pending()) == (number, waiting)
    assert not publish(home)
    assert place.rows() == {0: (0, "a.csv"), 1: (1, "b.csv"), 2: (2, "c.csv")}


def test_what_heals_a_lost_base_is_taken_all_at_once_however_much_that_is(place: Place) -> None:
    home = in_portions(place)
    for n, name in enumerate("abc"):
        place.put(f"{name}.csv", f"{n},{n} 9,{n}", minute=n)  # they share a key: none is settled without the others
    put_events(place, ["a.csv", "b.csv", "c.csv"])
    place.work()
    while publish(home):
        pass
    for file in [*home.ledger.files("data"), *home.ledger.files("losers")]:
        (home.root / file.path).unlink()
    replay(home, list(home.ledger.standing().values()))
    place.work()
    assert publish(home)
    assert (home.ledger.head(), home.ledger.pending()) == (4, set())
    assert place.rows() == {0: (0, "a.csv"), 1: (1, "b.csv"), 2: (2, "c.csv"), 9: (2, "c.csv")}


def test_files_are_synced_then_the_revision_is_recorded_then_the_sinks_have_it(place: Place) -> None:
    home = staged(place, "a.csv", "b.csv")
    place.put("c.csv", "0,9 1,9", minute=9)
    put_events(place, ["c.csv"])
    place.work()
    order = points(lambda: publish(home))
    order = order[order.index("publish.judged") :]  # before that, the sinks are brought to the last revision
    steps = ("base.synced-data", "publish.before-record", "publish.recorded", "lake.before-commit", "recover.applied")
    places = [order.index(step) for step in steps]
    assert places == sorted(places), order
    assert order.index("publish.recorded") < order.index("keyed.before-commit") < order.index("recover.standing")


def test_a_publisher_that_was_overtaken_is_refused_and_changes_nothing(place: Place) -> None:
    home = staged(place, "a.csv")
    late, _ = decide(home)
    assert late is not None
    publish(home)
    with pytest.raises(RevisionRefused, match="HR526"):
        home.ledger.record(late)
    assert place.rows() == {0: (0, "a.csv")}


def test_a_failing_sink_holds_no_other_back_and_nothing_new_is_decided_until_it_has_caught_up(place: Place) -> None:
    home = staged(place, "a.csv")
    with faults.install(failing("lake.before-commit")):
        with pytest.raises(InfrastructureError, match="lake.before-commit"):
            publish(home)
        assert {name: w.number() for name, w in home.writers.items()} == {"items": 0, "by_key": 1}
        assert [x.state for x in home.ledger.standing().values()] == ["decided"]
        staged(place, "a.csv", "b.csv")
        with pytest.raises(InfrastructureError):
            publish(home)
        assert home.ledger.head() == 1
    publish(home)
    assert (home.ledger.head(), place.rows()) == (2, {0: (0, "a.csv"), 1: (1, "b.csv")})


def test_what_is_recorded_is_finished_by_whoever_comes_next(place: Place) -> None:
    home = staged(place, "a.csv")
    decision, _ = decide(home)
    assert decision is not None
    home.ledger.record(decision)
    assert [w.number() for w in home.writers.values()] == [0, 0]
    recover(home)
    assert place.rows() == {0: (0, "a.csv")}
    assert [x.state for x in home.ledger.standing().values()] == ["standing"]
    recover(home)
    assert [w.number() for w in home.writers.values()] == [1, 1]


def test_a_version_that_was_overtaken_while_it_was_staged_is_abandoned_and_looked_at_again(place: Place) -> None:
    home = staged(place, "a.csv")
    place.put("a.csv", "7,7", minute=5)
    assert not publish(home)
    assert (place.history("a.csv"), home.queue.depth("p")) == (["abandoned"], (1, 0))
    place.work()
    publish(home)
    assert place.rows() == {7: (7, "a.csv")}


def test_a_file_that_went_before_it_was_decided_leaves_nothing(place: Place) -> None:
    home = staged(place, "a.csv")
    place.remove("a.csv")
    publish(home)
    assert (place.history("a.csv"), home.ledger.head()) == (["abandoned"], 0)


class Meanwhile:
    """A ledger beside which something happens once: between saying which keys wait and what their loads are."""

    def __init__(self, ledger: Any, happen: Callable[[], None]) -> None:
        self._ledger, self._happen = ledger, happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def live(self, keys: Sequence[str]) -> Any:
        happen, self._happen = self._happen, lambda: None
        happen()
        return self._ledger.live(keys)


@pytest.mark.parametrize("contested", [False, True])
def test_what_is_staged_beside_a_load_while_we_look_is_not_left_behind(place: Place, contested: bool) -> None:
    home = staged(place, "a.csv")

    def happen() -> None:
        place.put("a.csv", "0,0 1,1", minute=5)
        place.put("b.csv", "0,9 7,7" if contested else "7,7", minute=6)
        put_events(place, ["a.csv", "b.csv"])
        place.clock.advance(1)
        place.work()  # both in one file of the base

    assert publish(replace(home, ledger=Meanwhile(home.ledger, happen)))
    place.work()
    publish(home)
    expected = {0: (0, "a.csv"), 1: (1, "a.csv"), 7: (7, "b.csv")}
    assert place.rows() == (expected | {0: (9, "b.csv")} if contested else expected)
    assert place.history("b.csv") == ["abandoned", "standing"]


def test_a_sink_is_rebuilt_at_the_number_that_the_ledger_has(place: Place) -> None:
    home = staged(place, "a.csv")
    publish(home)
    for sink in home.writers:
        rebuild(home, sink)
    assert [w.number() for w in home.writers.values()] == [1, 1]
    assert place.rows() == {0: (0, "a.csv")}
    with pytest.raises(UsageError, match="HR131.*its sinks are items, by_key"):
        rebuild(home, "nothing")


def test_a_lease_that_ran_out_costs_time_and_no_row(place: Place) -> None:
    place.put("a.csv", "1,1")
    put_events(place, ["a.csv"])
    slow = place.home.queue.lease("p", 1, timedelta(seconds=1))
    place.clock.advance(5)
    place.work()
    ingest.ingest(place.home, HereChild(), slow)
    publish(place.home)
    assert place.rows() == {1: (1, "a.csv")}
    assert place.home.queue.depth("p") == (0, 0)
