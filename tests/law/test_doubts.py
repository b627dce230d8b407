"""What happens while nobody looks, or while a key cannot be looked at: told in single stories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.engine import faults, ingest
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import let_go, redrive, replay
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Event

from .place import Item, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "root")
    yield found
    found.close()


def link(place: Place, name: str, target: str) -> None:
    """Let `in/name` be a link, in place of what was there."""
    path = place.root / "landing" / "in" / name
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def unlink(place: Place, name: str) -> None:
    (place.root / "landing" / "in" / name).unlink()


def turn(place: Place, times: int = 1) -> int:
    """Scan, work and publish, whether or not it becomes quiet; returns how many keys a further scan would ask for."""
    for _ in range(times):
        scan(place.home)
        place.clock.advance(timedelta(hours=2))
        place.work()
        publish(place.home)
    return scan(place.home)


# -- objects that cannot be read -----------------------------------------------------------------------------------


def test_a_staged_file_that_cannot_be_read_for_a_moment_is_read_again(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.put("b.csv", "2,20 3,30")
    scan(place.home)
    place.work()
    link(place, "b.csv", "b.csv")  # to itself: nobody can look through it
    publish(place.home)
    assert place.rows() == {1: (10, "a.csv")}
    unlink(place, "b.csv")
    place.put("b.csv", "2,20 3,30")
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "b.csv"), 3: (30, "b.csv")}


@pytest.mark.parametrize("target", ["/etc/hostname", "a.csv", "."])
def test_a_file_that_becomes_unreadable_is_stale_and_told_until_the_same_file_is_back(
    place: Place, target: str
) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    link(place, "a.csv", target)
    place.quiet()
    assert place.load("a.csv").stale
    assert place.said.getvalue().count("in/a.csv cannot load") == 1
    unlink(place, "a.csv")
    place.put("a.csv", "1,10")
    place.quiet()
    assert (place.load("a.csv").stale, place.home.ledger.in_state("dead")) == (False, [])
    assert place.rows() == {1: (10, "a.csv")}


def test_a_redrive_of_what_is_still_unreadable_leaves_it_as_it_is(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    link(place, "a.csv", "/etc/hostname")
    place.quiet()
    redrive(place.home, ["in/a.csv"])
    place.quiet()
    assert place.load("a.csv").stale
    assert [x.key for x in place.home.ledger.in_state("dead")] == ["in/a.csv"]


def test_a_name_that_is_no_text_is_told_once_and_no_scan_asks_again(place: Place) -> None:
    place.put("a.csv", "1,10")
    raw = os.fsencode(place.root / "landing" / "in") + b"/bad\xff.csv"
    try:
        with open(raw, "w") as file:
            file.write("k,v\n5,5\n")
    except OSError:
        pytest.skip("this file system takes no such name")
    place.quiet()
    assert turn(place) == 0
    assert place.said.getvalue().count(r"in/bad\xff.csv cannot load") == 1


# -- the scan ------------------------------------------------------------------------------------------------------


def test_a_scan_finds_each_key_beside_its_load_wherever_it_is_in_the_order(place: Place) -> None:
    names = ["a/b.csv", "a.csv", "a^.csv", "a\u00e9.csv", "a/\U0001f600.csv", "ab/c.csv", "z.csv"]
    for i, name in enumerate(names):
        place.put(name, f"{i},{i}")
    place.quiet()
    assert turn(place) == 0
    place.remove("a.csv", "z.csv")
    place.put("a/b.csv", "0,9")
    place.put("0.csv", "10,10")
    assert scan(place.home) == 2
    place.define(on_delete="retract")
    assert scan(place.home) == 4


# -- a replay that cannot load -------------------------------------------------------------------------------------


class Needs(Item):
    """A column that no file has."""

    z: int


def test_a_replay_that_cannot_load_says_nothing_any_more_once_the_definition_has_changed(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    place.define(Needs)
    replay(place.home, [place.load("a.csv")])
    place.quiet()
    assert place.load("a.csv").stale
    place.define()
    place.quiet()
    assert (place.load("a.csv").stale, place.home.ledger.in_state("dead")) == (False, [])


def test_a_replay_that_could_not_load_can_be_driven_again(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    place.define(Needs)
    replay(place.home, [place.load("a.csv")])
    place.quiet()
    redrive(place.home, ["in/a.csv"])
    place.quiet()
    assert place.history("a.csv") == ["standing", "abandoned", "dead"]


# -- while the publisher decides -------------------------------------------------------------------------------------


def meanwhile(place: Place, happens: Callable[[], None]) -> None:
    """Publish; after it has looked and before it records, this happens, and a worker hears of it."""

    def at(point: str) -> None:
        if point == "publish.resolved":
            happens()
            place.work()

    with faults.install(at):
        publish(place.home)


def test_a_file_that_goes_while_the_publisher_decides_is_not_overlooked(place: Place) -> None:
    place.define(on_delete="retract")
    place.put("b.csv", "5,50")
    place.put("c.csv", "6,60")
    place.quiet()
    place.home.ledger.hint(["in/b.csv"])  # in doubt, and found to be there
    place.put("c.csv", "6,61", minute=5)
    place.home.queue.put([Event("p", "in/c.csv", "created")])
    place.work()

    def goes() -> None:
        place.remove("b.csv")
        place.home.queue.put([Event("p", "in/b.csv", "removed")])

    meanwhile(place, goes)
    publish(place.home)
    assert place.rows() == {6: (61, "c.csv")}


def test_a_broken_file_that_comes_while_the_publisher_decides_is_told(place: Place) -> None:
    place.home.ledger.hint(["in/x.csv"])
    place.put("c.csv", "6,61")
    place.home.queue.put([Event("p", "in/c.csv", "created")])
    place.work()

    def comes() -> None:
        place.put("x.csv", "no,thing\n1,1\n")
        place.home.queue.put([Event("p", "in/x.csv", "created")])

    meanwhile(place, comes)
    place.quiet()
    assert "in/x.csv cannot load" in place.said.getvalue()


def test_what_waits_for_a_person_is_told_once(place: Place) -> None:
    place.define(on_delete="retract")
    for i in range(30):
        place.put(f"{i:02}.csv", f"{i},{i}")
    place.quiet()
    place.remove(*[f"{i:02}.csv" for i in range(12)])
    place.quiet()
    for i in range(3):
        place.put(f"n{i}.csv", f"{100 + i},{i}")
        place.quiet()
    assert place.said.getvalue().count("12 objects are gone") == 1
    place.remove("20.csv")
    place.quiet()
    assert place.said.getvalue().count("13 objects are gone") == 1


# -- same bytes ----------------------------------------------------------------------------------------------------


def test_of_many_files_with_the_same_bytes_each_that_comes_is_told_with_the_first(place: Place) -> None:
    for i in range(4):
        place.put(f"{i}.csv", "1,10", minute=i)
    place.quiet()
    told = [line.partition(":")[2].partition(":")[0] for line in place.said.getvalue().splitlines() if "! " in line]
    assert sorted(told) == [
        " in/0.csv has the same bytes as in/1.csv",
        " in/2.csv has the same bytes as in/0.csv",
        " in/3.csv has the same bytes as in/0.csv",
    ]


def test_of_many_files_with_the_same_bytes_the_first_in_order_stands_under_skip(place: Place) -> None:
    place.define(same_bytes="skip")
    for i in (3, 2, 1):
        place.put(f"{i}.csv", "1,10", minute=i)
    scan(place.home)
    place.work()
    place.put("0.csv", "1,10", minute=0)
    place.quiet()
    assert place.rows() == {1: (10, "0.csv")}
    assert [place.load(f"{i}.csv").state for i in (1, 2, 3)] == ["skipped"] * 3


def test_a_twin_of_what_is_let_go_takes_its_place(place: Place) -> None:
    place.define(on_delete="keep", same_bytes="skip")
    place.put("a.csv", "1,1")
    place.quiet()
    place.remove("a.csv")
    place.put("b.csv", "1,1", minute=5)
    let_go(place.home, ["in/a.csv"])
    place.quiet()
    assert place.rows() == {1: (1, "b.csv")}


# -- what the ledger cannot do for a moment ------------------------------------------------------------------------


class Full:
    """A ledger whose disk is full when something is to be pinned."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def pin(self, arrivals: Any) -> Any:
        raise InfrastructureError("HR501", "ledger.db", "the database or disk is full", "free space")


def test_when_the_ledger_fails_the_copies_go_and_the_events_come_again(place: Place) -> None:
    place.put("a.csv", "1,1")
    scan(place.home)
    leases = place.home.queue.lease("p", 10, timedelta(hours=2))
    with pytest.raises(InfrastructureError, match="HR501"):
        ingest.prepare(replace(place.home, ledger=Full(place.home.ledger)), leases)
    assert [*place.home.quick.iterdir(), *place.home.spool.glob("*a.csv")] == []
    place.clock.advance(timedelta(minutes=1))
    place.work()
    publish(place.home)
    assert place.rows() == {1: (1, "a.csv")}
