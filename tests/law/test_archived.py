"""`after="archive"` in single stories: what cannot be moved, and what the archive does not give back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from headrace import column
from headrace.engine import faults, ingest
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import redrive, replay

from .place import Item, Place


class Checked(Item):
    """A tighter check than before."""

    v: int = column(le=15)


class Needs(Item):
    """A column that no file has."""

    z: int


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "root")
    found.define(after="archive")
    yield found
    found.close()


def landed(place: Place) -> list[str]:
    return sorted(x.key for x in place.home.store.list("in/"))


def test_a_file_that_cannot_be_moved_is_told_once_and_keeps_no_other_back(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.put("b.csv", "2,20")
    scan(place.home)
    place.work()
    (version,) = (x.version for x in place.home.ledger.in_state("staged") if x.key == "in/a.csv")
    (place.root / "archive").mkdir()
    blocked = place.root / "archive" / version[:16]
    blocked.write_text("in the way")
    publish(place.home)
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "b.csv")}
    assert landed(place) == ["in/a.csv"]
    place.put("c.csv", "3,30")  # nobody hears of it but the scan
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "b.csv"), 3: (30, "c.csv")}
    assert place.said.getvalue().count("could not be archived") == 1
    blocked.unlink()
    place.quiet()
    assert landed(place) == []


def test_a_file_that_becomes_a_link_to_elsewhere_before_it_is_moved_ends_no_publisher(place: Place) -> None:
    place.put("a.csv", "1,10")
    scan(place.home)
    place.work()

    def at(point: str) -> None:
        path = place.root / "landing" / "in" / "a.csv"
        if point == "recover.standing" and place.home.ledger.head() and not path.is_symlink():
            path.unlink()
            path.symlink_to("/etc/hostname")

    with faults.install(at):
        assert publish(place.home)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}
    assert place.load("a.csv").stale


def test_a_replay_whose_archived_file_is_gone_is_given_up(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    place.define(Checked, after="archive")
    replay(place.home, [place.load("a.csv")])
    ingest.prepare(place.home, place.home.queue.lease("p", 5, timedelta(minutes=5)))  # and the worker dies
    place.clock.advance(timedelta(days=1))
    shutil.rmtree(place.root / "archive")
    place.quiet()
    assert place.history("a.csv") == ["standing", "abandoned"]


def test_a_replay_that_was_begun_and_forgotten_is_finished(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    place.define(Checked, after="archive")
    replay(place.home, [place.load("a.csv")])
    leases = place.home.queue.lease("p", 5, timedelta(minutes=5))
    ingest.prepare(place.home, leases)
    place.home.queue.acknowledge(leases)  # the event is lost
    place.quiet()
    assert place.history("a.csv") == ["retired", "standing"]


def test_a_replay_that_the_definition_overtakes_is_read_once_more(place: Place) -> None:
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    place.define(Checked, after="archive")
    replay(place.home, [place.load("a.csv")])
    place.work()

    class Tight(Item):
        v: int = column(le=5)

    place.define(Tight, after="archive")
    publish(place.home)
    place.quiet()
    assert place.load("a.csv").counts.rejected == 2
    assert place.history("a.csv") == ["retired", "abandoned", "standing"]


def test_a_correction_that_the_definition_cannot_read_is_told_once_and_left_until_that_changes(place: Place) -> None:
    place.put("a.csv", "1,10 2,x")
    place.quiet()
    place.define(Needs, after="archive")
    ledger = place.home.ledger
    ledger.correct("in/a.csv", place.load("a.csv").version, "", {2: {"k": "2", "v": "22"}}, place.clock.now())  # type: ignore[attr-defined]
    for _ in range(3):
        place.quiet()
    assert place.history("a.csv") == ["standing", "dead"]
    assert place.load("a.csv").stale
    assert place.said.getvalue().count("in/a.csv cannot load") == 1
    redrive(place.home, ["in/a.csv"])
    place.quiet()
    assert place.history("a.csv") == ["standing", "abandoned", "dead"]
    place.define(after="archive")
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (22, "a.csv")}
    assert not place.load("a.csv").stale
