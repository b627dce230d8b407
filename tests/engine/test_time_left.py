"""A worker whose time is bounded, as a function's is: what it begins, and what becomes of those beside a poison."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace import Pipeline, Record, files, lake
from headrace.engine.home import Home
from headrace.engine.ingest import ingest
from headrace.engine.publish import publish
from headrace.engine.reconcile import Scanned, scan, scan_on
from headrace.engine.sandbox import InProcess
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.target import LocalTarget
from headrace.model.errors import InfrastructureError, StoreUnavailable
from headrace.model.loads import Event, Page

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


def settle(home: Home) -> None:
    """Have what arrived stand, and no event wait."""
    assert isinstance(home.clock, ManualClock)
    home.clock.advance(datetime.now(UTC) - home.clock.now() + timedelta(days=1))  # so that no file looks fresh
    ingest(home, InProcess(), home.queue.lease("p", 100, timedelta(minutes=30)))
    publish(home)
    assert home.queue.depth("p") == (0, 0)


def disturb(home: Home, chance: random.Random) -> None:
    """Let objects go, change and come, anywhere in the order of keys."""
    for name in chance.sample(range(-20, 60), 30):
        path = home.root / f"landing/in/{name:02}.csv"
        if path.exists() and chance.random() < 0.5:
            path.unlink()
        else:
            path.write_text(f"k\n{name + 1000}\n")


class Asked:
    """The keys that a scan asks somebody to look at, in order."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def put(self, events: list[Event], delay: timedelta = timedelta(0)) -> None:
        self.keys += [event.key for event in events]


class Paged:
    """The home's store with pages of any length, some of them empty. `broken`: it cannot be read after that page."""

    def __init__(self, home: Home, chance: random.Random, broken: int = 1000) -> None:
        self._store, self._chance, self._broken = home.store, chance, broken

    def pages(self, prefix: str, after: str = "") -> Iterator[Page]:
        left = [stat for stat in self._store.list(prefix) if stat.key > after]
        for _ in range(self._broken):
            some, left = left[: (size := self._chance.randrange(4))], left[size:]
            if not left:
                yield Page(tuple(some), None)
                return
            last = some[-1].key if some else after
            after = f"{last}~" if self._chance.random() < 0.5 and f"{last}~" < left[0].key else last
            yield Page(tuple(some), after)
        raise StoreUnavailable("HR803", "bucket", "it cannot be reached", "try again")


def budget(steps: int) -> Any:
    """Time for so many looks at the clock."""
    looks = iter(range(steps))
    return lambda: LIFE if next(looks, None) is not None else 0.0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("on_delete", ["keep", "retract"])
def test_a_scan_in_parts_asks_for_what_a_whole_one_asks_for(home: Home, seed: int, on_delete: str) -> None:
    settle(home)
    chance = random.Random(seed)
    disturb(home, chance)
    source = replace(home.pipeline.source, on_delete=on_delete)
    home = replace(home, pipeline=replace(home.pipeline, source=source))
    whole, parts = Asked(), Asked()
    asked = scan(replace(home, queue=whole))
    part, events = Scanned(0, ""), 0
    while part.after is not None:
        here = replace(home, queue=parts, store=Paged(home, chance))
        part = scan_on(here, part.after, budget(chance.randrange(6)))
        events += part.events
    assert parts.keys == whole.keys == sorted(set(whole.keys)) and asked == events == len(whole.keys) > 0


@pytest.mark.parametrize("pages", range(1, 6))
def test_a_list_that_breaks_off_says_nothing_of_what_it_did_not_come_to(home: Home, pages: int) -> None:
    settle(home)
    (home.root / "landing/in/00.csv").unlink()
    retracting = replace(home.pipeline, source=replace(home.pipeline.source, on_delete="retract"))
    asked = Asked()
    here = replace(home, pipeline=retracting, queue=asked, store=Paged(home, random.Random(pages), broken=pages))
    with pytest.raises(StoreUnavailable):
        scan_on(here, seconds_left=lambda: LIFE)
    assert set(asked.keys) <= {"in/00.csv"}


def test_what_a_scan_found_is_put_before_its_end(home: Home) -> None:
    for n in range(3000):
        (home.root / f"landing/in/new{n:04}.csv").touch()
    asked = Asked()
    counts: list[int] = []

    def left() -> float:
        counts.append(len(asked.keys))
        return LIFE

    scan_on(replace(home, queue=asked), seconds_left=left)
    assert {n // 1000 for n in counts} == {0, 1, 2, 3}, "it was put all at once"


def test_an_archive_that_takes_too_long_is_gone_on_with_by_the_scan(home: Home) -> None:
    settle(home)
    archiving = replace(home.pipeline, source=replace(home.pipeline.source, after="archive"))
    home = replace(home, pipeline=archiving)
    lives, part = 0, Scanned(0, "")
    while part.after is not None:
        looks = iter(range(30))  # twenty keys are passed, and a few of them archived
        part = scan_on(home, part.after, lambda: 25 - next(looks))  # noqa: B023
        lives += 1
    assert lives > 3 and not list((home.root / "landing/in").iterdir())
